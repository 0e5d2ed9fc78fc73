"""What the chroot decides: who builds, how programs are wrapped, what rpmbuild lacks."""

from pathlib import Path

import pytest

from rpmspecs.chroot import rpmmacros, unmet
from rpmspecs.namespaces import Identity, entered, identity, sandboxed


@pytest.mark.parametrize(
    ("uid", "user", "subuid", "can_map", "expected"),
    [
        (0, "root", "", False, Identity.ROOT),
        (1000, "ada", "ada:100000:65536\n", True, Identity.SUBORDINATE),
        (1000, "ada", "1000:100000:65536\n", True, Identity.SUBORDINATE),
        (1000, "ada", "ada:100000:65536\n", False, Identity.SINGLE),
        (1000, "ada", "adam:100000:65536\n", True, Identity.SINGLE),
        (1000, "", "", True, Identity.SINGLE),
    ],
)
def test_who_builds(uid, user, subuid, can_map, expected):
    assert identity(uid, user, subuid, can_map) is expected


def test_an_ordinary_user_enters_namespaces_of_his_own():
    argv = entered(Identity.SINGLE, Path("/c/b"), ["true"], layers=["new", "base"])
    assert argv[:3] == ["unshare", "--mount", "--map-root-user"]
    assert argv[-5:] == ["/c/b", "new:base", ",userxattr", "", "true"]


def test_the_sandbox_has_no_network_and_a_root_that_cannot_be_written():
    argv = sandboxed("root", ["rpmbuild"], writable={"/builddir": "home"})
    assert "--unshare-all" in argv
    assert "--share-net" not in argv
    assert argv[argv.index("--ro-bind") :][:3] == ["--ro-bind", "root", "/"]
    assert argv[argv.index("--bind") :][:3] == ["--bind", "home", "/builddir"]


def test_what_rpmbuild_lacks():
    text = (
        "setting SOURCE_DATE_EPOCH=1\n"
        "error: Failed build dependencies:\n"
        "\tcmake >= 3 is needed by x-1-1.noarch\n"
        "\tpython3dist(y) is needed by x-1-1.noarch\n"
    )
    assert unmet(text) == ("cmake >= 3", "python3dist(y)")


def test_a_test_that_speaks_of_needs_is_no_requirement():
    assert unmet("\tmore coffee is needed by noon\nerror: Bad exit status\n") == ()


def test_macros_are_one_line_each():
    assert rpmmacros({"dist": ".el9"}).splitlines()[-1] == "%dist .el9"
