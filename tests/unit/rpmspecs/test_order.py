import re
from pathlib import Path

import pytest

from rpmspecs.errors import BadInput
from rpmspecs.order import build_order, names_in, needs, sorter
from rpmspecs.spec import Package, Spec


def spec(name, *build_requires, requires=(), provides=()):
    package = Package(name, "noarch", tuple(requires), (name, *provides))
    return Spec(name, Path(f"{name}.spec"), 0, "1", "1", (package,), build_requires, (), "")


def names(batches):
    return [[spec.name for spec in batch] for batch in batches]


def test_what_is_needed_comes_first():
    specs = [spec("app", "lib >= 2", "tool"), spec("lib", "tool"), spec("tool", "gcc")]
    assert names(build_order(specs)) == [["tool"], ["lib"], ["app"]]


def test_specs_that_need_nothing_of_each_other_are_one_batch():
    assert names(build_order([spec("b"), spec("c"), spec("a")])) == [["a", "b", "c"]]


def test_what_a_build_requirement_itself_requires_is_needed_too():
    specs = [spec("app", "lib"), spec("lib", requires=["data = 1"]), spec("data")]
    assert set(needs(specs)["app"]) == {"lib", "data"}
    assert needs(specs)["lib"] == ()


def test_only_the_packages_that_are_installed_bring_their_requirements():
    quiet = Package("lib-devel", "noarch", (), ("lib-devel",))
    loud = Package("lib-gui", "noarch", ("app",), ("lib-gui",))
    lib = Spec("lib", Path("lib.spec"), 0, "1", "1", (quiet, loud), (), (), "")
    assert names(build_order([spec("app", "lib-devel"), lib])) == [["lib"], ["app"]]


def test_a_provided_name_counts_like_a_package():
    specs = [spec("app", "pkgconfig(z)"), spec("zlib", provides=["pkgconfig(z)"])]
    assert needs(specs)["app"] == ("zlib",)


def test_a_rich_requirement_needs_all_that_it_speaks_of():
    specs = [spec("app", "(b >= 2 or c)"), spec("b"), spec("c"), spec("2")]
    assert set(needs(specs)["app"]) == {"b", "c"}


def test_a_spec_that_builds_itself_finds_an_older_self():
    assert names(build_order([spec("gcc", "gcc")])) == [["gcc"]]


@pytest.mark.parametrize(
    ("specs", "cycle"),
    [
        ([spec("a", "b"), spec("b", "a")], {"a", "b"}),
        ([spec("a", "b"), spec("b", "c"), spec("c", "a"), spec("d")], {"a", "b", "c"}),
        ([spec("a", "b"), spec("b", requires=["a"])], {"a"}),
    ],
)
def test_a_cycle_is_told_by_its_specs(specs, cycle):
    with pytest.raises(BadInput) as caught:
        build_order(specs)
    told = re.match(r"these specs cannot be ordered: (.*) to be built", str(caught.value))
    assert set(told[1].split(", which needs ")) == cycle


def test_the_cycle_reads_in_the_direction_of_need():
    with pytest.raises(BadInput, match="a, which needs b, which needs c, which needs a"):
        build_order([spec("a", "b"), spec("b", "c"), spec("c", "a")])


def test_a_spec_is_ready_as_soon_as_what_it_needs_is_done():
    order = sorter([spec("app", "lib"), spec("lib"), spec("slow")])
    assert set(order.get_ready()) == {"lib", "slow"}
    order.done("lib")
    assert order.get_ready() == ("app",)


@pytest.mark.parametrize(
    ("requirement", "expected"),
    [
        ("python3 >= 3.11", ["python3"]),
        ("/usr/bin/make", ["/usr/bin/make"]),
        ("config(x) = 1:2-3", ["config(x)"]),
        ("(a if b else c)", ["a", "b", "c"]),
        ("(python3dist(x) >= 2 with python3dist(x) < 3)", ["python3dist(x)", "python3dist(x)"]),
        ("((a and b(x)(64bit)) or c)", ["a", "b(x)(64bit)", "c"]),
    ],
)
def test_names_in_a_requirement(requirement, expected):
    assert names_in(requirement) == expected
