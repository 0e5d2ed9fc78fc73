"""Koji: builds that the hub keeps, whose packages the real library reads and checks."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from provision.cli.main import invoke
from rpmspecs.errors import RepositoryUnavailable
from rpmspecs.koji import KojiBackend, KojiSettings, log_in
from rpmspecs.target import Family, Repository, ServicePackages, Target
from tests.koji_hub import CLOSED, FixtureHub, serving
from tests.repository import SPEC, make_rpm
from tests.tools import missing

try:
    import koji
except ImportError:
    koji = None


@pytest.fixture(autouse=True)
def library() -> None:
    if koji is None:
        missing("the koji library is not installed:  pip install 'rackseed[koji]'")


TARGET = Target(
    name="fixture-1",
    family=Family.FEDORA,
    release="1",
    dist=".fixture1",
    arch="x86_64",
    repositories=(Repository(name="fixture", baseurl="file:///nowhere"),),
    build_packages=("bash",),
    services=ServicePackages.OWN,
)


class NoLocal:
    """Source packages are there already."""

    name = "none"

    def build_srpm(self, spec, sources, target, result):
        raise AssertionError

    def build_rpms(self, srpm, target, offered, result):
        raise AssertionError

    def stop(self):
        pass


@pytest.fixture
def rpm(tmp_path: Path) -> Path:
    return make_rpm(tmp_path / "made", "x", "1")


@pytest.fixture
def srpm(tmp_path: Path) -> Path:
    return make_rpm(tmp_path / "source", "x", "1", source=True)


def hub_that_makes(rpm: Path, folder: Path, **more) -> FixtureHub:
    def builder(srpm: Path, output: Path) -> int:
        (output / rpm.name).write_bytes(rpm.read_bytes())
        return CLOSED

    return FixtureHub(folder, builder, **more)


def backend(url: str, **more) -> KojiBackend:
    options = {
        "server": f"{url}/kojihub",
        "user": "ada",
        "password": "secret",
        "authtype": "password",
    }
    return KojiBackend(lambda: log_in(options), url, NoLocal(), KojiSettings(poll_s=0.02, **more))


def test_a_kept_build_is_read_from_the_files_and_its_repository_awaited(tmp_path, srpm, rpm):
    hub = hub_that_makes(rpm, tmp_path)
    with serving(hub) as url:
        (made,) = backend(url).build_rpms(srpm, TARGET, (), tmp_path / "result")
    assert made.read_bytes() == rpm.read_bytes()
    assert hub.calls.count("getRepo") == 2


def test_a_repository_that_does_not_come_is_not_awaited_for_ever(tmp_path, srpm, rpm):
    hub = hub_that_makes(rpm, tmp_path, repository_event=-1000)
    with serving(hub) as url, pytest.raises(RepositoryUnavailable, match="fixture-1-build"):
        backend(url, repository_timeout_s=0.1).build_rpms(srpm, TARGET, (), tmp_path / "result")


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "x/x.spec"
    path.parent.mkdir()
    path.write_text(SPEC.format(name="x", version="1", content="", tags="BuildArch: noarch"))
    return path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home for Koji's configuration; what builds keep stays where it is."""
    kept = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(kept))
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".koji").mkdir()
    return tmp_path


@contextmanager
def options(hub: FixtureHub, home: Path) -> Iterator[list[str]]:
    """What a person says so that a hub builds, which asks for a password."""
    secret = home / "password"
    secret.write_text("secret\n")
    secret.chmod(0o600)
    with serving(hub) as url:
        (home / ".koji/config").write_text(
            f"[ours]\nserver = {url}/kojihub\ntopurl = {url}\nauthtype = password\n"
            "poll_interval = 1\n"
        )
        yield [
            *("--backend", "koji", "--koji-profile", "ours", "--koji-target", "the-target"),
            *("--koji-user", "ada", "--koji-password-file", str(secret)),
            *("--results", str(home / "results"), "--json"),
        ]


def outcome(said: str) -> tuple[str, Path]:
    (one,) = json.loads(said)
    return one["outcome"], Path(one["folder"])


def test_the_command_builds_in_koji_by_a_profile(spec, fixture_target, rpm, home, capsys):
    hub = hub_that_makes(rpm, home, targets=("the-target",))
    with options(hub, home) as words:
        status = invoke(["rpm", "build", str(spec), "--target", str(fixture_target), *words])
    said = capsys.readouterr()
    assert status == 0, said.err
    built, folder = outcome(said.out)
    assert (built, (folder / rpm.name).read_bytes()) == ("built", rpm.read_bytes())
    assert json.loads((folder / "build.json").read_text())["backend"] == "koji"
    assert list(hub.scratch.values()) == [False]
    assert "secret" not in said.out + said.err


def test_the_command_has_source_packages_of_others_built_in_koji(
    srpm, fixture_target, rpm, home, capsys
):
    origin = home / "origin"
    origin.mkdir()
    shutil.copy(srpm, origin)
    words = ["rpm", "rebuild", "--from", str(origin), "--target", str(fixture_target)]
    hub = hub_that_makes(rpm, home, targets=("the-target",))
    with options(hub, home) as koji:
        status = invoke([*words, *koji, "--koji-scratch"])
    said = capsys.readouterr()
    assert status == 0, said.err
    built, folder = outcome(said.out)
    assert (built, (folder / rpm.name).read_bytes()) == ("built", rpm.read_bytes())
    assert list(hub.scratch.values()) == [True]


def test_a_hub_that_refuses_is_one_sentence(spec, fixture_target, rpm, home, capsys):
    hub = hub_that_makes(rpm, home, users={})
    with options(hub, home) as words:
        status = invoke(["rpm", "build", str(spec), "--target", str(fixture_target), *words])
    said = capsys.readouterr()
    assert status == 2
    errors = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert errors == ["error: Koji does not let us in: invalid username or password"]
    assert "secret" not in said.out + said.err
