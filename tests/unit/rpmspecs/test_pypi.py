from pathlib import Path

import pytest

from rpmspecs.errors import BadInput, SourceUnavailable
from rpmspecs.pypi import Distribution, by_python, download, fetch, parse_origin, render

ANY = Distribution("a" * 64, "oslo.log-7.1.0-py3-none-any.whl", "oslo-log==7.1.0")
STABLE = Distribution("b" * 64, "bcrypt-4.0.1-cp36-abi3-manylinux_2_28_x86_64.whl", "bcrypt==4.0.1")
OLDER = Distribution("c" * 64, "lxml-5.3.1-cp311-cp311-manylinux_2_28_x86_64.whl", "lxml==5.3.1")
NEWER = Distribution("d" * 64, "lxml-5.3.1-cp312-cp312-manylinux_2_28_x86_64.whl", "lxml==5.3.1")
ARCHIVE = Distribution("e" * 64, "ovs-3.5.0.tar.gz", "ovs==3.5.0")


def test_files_of_one_python_are_fetched_together_and_the_rest_with_the_newest():
    groups = by_python([ANY, OLDER, STABLE, NEWER, ARCHIVE])
    assert groups == {"3.11": [OLDER], "3.12": [ANY, STABLE, NEWER, ARCHIVE]}


def test_pip_has_one_digest_to_choose_by():
    assert render([OLDER]) == f"lxml==5.3.1 --hash=sha256:{'c' * 64}\n"


def test_pip_is_asked_for_files_of_the_target_not_of_this_machine():
    argv = download(("pip",), "3.11", Path("r.txt"), Path("to"))
    assert argv[:2] == ["pip", "download"]
    assert {"--no-deps", "--require-hashes", "--python-version=3.11", "--abi=cp311"} <= set(argv)
    assert "--platform=manylinux2014_x86_64" in argv
    assert "--platform=manylinux_2_35_x86_64" not in argv
    assert not [word for word in argv if "index" in word], "the index is the user's own choice"


@pytest.mark.parametrize(
    "origin", ["pypi:keystone", "pypi:key stone==1", "pypi:keystone==1 --index-url=x", "pypi:"]
)
def test_an_origin_that_is_no_pinned_project_is_refused(origin):
    with pytest.raises(BadInput, match="NAME==VERSION"):
        parse_origin("a" * 64, "keystone.whl", origin)


def test_sources_are_asked_what_they_are_with_a_setuptools_that_has_pkg_resources(tmp_path):
    told = []

    def brings(argv, *, env, **_):
        told.extend(Path(path).read_text() for path in env.values())
        (tmp_path / ANY.filename).touch()
        return ""

    fetch([ANY], tmp_path, brings, ("pip",))
    assert set(told) == {"setuptools<81\n"}


def test_a_file_that_pip_did_not_bring_is_named(tmp_path):
    def brings_only_one(argv, **_):
        folder = next(word for word in argv if word.startswith("--dest="))
        (Path(folder.removeprefix("--dest=")) / ANY.filename).touch()
        return ""

    with pytest.raises(SourceUnavailable, match=r"lxml-5\.3\.1-cp312"):
        fetch([ANY, NEWER], tmp_path, brings_only_one, ("pip",))
