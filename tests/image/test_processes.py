"""`build-image` as processes: several images at once, interrupted, and killed at any moment."""

import json
import logging
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from imagebuild.build import Built, Way
from imagebuild.phases import ENDINGS, Phase
from imagebuild.plan import Settings
from provision.cli.report import ExitStatus
from tests.builds import Again, build_image, traces

log = logging.getLogger(__name__)

KILLS = int(os.environ.get("RACKSEED_KILLS", "3"))
"""How often a build is killed; ten in the long suite."""
SEED = int(os.environ.get("RACKSEED_SEED") or random.randrange(1 << 32))
"""Of the moments; shown with a failure, so that it can be had again."""

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def settings(debian_12: Built, build_way: Way, tmp_path: Path) -> Settings:
    """With all of debian-12 but its disk in the cache, and a folder of images of its own."""
    assert debian_12.report.sealed
    return replace(build_way.settings, output=tmp_path / "images")


def recipe(folder: Path, name: str, arguments: str) -> str:
    """Debian 12 with other words for its kernel, which only its disk knows."""
    path = folder / f"{name}.yaml"
    path.write_text(f"extends: debian-12\ntitle: {name}\nkernel_arguments: [{arguments}]\n")
    return str(path)


def is_whole(image: Path) -> bool:
    """Whether the file is the one that its digest beside it means."""
    check = ["sha256sum", "--check", "--status", f"{image.name}.sha256"]
    return subprocess.run(check, cwd=image.parent, check=False).returncode == 0


def test_two_images_at_once_one_whole_and_one_not_sealed(settings: Settings, tmp_path: Path):
    """The other would take its root from a disk of the builder: a finding fails its build."""
    recipes = recipe(tmp_path, "whole", "quiet"), recipe(tmp_path, "foreign", "root=LABEL=builder")
    options = (*recipes, "--jobs", "2", "--no-boot-proof")
    done = subprocess.run(
        build_image(settings, *options), capture_output=True, text=True, check=False
    )
    assert done.returncode == ExitStatus.FAILED, done.stderr
    lines = done.stdout.splitlines()
    ends = [n for n, line in enumerate(lines) if any(f": {one.value}" in line for one in ENDINGS)]
    begun = {line.partition(":")[0] for line in lines[: ends[0]] if f": {Phase.DISK.value}" in line}
    assert begun == {"whole", "foreign"}, "they run side by side"
    assert "error: foreign is not sealed:" in done.stderr
    assert "root=LABEL=builder, which no partition here has" in done.stderr
    assert is_whole(settings.output / "whole.qcow2")
    assert f"{settings.output}/whole.qcow2  " in done.stdout
    foreign = {path.name for path in settings.output.glob("*foreign*")}
    assert foreign == {"foreign.log", "foreign.failed.seal.json"}
    report = json.loads((settings.output / "foreign.failed.seal.json").read_bytes())
    assert {one["row"] for one in report["findings"]} == {"file-systems"}


def test_ctrl_c_ends_all_builds_and_leaves_nothing(settings: Settings, tmp_path: Path):
    recipes = recipe(tmp_path, "one", "quiet"), recipe(tmp_path, "two", "quiet")
    command = build_image(settings, *recipes, "--jobs", "2", "--no-boot-proof")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    waiting = {"one", "two"}
    said = []
    with subprocess.Popen(command, **pipes) as child:
        for line in child.stdout:
            said.append(line)
            if f": {Phase.DISK.value}" in line and waiting:
                waiting.remove(line.partition(":")[0])
                if not waiting:
                    child.send_signal(signal.SIGINT)
    assert child.returncode == ExitStatus.INTERRUPTED, said
    assert traces(settings.cache, settings.output, child.pid) == []
    assert {path.name for path in settings.output.iterdir()} == {"one.log", "two.log"}
    assert "interrupted: every build was stopped" in "".join(said)
    assert "Traceback" not in "".join(said)


def kill(
    settings: Settings, seconds: float, kills: int, before: Callable[[], None] = lambda: None
) -> None:
    """Kill builds of debian-12 at moments up to `seconds`; each next one clears what it finds."""
    log.warning("RACKSEED_SEED=%d", SEED)
    chance = random.Random(SEED)
    killed: dict[int, Settings] = {}
    for number in range(kills * 3):
        if len(killed) < kills:
            before()
        own = replace(settings, output=settings.output / str(number))
        own.output.mkdir(parents=True)
        said, image = own.output / "said", own.output / "debian-12.qcow2"
        command = build_image(own, "debian-12", "--no-boot-proof")
        with said.open("w") as file:
            child = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
        moment = chance.uniform(0, seconds) if len(killed) < kills else None
        began = time.monotonic()
        try:
            assert child.wait(moment) == 0, said.read_text()
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        log.warning("moment=%s said=%s", moment, said.read_text().splitlines()[-1:])
        if Phase.ASKING.value in said.read_text():  # past the start, where it clears
            for builder, theirs in killed.items():
                assert traces(theirs.cache, theirs.output, builder) == []
        assert is_whole(image) or not image.exists()
        if child.returncode:
            killed[child.pid] = own
        else:
            seconds = min(seconds, time.monotonic() - began)  # the machine had more to do before
            shutil.rmtree(own.output)
        if moment is None:
            return
    pytest.fail(f"most builds ended before their moment, of {seconds} s")


def test_killed_at_any_moment_nothing_stays_after_the_next_start(settings: Settings, again: Again):
    """kill -9 ends mounts and processes at once; the next build clears the rest."""
    assert again.built.skipped == "system"
    kill(settings, again.built.seconds + 1, KILLS)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_ended_in_any_phase_of_a_first_build_nothing_stays(settings: Settings, tmp_path: Path):
    own = replace(settings, cache=tmp_path / "cache")

    def forget() -> None:
        for name in ("layers", "packages", "downloads"):
            shutil.rmtree(own.cache / name, ignore_errors=True)

    began = time.monotonic()
    first = replace(own, output=tmp_path / "first")
    subprocess.run(build_image(first, "debian-12", "--no-boot-proof"), check=True)
    kill(own, time.monotonic() - began, 3, forget)
