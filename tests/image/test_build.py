"""Real images from Debian's mirror, whole, sealed, and gone without a trace when killed."""

import json
import os
import re
import shlex
import subprocess
from dataclasses import replace

import pytest

from imagebuild.build import Built, Way, build_image
from imagebuild.errors import BuildFailed, SourceUnavailable, Stopped
from imagebuild.hostapt import with_host_mirrors
from imagebuild.inside.image import open_image
from imagebuild.phases import Event, Phase
from imagebuild.preview import preview
from imagebuild.recipes import load_recipe
from imagebuild.repositories import fetch, mirrors, repository_state, state_urls
from imagebuild.systems import DEBIAN_MIRROR
from imagebuild.workshop import RUNNING
from tests.builds import traces

pytestmark = pytest.mark.timeout(900)


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
