"""A mirror that a person names is an address without secrets, for a system that can use it."""

from pathlib import Path

import pytest

from imagebuild.errors import BadInput
from imagebuild.mirrors import check_mirrors
from imagebuild.plan import Settings
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


@pytest.mark.parametrize("recipe", ["rocky-9", "alma-10", "centos-stream-9", "fedora-44"])
def test_a_system_that_uses_no_other_mirror_says_so(recipe):
    with pytest.raises(BadInput, match=f"--mirror: {recipe} is built from its public mirrors"):
        check(recipe, mirror="http://mirror.lan/x")


def test_only_debian_has_a_mirror_of_security_updates():
    check("ubuntu-24.04", mirror="http://mirror.lan/ubuntu")
    check("centos7", mirror="http://mirror.lan/centos")
    with pytest.raises(BadInput, match=r"--security-mirror: ubuntu-24\.04"):
        check("ubuntu-24.04", security_mirror="http://mirror.lan/ubuntu")
