"""The mirrors of this machine's apt are found in either format."""

from pathlib import Path

import pytest

from imagebuild.hostapt import host_mirror, with_host_mirrors
from imagebuild.plan import Settings
from imagebuild.recipes import load_recipe

DEB822 = """\
Types: deb
URIs: http://mirror.lan/debian/
Suites: bookworm

Types: deb
URIs: http://mirror.lan/debian-security
"""


def sources(folder, name, text):
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return folder


def test_both_formats_are_read(tmp_path):
    sources(tmp_path, "sources.list.d/debian.sources", DEB822)
    assert host_mirror("debian", apt=tmp_path) == "http://mirror.lan/debian"
    assert host_mirror("debian", "security", tmp_path) == "http://mirror.lan/debian-security"
    assert host_mirror("ubuntu", apt=tmp_path) is None
    sources(tmp_path, "sources.list", "# deb http://x/debian\ndeb [trusted=yes] http://y/debian b")
    assert host_mirror("debian", apt=tmp_path) == "http://y/debian"


@pytest.mark.parametrize(
    "line",
    [
        "deb http://me:secret@mirror.lan/debian bookworm main",
        "deb cdrom:[Debian]/debian bookworm main",
        "deb file:///srv/debian bookworm main",
        "deb-src http://mirror.lan/debian bookworm main",
        "deb https://example.org/repository stable main",
    ],
)
def test_what_no_image_should_be_built_from_is_left_out(tmp_path, line):
    assert host_mirror("debian", apt=sources(tmp_path, "sources.list", line)) is None


def test_a_system_without_apt_has_none(tmp_path):
    assert host_mirror("fedora", apt=tmp_path) is None
    assert host_mirror("debian", apt=tmp_path / "absent") is None


def test_a_mirror_that_a_person_names_comes_first(tmp_path):
    sources(tmp_path, "sources.list.d/debian.sources", DEB822)
    settings = Settings(Path("/i"), Path("/c"), Path("/w"))
    debian, rocky = load_recipe("debian-12"), load_recipe("rocky-9")
    found = with_host_mirrors(settings, debian, tmp_path)
    assert found.mirror == "http://mirror.lan/debian"
    assert found.security_mirror == "http://mirror.lan/debian-security"
    assert with_host_mirrors(settings, rocky, tmp_path) == settings
    named = Settings(Path("/i"), Path("/c"), Path("/w"), mirror="http://z/debian")
    assert with_host_mirrors(named, debian, tmp_path) == named
