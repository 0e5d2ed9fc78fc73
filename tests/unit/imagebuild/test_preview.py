"""A dry run says what a build would do, to the letter, and changes nothing."""

from dataclasses import replace
from pathlib import Path

import pytest

from imagebuild.build import keys_of
from imagebuild.errors import SourceUnavailable
from imagebuild.hostapt import with_host_mirrors
from imagebuild.plan import Machine, Settings, plan_build
from imagebuild.preview import preview
from imagebuild.recipes import load_recipe
from imagebuild.repositories import repository_state, state_urls
from tests.unsealed import snapshot

MACHINE = Machine(programs=Path("/venv/bin"), available=16000, cores=4)
DEBIAN = load_recipe("debian-12")


def index(url: str) -> bytes:
    """What every mirror says."""
    return b" 0123 1 Packages"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "cache/layers").mkdir(parents=True)
    return Settings(tmp_path / "images", tmp_path / "cache", Path("/nowhere"))


def keep(settings: Settings, kind: str, state: str = "") -> str:
    """A layer of debian-12 as an earlier build left it; its name."""
    settings = with_host_mirrors(settings, DEBIAN)
    state = state or repository_state(state_urls(DEBIAN, settings), index).key
    keys = keys_of(plan_build(DEBIAN, settings, MACHINE), state)
    name = f"{kind}-{getattr(keys, kind)}+{state}"
    (settings.cache / "layers" / f"{name}.tar.zst").write_bytes(b"")
    return name


def test_a_first_build_makes_all_and_keeps_it(settings: Settings) -> None:
    shown = preview(DEBIAN, settings, MACHINE, index)
    folder = settings.cache / "running/PID-XXXXXXXX"
    assert shown.layer == ""
    assert shown.plan.env["RACKSEED_BASE_SAVE"] == f"{folder}/base.tar.zst"
    assert shown.plan.env["RACKSEED_APT_ARCHIVES"] == f"{folder}/apt"
    assert shown.call[-4:] == ("/run/rackseed/PID-XXXXXXXX", "11200", "shared", f"{folder}/job.sh")
    assert shown.plan.env["HOME"] == "/run/rackseed/PID-XXXXXXXX/home"
    assert "# takes from an earlier build: nothing" in shown.script


@pytest.mark.parametrize("kind", ["system", "base"])
def test_what_an_earlier_build_kept_is_shown_and_left_as_it_is(
    settings: Settings, kind: str
) -> None:
    name = keep(settings, kind)
    before = snapshot(settings.cache)
    (layer,) = (settings.cache / "layers").iterdir()
    age = layer.stat().st_mtime_ns
    shown = preview(DEBIAN, settings, MACHINE, index)
    assert shown.layer == name
    assert shown.plan.env[f"RACKSEED_{kind.upper()}_RESTORE"] == str(layer)
    assert shown.plan.env["ELEMENTS_PATH"] == f"{settings.cache}/running/PID-XXXXXXXX/elements"
    assert ("RACKSEED_SYSTEM_SAVE" in shown.plan.env) is (kind == "base")
    assert snapshot(settings.cache) == before
    assert layer.stat().st_mtime_ns == age
    assert not settings.output.exists()


def test_offline_no_mirror_is_asked_and_a_build_that_cannot_be_is_not_shown(
    settings: Settings,
) -> None:
    def asked(url: str) -> bytes:
        raise AssertionError(url)

    offline = replace(settings, offline=True)
    with pytest.raises(SourceUnavailable, match="cannot be built offline"):
        preview(DEBIAN, offline, MACHINE, asked)
    name = keep(settings, "system", "of-some-day")
    assert preview(DEBIAN, offline, MACHINE, asked).layer == name


@pytest.mark.parametrize(
    ("machine", "tmpfs", "told", "not_told"),
    [
        (MACHINE, True, "PID-XXXXXXXX in the names of its folders, how much memory", "modules"),
        (MACHINE, False, "PID and XXXXXXXX in the names of its folders\n", "memory"),
        (replace(MACHINE, vfat=False), True, "whether modules bring device mapper", "PID and"),
    ],
)
def test_what_only_the_start_decides_is_named(
    settings: Settings, machine: Machine, tmpfs: bool, told: str, not_told: str
) -> None:
    script = preview(DEBIAN, replace(settings, tmpfs=tmpfs), machine, index).script
    assert told in script
    assert not_told not in script
    work = "/run/rackseed/PID-XXXXXXXX" if tmpfs else "/var/tmp/rackseed-image-XXXXXXXX"
    assert f"{work} {11200 if tmpfs else 0} " in script
