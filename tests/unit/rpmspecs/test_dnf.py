"""dnf's configuration as text, and what its complaints mean."""

from dataclasses import replace
from pathlib import Path

import pytest

from rpmspecs.dnf import check_url, complaint, platform, sections
from rpmspecs.errors import BadInput, DiskFull, MissingRequirement, RepositoryUnavailable
from rpmspecs.target import Family, Repository, ServicePackages, Target

FEDORA = Target(
    name="fedora-43",
    family=Family.FEDORA,
    release="43",
    dist=".fc43",
    arch="x86_64",
    repositories=(
        Repository(
            name="fedora",
            baseurl="https://dl.example.org/linux/releases/$releasever/$basearch/os/",
            gpgkeys=("file:///usr/share/keys/fedora", "https://example.org/key?of=43"),
            excludes=("kernel*",),
        ),
    ),
    build_packages=("@buildsys-build",),
    services=ServicePackages.OWN,
)


def with_baseurl(url):
    return replace(FEDORA, repositories=(replace(FEDORA.repositories[0], baseurl=url),))


def test_a_repository_becomes_a_section():
    assert sections(FEDORA).splitlines() == [
        "[fedora]",
        "name=fedora",
        "baseurl=https://dl.example.org/linux/releases/$releasever/$basearch/os/",
        "gpgcheck=1",
        "repo_gpgcheck=0",
        "gpgkey=file:///usr/share/keys/fedora https://example.org/key?of=43",
        "excludepkgs=kernel*",
    ]


def test_offered_folders_come_before_the_repositories():
    text = sections(FEDORA, [Path("/srv/made here/1")])
    assert "[offered-0]" in text
    assert "baseurl=file:///srv/made%20here/1" in text
    assert "priority=10" in text


@pytest.mark.parametrize(
    "url",
    [
        "http://a/'\nconfig_opts['x'] = 1",
        'http://a/"',
        "http://a/\nproxy=http://evil/",
        "http://a/ http://b/",
        "http://a/{{ 1 }}",
        "http://a/{% x %}",
        "http://a/\\",
        "javascript:x",
        "http://",
        "",
        "http://a/ü",
    ],
)
def test_a_url_that_another_program_would_read_otherwise_is_refused(url):
    with pytest.raises(BadInput):
        sections(with_baseurl(url))
    with pytest.raises(BadInput):
        check_url("the proxy", url)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "../x"},
        {"release": "43 --installroot=/"},
        {"release": "-43"},
        {"arch": "x86_64\n"},
        {"build_packages": ("--setopt=x",)},
        {"build_packages": ("a b",)},
        {"dist": ".fc43\n%_topdir /"},
        {"macros": {"a b": "1"}},
        {"macros": {"a": "{{ x }}"}},
    ],
)
def test_a_target_that_would_be_read_otherwise_is_refused(change):
    with pytest.raises(BadInput):
        sections(replace(FEDORA, **change))


def test_the_platform_tells_family_and_major_release():
    assert platform(FEDORA) == "platform:f43"
    assert platform(replace(FEDORA, family=Family.EL, release="10-stream")) == "platform:el10"


@pytest.mark.parametrize(
    ("said", "error", "words"),
    [
        (
            "Errors during downloading metadata for repository 'fedora':\n"
            "  - Status code: 404 for http://127.0.0.1:8000/x/repodata/repomd.xml (IP: 127.0.0.1)\n"
            "Error: Failed to download metadata for repo 'fedora': Cannot download repomd.xml",
            RepositoryUnavailable,
            ["http://127.0.0.1:8000/x/repodata/repomd.xml", "status 404"],
        ),
        (
            "  - Curl error (7): Couldn't connect to server for http://127.0.0.1:1/repodata/"
            "repomd.xml [Failed to connect to 127.0.0.1 port 1: Connection refused]\n",
            RepositoryUnavailable,
            ["http://127.0.0.1:1/repodata/repomd.xml", "Connection refused"],
        ),
        (
            "  - Curl error (28): Timeout was reached for http://10.0.0.1/repodata/repomd.xml "
            "[Operation too slow.]\n",
            RepositoryUnavailable,
            ["Timeout was reached"],
        ),
        (
            "Error: Failed to download metadata for repo 'base': repomd.xml parser error: "
            "Parse error at line: 1 (Document is empty\n)\n",
            RepositoryUnavailable,
            ["the repository base gives no metadata that can be read: repomd.xml parser error"],
        ),
        (
            "No matching package to install: 'nothing-has-this >= 2'\n"
            "Not all dependencies satisfied\nError: Some packages could not be found.",
            MissingRequirement,
            ["x-1-1 needs nothing-has-this >= 2"],
        ),
        (
            "Error: \n Problem: conflicting requests\n"
            "  - nothing provides libx.so.1()(64bit) needed by y-1-1.x86_64 from fedora\n",
            MissingRequirement,
            ["libx.so.1()(64bit)"],
        ),
        (
            "Error: \n Problem: problem with installed package bash-5-1.x86_64\n"
            "  - conflicting requests\n(try to add '--skip-broken'",
            MissingRequirement,
            ["together: problem with installed package bash-5-1.x86_64 conflicting requests"],
        ),
        (
            "Error: Transaction test error:\n"
            "  installing package glibc needs 4MB more space on the / filesystem\n",
            DiskFull,
            ["no space left"],
        ),
        ("error: unpacking failed: No space left on device", DiskFull, ["no space left"]),
    ],
)
def test_what_dnf_says_becomes_an_error_of_one_sentence(said, error, words):
    found = complaint(said, "x-1-1")
    assert isinstance(found, error)
    assert "\n" not in str(found)
    for word in words:
        assert word in str(found)


def test_what_is_not_known_is_left_to_the_caller():
    assert complaint("Error: something new", "x") is None
