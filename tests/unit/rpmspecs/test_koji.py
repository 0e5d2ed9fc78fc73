"""Koji: the real client library against a hub that is a fixture."""

import threading
import time
from pathlib import Path

import pytest

from rpmspecs.errors import (
    BadInput,
    BuildFailed,
    MissingRequirement,
    RepositoryUnavailable,
    RpmError,
    Stopped,
)
from rpmspecs.koji import KojiBackend, KojiSettings, log_in, read_profile
from rpmspecs.target import Family, Repository, ServicePackages, Target
from tests.koji_hub import CLOSED, FAILED, FixtureHub, serving

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
PACKAGE = b"a package" * 1000


class NoLocal:
    name = "none"

    def build_srpm(self, spec, sources, target, result):
        raise AssertionError

    def build_rpms(self, srpm, target, offered, result):
        raise AssertionError

    def stop(self):
        pass


def built(srpm, output):
    (output / "build.log").write_text("Wrote: x\n")
    (output / "root.log").write_text("installed\n")
    (output / "installed_pkgs.log").write_text("bash-5-1.x86_64 1 2 installed\n")
    (output / "x-1-1.noarch.rpm").write_bytes(PACKAGE)
    (output / "x-1-1.src.rpm").write_bytes(srpm.read_bytes())
    return CLOSED


def options(url, **more):
    found = {"server": f"{url}/kojihub", "user": "ada", "password": "secret", "max_retries": 1}
    return {**found, "retry_interval": 0, "authtype": "password", **more}


@pytest.fixture
def srpm(tmp_path):
    path = tmp_path / "x-1-1.src.rpm"
    path.write_bytes(b"source" * 1000)
    return path


def backend(url, **more):
    settings = KojiSettings(**{"scratch": True, "poll_s": 0.02, **more})
    return KojiBackend(lambda: log_in(options(url)), url, NoLocal(), settings)


def test_a_scratch_build_brings_packages_and_logs(tmp_path, srpm):
    hub = FixtureHub(tmp_path, built)
    with serving(hub) as url:
        made = backend(url).build_rpms(srpm, TARGET, (), tmp_path / "result")
    assert [path.name for path in made] == ["x-1-1.noarch.rpm"]
    assert made[0].read_bytes() == PACKAGE
    assert (tmp_path / "result/installed_pkgs.log").read_text().startswith("bash")
    assert (tmp_path / "result/build.log").read_text() == "Wrote: x\n"
    assert next(tmp_path.glob("uploads/rackseed/*/x-1-1.src.rpm")).read_bytes() == srpm.read_bytes()
    assert hub.calls[-1] == "logout"


def test_a_failing_build_quotes_its_log(tmp_path, srpm):
    def failing(srpm, output):
        text = "+ cc x.c\nx.c:1: error: no\nerror: Bad exit status from /x (%build)\n"
        (output / "build.log").write_text(text)
        return FAILED

    with serving(FixtureHub(tmp_path, failing)) as url, pytest.raises(BuildFailed, match=r"x\.c:1"):
        backend(url).build_rpms(srpm, TARGET, (), tmp_path / "result")


def test_a_missing_requirement_is_named(tmp_path, srpm):
    def failing(srpm, output):
        (output / "root.log").write_text("No matching package to install: 'nothing'\n")
        return FAILED

    with (
        serving(FixtureHub(tmp_path, failing)) as url,
        pytest.raises(MissingRequirement, match="x-1-1 needs nothing"),
    ):
        backend(url).build_rpms(srpm, TARGET, (), tmp_path / "result")


def test_a_task_that_fails_without_a_log_says_why(tmp_path, srpm):
    hub = FixtureHub(tmp_path, lambda srpm, output: FAILED)
    with serving(hub) as url, pytest.raises(RpmError, match="FAILED: the builder went away"):
        backend(url).build_rpms(srpm, TARGET, (), tmp_path / "result")


def test_stopping_cancels_the_task(tmp_path, srpm):
    end = threading.Event()

    def slow(srpm, output):
        end.wait(30)
        return CLOSED

    hub = FixtureHub(tmp_path, slow)
    raised = []

    def building():
        try:
            ours.build_rpms(srpm, TARGET, (), tmp_path / "result")
        except RpmError as error:
            raised.append(type(error))

    with serving(hub) as url:
        ours = backend(url)
        thread = threading.Thread(target=building)
        thread.start()
        while "getTaskInfo" not in hub.calls:
            time.sleep(0.01)
        ours.stop()
        thread.join(10)
        end.set()
    assert raised == [Stopped]
    assert hub.cancelled == [100]


def test_what_koji_does_not_know_is_named(tmp_path, srpm):
    hub = FixtureHub(tmp_path, built, targets=())
    with serving(hub) as url, pytest.raises(BadInput, match="no target fixture-1"):
        backend(url).build_rpms(srpm, TARGET, (), tmp_path / "result")


def test_a_wrong_password_is_refused(tmp_path, srpm):
    hub = FixtureHub(tmp_path, built, users={})
    with serving(hub) as url, pytest.raises(BadInput, match="does not let us in"):
        backend(url).build_rpms(srpm, TARGET, (), tmp_path / "result")


def test_a_hub_that_is_down_is_named(tmp_path, srpm):
    with serving(FixtureHub(tmp_path, built)) as url:
        pass
    with pytest.raises(RepositoryUnavailable, match=r"hub does not answer.*127\.0\.0\.1"):
        backend(url).build_rpms(srpm, TARGET, (), tmp_path / "result")


def test_scratch_builds_cannot_see_one_another(tmp_path, srpm):
    offered = tmp_path / "offered"
    offered.mkdir()
    (offered / "y-1-1.noarch.rpm").touch()
    with pytest.raises(BadInput, match="scratch"):
        backend("http://127.0.0.1:1").build_rpms(srpm, TARGET, (offered,), tmp_path / "result")


def test_a_profile_of_kojis_own_configuration_logs_in(tmp_path, monkeypatch, srpm):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".koji").mkdir()
    with serving(FixtureHub(tmp_path, built)) as url:
        text = f"server = {url}/kojihub\ntopurl = {url}\nauthtype = password\n"
        text += "poll_interval = 2\n"
        Path(tmp_path, ".koji/config").write_text(f"[ours]\n{text}")
        ours = read_profile("ours", "ada", "secret")
        assert (ours.topurl, ours.poll_s) == (url, 2)
        assert ours.connect().logged_in


def test_a_profile_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(BadInput, match="nowhere"):
        read_profile("nowhere")
