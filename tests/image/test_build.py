"""Real images from Debian's mirror, whole, sealed, and gone without a trace when killed."""

import json
import os
import random
import re
import shlex
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from imagebuild.build import Built, Way, build_image
from imagebuild.errors import BuildFailed, SourceUnavailable, Stopped
from imagebuild.hostapt import with_host_mirrors
from imagebuild.inside.image import open_image
from imagebuild.loops import attached
from imagebuild.phases import Event, Phase
from imagebuild.preview import preview
from imagebuild.recipes import load_recipe
from imagebuild.repositories import fetch, mirrors, repository_state, state_urls
from imagebuild.systems import DEBIAN_MIRROR
from imagebuild.workshop import MEMORY, RUNNING, WORK_PREFIX, sweep

KILLS = int(os.environ.get("RACKSEED_KILLS", "3"))
"""How often a build is killed; ten in the long suite."""

pytestmark = pytest.mark.timeout(900)


LOOPS = frozenset(attached())
"""Of this machine, before any test."""


def traces(cache: Path, output: Path, builder: int) -> list[str]:
    """What the builds of one process, which ended, left on this machine."""
    own = (f"{MEMORY}/{builder}-", f"{cache / RUNNING}/{builder}-", WORK_PREFIX)
    lines = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    lines += [f"{device} {name}" for device, name in set(attached()) - LOOPS]
    lines += [str(path) for path in (*MEMORY.glob("*"), *(cache / RUNNING).glob("*"))]
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (entry / "cmdline").read_bytes().decode(errors="replace")
            lines.append(words.replace("\0", " "))
    found = [line for line in lines if any(word in line for word in own)]
    return found + [str(path) for path in output.glob(".*.partial")]


def test_debian_12_is_built_whole_and_sealed(debian_12: Built):
    assert debian_12.report.sealed
    path = debian_12.path
    check = ["qemu-img", "check", "--output=json", str(path)]
    assert json.loads(subprocess.check_output(check)).get("check-errors") == 0
    assert 150 << 20 < debian_12.size < 600 << 20
    for name in ("sha256", "sha512"):
        beside = path.with_name(f"{path.name}.{name}")
        subprocess.run([f"{name}sum", "--check", str(beside)], cwd=path.parent, check=True)
    for name in ("packages", "cdx.json", "provenance.json", "seal.json"):
        assert path.with_name(f"{path.name}.{name}").stat().st_size > 500
    told = json.loads(path.with_name(f"{path.name}.json").read_text(encoding="utf-8"))
    assert told["properties"]["os_distro"] == "debian"
    assert (debian_12.path.parent / "debian-12.log").stat().st_size > 10_000


def test_debian_12_has_what_its_recipe_says(debian_12: Built):
    with open_image(debian_12.path) as image:
        tree = image.tree
        kernels = [entry for entry in tree.names("boot") if entry.startswith("vmlinuz-")]
        assert len(kernels) == 1
        initrd = f"boot/initrd.img-{kernels[0].removeprefix('vmlinuz-')}"
        assert tree.exists(initrd)
        sources = tree.text("etc/apt/sources.list.d/default.list")
        assert f"{DEBIAN_MIRROR} bookworm" in sources
        config = tree.text("etc/cloud/cloud.cfg.d/91-dib-cloud-init-datasources.cfg")
        assert "ConfigDrive, OpenStack, NoCloud" in config


def test_its_provenance_says_what_it_was_made_of_and_by_what(debian_12: Built, build_way: Way):
    beside = debian_12.path.with_name(f"{debian_12.path.name}.provenance.json")
    told = json.loads(beside.read_text(encoding="utf-8"))["predicate"]
    needed = {one["uri"]: one for one in told["buildDefinition"]["resolvedDependencies"]}
    recipe, settings = debian_12.recipe, build_way.settings
    settings = with_host_mirrors(settings, recipe)
    state = repository_state(state_urls(recipe, settings), fetch)
    for index in state.indexes:
        assert needed[index.url]["digest"] == {"sha256": index.sha256}
    for mirror in mirrors(recipe, settings):
        assert needed[mirror]["annotations"] == {"state": state.key}
    assert all(one.get("digest") or one.get("annotations") for one in needed.values())
    used = told["runDetails"]["builder"]["version"]
    wanted = {"debootstrap", "diskimage-builder", "linux", "mkfs.ext4", "python", "qemu-img"}
    assert wanted | {"rackseed", "sgdisk", "tar", "zstd"} <= set(used)
    asked = subprocess.check_output(["qemu-img", "--version"], text=True)
    assert f" {used['qemu-img']} " in asked
    layer = told["buildDefinition"]["internalParameters"].get("layer", "")
    assert layer.partition("-")[0] == debian_12.skipped


def test_nothing_is_left_of_a_build(debian_12: Built, build_way: Way):
    assert traces(build_way.settings.cache, build_way.settings.output, os.getpid()) == []


def test_a_ready_image_for_gpus_leaves_the_card_alone(debian_12_gpu: Built):
    assert debian_12_gpu.report.sealed
    assert debian_12_gpu.recipe.properties["hw_video_model"] == "qxl"
    with open_image(debian_12_gpu.path) as image:
        assert "blacklist nouveau" in image.tree.text("etc/modprobe.d/rackseed-nouveau.conf")
        assert "modprobe.blacklist=nouveau" in image.tree.text("boot/grub/grub.cfg")


def test_a_build_that_fails_says_why_and_leaves_nothing(build_way: Way, tmp_path):
    recipe = load_recipe("debian-12", ["no-such-package-at-all"])
    way = replace(build_way, settings=replace(build_way.settings, output=tmp_path))
    with pytest.raises(BuildFailed, match="Unable to locate package no-such-package-at-all"):
        build_image(recipe, way)
    assert [path.name for path in tmp_path.iterdir()] == ["debian-12.log"]
    assert traces(build_way.settings.cache, tmp_path, os.getpid()) == []


def test_a_build_that_is_stopped_leaves_nothing_and_ran_what_a_dry_run_had_shown(
    debian_12: Built, build_way: Way, tmp_path, caplog
):
    settings = replace(build_way.settings, output=tmp_path)
    shown = preview(debian_12.recipe, settings, build_way.machine, fetch)
    running = settings.cache / RUNNING
    jobs = []

    def watch(event: Event) -> None:
        if event.phase is Phase.DISK:
            jobs.extend(path.read_text() for path in running.glob(f"{os.getpid()}-*/job.sh"))
            way.stopping.set()

    way = replace(build_way, settings=settings, watch=watch)
    caplog.set_level("INFO", "provision.run")
    with pytest.raises(Stopped):
        build_image(debian_12.recipe, way)
    way.stopping.clear()
    (call,) = [line for line in caplog.messages if line.startswith("+ unshare ")]
    named = re.compile(rf"\b{os.getpid()}-[\w-]{{8}}(?=[/ \n'])")
    assert named.sub("PID-XXXXXXXX", call) == f"+ {shlex.join(shown.call)}"
    assert [named.sub("PID-XXXXXXXX", job) for job in jobs] == [shown.plan.script]
    assert shown.layer.startswith("system-")
    assert [path.name for path in tmp_path.iterdir()] == ["debian-12.log"]
    assert traces(build_way.settings.cache, tmp_path, os.getpid()) == []


def test_offline_names_what_is_missing(build_way: Way, tmp_path):
    output = tmp_path / "images"
    settings = replace(build_way.settings, output=output, cache=tmp_path / "c", offline=True)
    with pytest.raises(SourceUnavailable, match="cannot be built offline"):
        build_image(load_recipe("debian-12"), replace(build_way, settings=settings))
    assert list(tmp_path.iterdir()) == []


def test_killed_at_any_moment_nothing_stays(debian_12: Built, build_way: Way, tmp_path):
    """kill -9 ends mounts and processes at once; the next start clears the rest."""
    cache = build_way.settings.cache
    command = [sys.executable, "-c", "from provision.cli.image.main import main; main()"]
    command += ["debian-12", "-o", str(tmp_path), "--cache", str(cache)]
    command += ["--source-date-epoch", str(build_way.settings.epoch)]
    moments = random.Random(12)
    longest = debian_12.seconds / 3  # from what is kept, a build takes less
    kills = 0
    while kills < KILLS:
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            assert child.wait(moments.uniform(1, max(2.0, longest))) == 0
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        else:  # it was whole before its moment came
            longest /= 2
            (tmp_path / "debian-12.qcow2").unlink()
            continue
        kills += 1
        deadline = time.monotonic() + 10  # a namespace ends a moment after its last process
        sweep(cache)
        while time.monotonic() < deadline and traces(cache, tmp_path, child.pid):
            time.sleep(0.2)
            sweep(cache)
        assert traces(cache, tmp_path, child.pid) == []
        assert not (tmp_path / "debian-12.qcow2").exists()
