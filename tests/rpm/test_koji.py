"""Koji: builds that the hub keeps, whose packages the real library reads and checks."""

from pathlib import Path

import pytest

from rpmspecs.errors import RepositoryUnavailable
from rpmspecs.koji import KojiBackend, KojiSettings, log_in
from rpmspecs.target import Family, Repository, ServicePackages, Target
from tests.koji_hub import CLOSED, FixtureHub, serving
from tests.repository import make_rpm
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
