"""A mirror that a person names is an address without secrets, for a system that can use it."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from imagebuild.errors import BadInput
from imagebuild.hostapt import with_host_mirrors
from imagebuild.mirrors import check_mirrors
from imagebuild.plan import Machine, Settings, plan_build
from imagebuild.recipes import load_recipe


def check(recipe="debian-12", **mirrors):
    check_mirrors(Settings(Path("/i"), Path("/c"), Path("/w"), **mirrors), [load_recipe(recipe)])


@pytest.mark.parametrize(
    "address",
    ["http://mirror.lan/debian", "https://mirror.lan:8443", "http://[2001:db8::1]:80/debian/"],
)
@pytest.mark.parametrize("option", ["mirror", "security_mirror"])
def test_a_plain_address_will_do(option, address):
    check(**{option: address})


@pytest.mark.parametrize(
    "address",
    ["notaurl", "", "http://", "ftp://h/x", "file:///srv", "http://h:port/x", "http://[::1/x",
     "http://h/x?y", "http://h/a b", "http://h/$(id)", "http://h/a|b", "http://h/a\n"],
)  # fmt: skip
@pytest.mark.parametrize("option", ["mirror", "security_mirror"])
def test_what_is_no_address_is_refused(option, address):
    name = "--" + option.replace("_", "-")
    with pytest.raises(BadInput, match=f"{name}: found .*, expected http://HOST/PATH"):
        check(**{option: address})


@pytest.mark.parametrize("address", ["http://u:pw@host/debian", "u:pw@host", "http://pw@host"])
def test_a_password_is_refused_and_not_repeated(address):
    with pytest.raises(BadInput, match="has a user name or a password") as caught:
        check(mirror=address)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("recipe", ["centos-stream-9", "fedora-44"])
def test_a_system_that_uses_no_other_mirror_says_so(recipe):
    with pytest.raises(BadInput, match=f"--mirror: {recipe} is built from its public mirrors"):
        check(recipe, mirror="http://mirror.lan/x")


def test_only_debian_has_a_mirror_of_security_updates():
    check("ubuntu-24.04", mirror="http://mirror.lan/ubuntu")
    check("centos7", mirror="http://mirror.lan/centos")
    check("rocky-9", mirror="http://mirror.lan/rocky")
    with pytest.raises(BadInput, match=r"--security-mirror: ubuntu-24\.04"):
        check("ubuntu-24.04", security_mirror="http://mirror.lan/ubuntu")


STAMP = "20261101T060000Z"


def pinned(recipe, **mirrors):
    settings = Settings(Path("/i"), Path("/c"), Path("/w"), snapshot=STAMP, **mirrors)
    return with_host_mirrors(settings, load_recipe(recipe))


@pytest.mark.parametrize(
    ("recipe", "path"),
    [("debian-12", f"/archive/debian/{STAMP}"), ("ubuntu-24.04", f"/ubuntu/{STAMP}")],
)
def test_a_snapshot_is_beside_the_systems_mirror(recipe, path):
    found = urlsplit(pinned(recipe).mirror)
    assert found.hostname is not None
    assert found.hostname.startswith("snapshot.")
    assert found.path == path


def test_a_snapshot_pins_security_updates_and_times_too():
    found = pinned("debian-12")
    assert found.security_mirror is not None
    assert found.security_mirror.endswith(f"/archive/debian-security/{STAMP}")
    assert found.epoch == 1793512800
    assert pinned("debian-12", epoch=7).epoch == 7
    assert pinned("ubuntu-24.04").security_mirror is None
    env = plan_build(load_recipe("debian-12"), found, Machine(Path("/venv/bin"))).env
    assert env["RACKSEED_SNAPSHOT"] == STAMP
    assert env["DIB_DISTRIBUTION_MIRROR"].endswith(STAMP)
    assert env["DIB_DEBIAN_SECURITY_MIRROR"].endswith(STAMP)
    assert STAMP not in env["RACKSEED_PUBLIC_MIRROR"]


def test_an_archive_of_ones_own_has_snapshots_below_it():
    found = pinned("debian-12", mirror="http://a.lan/debian/", security_mirror="http://a.lan/s")
    assert found.mirror == f"http://a.lan/debian/{STAMP}"
    assert found.security_mirror == f"http://a.lan/s/{STAMP}"


@pytest.mark.parametrize("stamp", ["yesterday", "", "20261101", "20261301T000000Z", f"{STAMP}/x"])
def test_what_is_no_time_is_no_snapshot(stamp):
    with pytest.raises(BadInput, match=r"--snapshot: found .*, expected a time like"):
        check(snapshot=stamp)


@pytest.mark.parametrize("recipe", ["rocky-9", "fedora-44", "centos7"])
def test_a_system_without_snapshots_says_so(recipe):
    with pytest.raises(BadInput, match="--snapshot: earlier states of"):
        check(recipe, snapshot=STAMP)
