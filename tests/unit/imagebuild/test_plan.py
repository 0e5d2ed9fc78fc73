"""A plan is the exact call of diskimage-builder, for every recipe."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from imagebuild.disks import disk_config
from imagebuild.plan import ELEMENTS, PACKAGE, Machine, Settings, plan_build
from imagebuild.recipe import BlockDevice, Compression
from imagebuild.recipes import load_recipe, recipe_names
from imagebuild.systems import DEBIAN_MIRROR, UBUNTU_MIRROR

MACHINE = Machine(programs=Path("/venv/bin"), available=16000, cores=4)
SETTINGS = Settings(output=Path("/images"), cache=Path("/cache"), work=Path("/build"))
DEBIAN = load_recipe("debian-12")


def as_reviewed(script: str) -> str:
    """A plan without what lies elsewhere on each machine, or is not ours to name."""
    script = script.replace(str(PACKAGE), "/imagebuild")
    script = script.replace(DEBIAN_MIRROR, "http://mirror.example.org/debian")
    return script.replace(UBUNTU_MIRROR, "http://mirror.example.org/ubuntu")


@pytest.mark.parametrize("name", recipe_names())
def test_the_plan_of_a_recipe(name, golden):
    plan = plan_build(load_recipe(name), SETTINGS, MACHINE)
    golden(f"imagebuild/plan/{name}.sh", as_reviewed(plan.script))


@pytest.mark.parametrize("name", recipe_names())
def test_elements_of_ours_that_a_recipe_names_are_there(name):
    for element in load_recipe(name).elements:
        if element.startswith("rackseed-"):
            assert (ELEMENTS / element / "README.rst").is_file(), element


def test_a_plan_on_a_machine_without_device_mapper_and_vfat(golden):
    bare = replace(MACHINE, device_mapper=False, vfat=False)
    plan = plan_build(DEBIAN, SETTINGS, bare)
    assert plan.private_devices
    golden("imagebuild/plan/bare-machine.sh", as_reviewed(plan.script))


@pytest.mark.parametrize("block_device", BlockDevice)
@pytest.mark.parametrize("device_mapper", [True, False])
@pytest.mark.parametrize("vfat", [True, False])
def test_the_disk_is_the_same_on_every_machine(block_device, device_mapper, vfat):
    recipe = replace(DEBIAN, block_device=block_device)
    here = yaml.safe_load(disk_config(recipe, device_mapper, vfat))
    there = yaml.safe_load(disk_config(recipe, device_mapper=True, vfat=True))

    def partitions(config):
        inside = next(value for entry in config for key, value in entry.items() if "parti" in key)
        keys = ("name", "size", "type", "flags")
        return [{key: part.get(key) for key in keys} for part in inside["partitions"]]

    assert partitions(here) == partitions(there)


@pytest.mark.parametrize("bare", [True, False])
def test_file_systems_of_one_epoch_have_the_same_ids(bare):
    machine = replace(MACHINE, device_mapper=not bare, vfat=not bare)

    def config(epoch, recipe=DEBIAN):
        plan = plan_build(recipe, replace(SETTINGS, epoch=epoch), machine)
        return plan.env["DIB_BLOCK_DEVICE_CONFIG"]

    assert "uuid" not in config(None)
    assert config(7) == config(7)
    assert "uuid: " in config(7)
    assert ("volume_id: '" if bare else "-F 32 -i ") in config(7)
    ids = {config(7), config(8), config(7, load_recipe("debian-12-gpu")), config(None)}
    assert len(ids) == 4
    mbr = config(7, load_recipe("centos7"))
    assert len(yaml.safe_load(mbr)) == 2
    assert "uuid: " in mbr


def test_the_work_is_in_memory_only_where_there_is_enough():
    assert plan_build(DEBIAN, SETTINGS, MACHINE).tmpfs == 11200
    assert plan_build(DEBIAN, SETTINGS, replace(MACHINE, available=4000)).tmpfs == 0
    assert plan_build(DEBIAN, replace(SETTINGS, tmpfs=False), MACHINE).tmpfs == 0


def test_builds_at_once_share_the_memory():
    assert plan_build(DEBIAN, SETTINGS, MACHINE.shared(2)).tmpfs == 5600
    assert plan_build(DEBIAN, SETTINGS, MACHINE.shared(3)).tmpfs == 0


@pytest.mark.parametrize("kind", Compression)
def test_compression_is_the_persons_then_the_recipes(kind):
    plan = plan_build(DEBIAN, replace(SETTINGS, compression=kind), MACHINE)
    packed = "-c" in plan.convert
    assert packed is (kind is not Compression.NONE)
    assert (f"compression_type={kind.value}" in plan.convert) is packed
    assert "compression_type=zstd" in plan_build(DEBIAN, SETTINGS, MACHINE).convert


def test_nothing_of_the_callers_environment_is_inherited(monkeypatch):
    monkeypatch.setenv("DIB_EVIL", "yes")
    assert "DIB_EVIL" not in plan_build(DEBIAN, SETTINGS, MACHINE).env


def test_settings_become_variables_and_options():
    settings = replace(
        SETTINGS,
        mirror="http://mirror.lan/debian",
        security_mirror="http://mirror.lan/security",
        offline=True,
        epoch=1700000000,
        local_base=Path("/base.qcow2"),
    )
    plan = plan_build(replace(DEBIAN, size=20, packages=("jq", "vim")), settings, MACHINE)
    assert plan.env["DIB_DISTRIBUTION_MIRROR"] == "http://mirror.lan/debian"
    assert plan.env["DIB_DEBIAN_SECURITY_MIRROR"] == "http://mirror.lan/security"
    assert plan.env["RACKSEED_PUBLIC_MIRROR"] == DEBIAN_MIRROR
    assert plan.env["SOURCE_DATE_EPOCH"] == "1700000000"
    assert plan.env["DIB_LOCAL_IMAGE"] == "/base.qcow2"
    assert "--offline" in plan.argv
    assert plan.argv[plan.argv.index("--image-size") + 1] == "20"
    assert plan.argv[plan.argv.index("-p") + 1] == "jq,vim"


def test_the_seal_is_the_last_element():
    for name in recipe_names():
        assert plan_build(load_recipe(name), SETTINGS, MACHINE).argv[-1] == "rackseed-seal"
