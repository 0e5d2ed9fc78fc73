import re
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from rpmspecs.errors import BadInput
from rpmspecs.target import (
    Family,
    Repository,
    ServicePackages,
    expanded,
    load_target,
    macros_of,
    targets,
    with_mirror,
)

OWN = """\
family: el
release: "10"
dist: .el10
build_packages: [bash, rpm-build]
repositories:
  base:
    baseurl: https://example.org/$releasever/$basearch/
    gpgkeys: https://example.org/key
"""


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return path

    return write


def test_our_targets_are_the_supported_systems():
    assert targets() == [
        *("alma-9", "alma-10", "centos-7", "centos-stream-9", "centos-stream-10"),
        *("fedora-42", "fedora-43", "fedora-44", "rocky-9", "rocky-10"),
    ]


@pytest.mark.parametrize("name", targets())
def test_each_of_our_targets_loads_and_checks_what_it_downloads(name):
    target = load_target(name)
    assert target.name == name
    for repository in target.repositories:
        assert repository.gpgcheck
        assert "$" not in expanded(target, repository.baseurl)
        for url in (repository.baseurl, *repository.gpgkeys):
            assert urlsplit(url).scheme == "https", url


@pytest.mark.parametrize("name", [name for name in targets() if name.endswith("-9")])
def test_el9_takes_its_services_from_rdo(name):
    target = load_target(name)
    assert target.services is ServicePackages.RDO
    assert {"crb", "epel", "openstack-epoxy"} <= {r.name for r in target.repositories}


@pytest.mark.parametrize("name", ["centos-stream-10", "rocky-10", "alma-10"])
def test_el10_takes_switch_and_queue_from_the_sigs_of_centos(name):
    from_sigs = {r.name: r.baseurl for r in load_target(name).repositories if "/SIGs/" in r.baseurl}
    assert set(from_sigs) == {"nfv-openvswitch", "messaging-rabbitmq"}
    release = load_target(name).release
    assert {url.replace("$releasever", release).split("/")[4] for url in from_sigs.values()} == {
        "10-stream"
    }


def test_a_target_of_ones_own_is_named_by_its_path(written):
    target = load_target(str(written(OWN)))
    assert (target.name, target.family, target.arch) == ("mine", Family.EL, "x86_64")
    assert target.repositories == (
        Repository(
            "base", "https://example.org/$releasever/$basearch/", ("https://example.org/key",)
        ),
    )


def test_values_keep_the_characters_that_were_written(written):
    target = load_target(written(OWN + 'python: 3.10\nmacros: {ver: 1.10, _with_x: ""}\n'))
    assert target.python == "3.10"
    assert target.macros == {"ver": "1.10", "_with_x": ""}


def test_the_macros_of_a_target():
    assert macros_of(load_target("centos-stream-10")) == {
        "dist": ".el10",
        "rhel": "10",
        "rackseed_services": "own",
        "openstack_python": "3.12",
    }
    assert macros_of(load_target("fedora-43"))["fedora"] == "43"


def test_own_macros_win():
    target = replace(load_target("fedora-43"), macros={"dist": ".fc43.cloud"})
    assert macros_of(target)["dist"] == ".fc43.cloud"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("family", "famly"), "1: famly: unknown key 'famly', did you mean 'family'?"),
        (("family: el", "family: suse"), "1: family: unknown value 'suse', expected one of fed"),
        (("baseurl", "baseurls"), "7: repositories.base.baseurls: unknown key 'baseurls', did"),
        (("https://example.org/$", "example.org/$"), "7: repositories.base.baseurl: found 'exam"),
        (("    gpgkeys: https://example.org/key\n", ""), "7: repositories.base.gpgkeys: missing"),
        (('release: "10"', "release: [10]"), "2: release: found a list, expected dnf's rel"),
        (("dist: .el10\n", ""), "1: dist: missing, expected the macro %dist"),
        (("dist: .el10", "dist: el10"), "3: dist: found 'el10', expected the macro %dist"),
        (("dist: .el10", "dist: .el10\ndist: .el9"), "4: dist: written twice, expected once"),
        (("  base:", "  ma in:"), "7: repositories.ma in: 'ma in' cannot name a repository"),
        (("  base:", "  main:"), "7: repositories.main: 'main' is dnf's own section, expected"),
        (("family: el", "family: [el"), ": not YAML: "),
        (("build_packages: [bash, rpm-build]\n", ""), "1: build_packages: missing, expected pack"),
    ],
)
def test_a_mistake_is_told_with_file_line_and_key(written, change, sentence):
    path = written(OWN.replace(*change))
    with pytest.raises(BadInput, match=re.escape(sentence)) as caught:
        load_target(path)
    assert str(caught.value).startswith(f"{path}:")


def test_all_mistakes_are_told_together(written):
    path = written("family: el\nrelease: x y\nrepositories: []\ncolour: red\n")
    with pytest.raises(BadInput) as caught:
        load_target(path)
    assert [line.split(": ")[1] for line in str(caught.value).splitlines()] == [
        *("build_packages", "dist", "release", "repositories", "repositories", "colour")
    ]


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(BadInput, match="unknown target 'fedora43', did you mean 'fedora-43'"):
        load_target("fedora43")


def test_a_file_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(BadInput, match="no such file or directory"):
        load_target(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("mirror", "url"),
    [
        ("http://mirror.lan", "http://mirror.lan/10/x/"),
        ("http://mirror.lan:8080/os/", "http://mirror.lan:8080/os/10/x/"),
        ("file:///srv/mirror", "file:///srv/mirror/10/x/"),
    ],
)
def test_a_mirror_takes_the_place_of_scheme_and_host(written, mirror, url):
    target = load_target(written(OWN.replace("$releasever/$basearch", "10/x")))
    moved = with_mirror(target, mirror)
    assert moved.repositories == (replace(target.repositories[0], baseurl=url),)


def test_a_mirror_must_be_a_url():
    with pytest.raises(BadInput, match=r"--mirror: found .mirror\.lan."):
        with_mirror(load_target("fedora-43"), "mirror.lan")
