"""mock's configurations, as Python reads them, and who may use mock."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from rpmspecs.errors import BadInput, ToolMissing
from rpmspecs.mock import check_caller, hangup, mock_command, mock_config, root_name
from rpmspecs.settings import BuildSettings, Isolation
from rpmspecs.target import Family, Repository, ServicePackages, Target, load_target

STREAM = Target(
    name="centos-stream-10",
    family=Family.EL,
    release="10-stream",
    dist=".el10",
    arch="x86_64",
    repositories=(
        Repository(
            name="baseos",
            baseurl="https://mirror.stream.example.org/$releasever/BaseOS/$basearch/os/",
            gpgkeys=("https://www.example.org/keys/10",),
        ),
    ),
    build_packages=("bash", "rpm-build"),
    services=ServicePackages.OWN,
    macros={"with_tests": "1"},
)
VAULT = load_target("centos-7")


def read(text):
    """The options as mock's own reader gets them: the file is Python."""
    options = {
        "macros": {},
        "plugin_conf": {"package_state_opts": {}},
    }
    exec(compile(text, "x.cfg", "exec"), {"config_opts": options})
    return options


def test_the_configuration_of_a_target(golden):
    golden("rpmspecs/mock-centos-stream-10.cfg", mock_config(STREAM, BuildSettings()))


def test_the_configuration_with_all_settings(golden):
    settings = BuildSettings(
        proxy="http://proxy.example.org:3128",
        bootstrap_image="quay.example.org/centos/centos:7",
        isolation=Isolation.SIMPLE,
    )
    golden("rpmspecs/mock-centos-7.cfg", mock_config(VAULT, settings, [Path("/srv/made")]))


def test_python_reads_what_the_target_says():
    options = read(mock_config(STREAM, BuildSettings(bootstrap=False)))
    assert options["releasever"] == "10-stream"
    assert options["chroot_setup_cmd"] == "install bash rpm-build"
    assert options["use_bootstrap"] is False
    assert options["use_bootstrap_image"] is False
    assert options["macros"]["%dist"] == ".el10"
    assert options["macros"]["%with_tests"] == "1"
    assert "reposdir=/dev/null\n" in options["dnf.conf"]
    assert "[baseos]\n" in options["dnf.conf"]
    assert "module_platform_id=platform:el10\n" in options["dnf.conf"]


def test_yum_has_a_configuration_of_its_own_name():
    options = read(mock_config(VAULT, BuildSettings()))
    assert options["package_manager"] == "yum"
    assert "https://vault.centos.org/7.9.2009/os/$basearch/" in options["yum.conf"]
    assert "dnf.conf" not in options


def test_quotes_of_a_macro_stay_a_text():
    value = 'it\'s "quoted" \\ %{?x}'
    options = read(mock_config(replace(STREAM, macros={"odd": value}), BuildSettings()))
    assert options["macros"]["%odd"] == value


def test_a_proxy_with_a_quote_is_refused():
    with pytest.raises(BadInput, match="proxy"):
        mock_config(STREAM, BuildSettings(proxy="http://p/'"))


@pytest.mark.parametrize("image", ["x'\n", "a b", "--all", "{{ x }}"])
def test_an_image_with_odd_characters_is_refused(image):
    with pytest.raises(BadInput):
        mock_config(STREAM, BuildSettings(bootstrap_image=image))


def test_another_package_manager_is_refused():
    with pytest.raises(BadInput, match="apt"):
        mock_config(replace(STREAM, package_manager="apt"), BuildSettings())


def test_other_repositories_have_another_root():
    near = replace(STREAM, repositories=(Repository(name="baseos", baseurl="http://near/"),))
    assert root_name(STREAM, BuildSettings()) != root_name(near, BuildSettings())
    assert root_name(STREAM, BuildSettings()) == root_name(STREAM, BuildSettings(proxy=None))


def test_builds_at_once_have_roots_of_their_own():
    command = mock_command(Path("/c/a.cfg"), "me-3", Path("/r"), "--rebuild", "/x.src.rpm")
    assert command == [
        "mock",
        "--root=/c/a.cfg",
        "--uniqueext=me-3",
        "--resultdir=/r",
        "--rebuild",
        "/x.src.rpm",
    ]


def test_root_signals_mock_itself(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert hangup(["mock", "--clean"]) == ["mock", "--clean"]


def test_an_ordinary_user_hangs_up_its_terminal(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert hangup(["mock", "a b"])[-2:] == ["mock 'a b'", "/dev/null"]


@pytest.mark.parametrize(
    ("uid", "groups", "tools", "error", "words"),
    [
        (1000, [7], {"script"}, ToolMissing, "mock is not installed"),
        (0, [0], {"mock", "script"}, BadInput, "does not build for root"),
        (1000, [8], {"mock", "script"}, BadInput, "usermod -a -G mock ada"),
        (1000, [7], {"mock"}, ToolMissing, "script is not installed"),
    ],
)
def test_who_cannot_use_mock_is_told_how_to_mend_it(monkeypatch, uid, groups, tools, error, words):
    monkeypatch.delenv("SUDO_UID", raising=False)
    monkeypatch.setattr("os.geteuid", lambda: uid)
    monkeypatch.setattr("os.getegid", lambda: 99)
    monkeypatch.setattr("os.getgroups", lambda: groups)
    monkeypatch.setattr("pwd.getpwuid", lambda number: SimpleNamespace(pw_name="ada"))
    monkeypatch.setattr("grp.getgrnam", lambda name: SimpleNamespace(gr_gid=7))
    monkeypatch.setattr("shutil.which", lambda name: name if name in tools else None)
    with pytest.raises(error, match=words) as refused:
        check_caller()
    assert "\n" not in str(refused.value)
