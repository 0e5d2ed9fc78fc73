"""What is kept of a build is taken by the very same build and by no other."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from imagebuild.layers import choose, elements_without, expanded, keep, keys, with_layers
from imagebuild.plan import ELEMENTS, SEAL, Machine, Settings, plan_build
from imagebuild.recipes import load_recipe

MACHINE = Machine(programs=Path("/venv/bin"), available=16000, cores=4)
SETTINGS = Settings(output=Path("/images"), cache=Path("/cache"), work=Path("/work"))
DEBIAN = load_recipe("debian-12")
STATE = "state1"


def plan(recipe=DEBIAN, **settings):
    return plan_build(recipe, replace(SETTINGS, **settings), MACHINE)


def key(recipe=DEBIAN, **settings):
    return keys(plan(recipe, **settings), STATE)


@pytest.mark.parametrize(
    "other",
    [
        {"work": Path("/elsewhere")},
        {"output": Path("/other")},
        {"cache": Path("/c")},
        {"archives": Path("/apt")},
        {"compression": None},
    ],
)
def test_where_a_build_works_changes_nothing(other):
    assert key(**other) == key()


@pytest.mark.parametrize(
    "recipe",
    [
        replace(DEBIAN, packages=("jq",)),
        replace(DEBIAN, environment={"DIB_X": "1"}),
        replace(DEBIAN, data_sources=("NoCloud",)),
        load_recipe("debian-12-gpu"),
    ],
)
def test_another_system_has_another_key_over_the_same_first_root(recipe):
    assert key(recipe).system != key().system
    assert key(recipe).base == key().base


def test_what_only_the_disk_needs_is_not_in_the_key():
    assert key(replace(DEBIAN, kernel_arguments=("quiet",), size=9)) == key()


@pytest.mark.parametrize("other", [{"mirror": "http://m/debian"}, {"epoch": 5}])
def test_settings_that_bear_on_the_system_change_its_key(other):
    assert key(**other).system != key().system
    assert key(**other).base != key().base


def test_another_release_has_another_first_root():
    assert key(load_recipe("debian-13")).base != key().base


def test_the_seal_acts_on_the_disk_alone_and_so_is_in_no_key():
    hooks = {path.name for path in (ELEMENTS / SEAL).glob("*.d")}
    assert hooks == {"cleanup.d"}


def test_a_first_build_keeps_and_the_next_takes(tmp_path):
    kept = tmp_path / "layers"
    kept.mkdir()
    shop = tmp_path / "shop"
    shop.mkdir()
    first = choose(plan(), key(), kept, shop)
    assert first.skipped == ""
    assert set(first.env) == {"RACKSEED_SYSTEM_SAVE", "RACKSEED_BASE_SAVE"}
    for partial in first.saves:
        partial.write_bytes(b"layer")
    keep(first)

    second = choose(plan(), key(), kept, tmp_path / "shop2")
    assert second.skipped == "system"
    assert set(second.env) == {"RACKSEED_SYSTEM_RESTORE"}
    assert second.saves == {}
    assert with_layers(plan(), second).env["ELEMENTS_PATH"] == str(tmp_path / "shop2/elements")

    gpu = load_recipe("debian-12-gpu")
    other = choose(plan(gpu), key(gpu), kept, tmp_path / "shop3")
    assert other.skipped == "base"
    assert set(other.env) == {"RACKSEED_SYSTEM_SAVE", "RACKSEED_BASE_RESTORE"}


def test_a_layer_of_another_state_is_replaced_and_taken_only_offline(tmp_path):
    old, new = keys(plan(), "old"), keys(plan(), "new")
    for state in (old, new):
        layers = choose(plan(), state, tmp_path, tmp_path)
        assert layers.skipped == ""
        for partial in layers.saves:
            partial.write_bytes(b"layer")
        keep(layers)
    assert sorted(path.name.partition("+")[2] for path in tmp_path.glob("*.tar.zst")) == [
        "new.tar.zst",
        "new.tar.zst",
    ]
    unknown = keys(plan(), "")
    assert choose(plan(), unknown, tmp_path, tmp_path / "a").skipped == ""
    assert choose(plan(offline=True), unknown, tmp_path, tmp_path / "b").skipped == "system"


def test_nothing_is_kept_where_the_state_is_not_known(tmp_path):
    assert choose(plan(), keys(plan(), ""), tmp_path, tmp_path).saves == {}


def test_a_layer_that_nobody_takes_is_removed_some_day(tmp_path):
    forgotten = tmp_path / "system-x+y.tar.zst"
    forgotten.write_bytes(b"")
    os.utime(forgotten, (0, 0))
    keep(choose(plan(), key(), tmp_path, tmp_path))
    assert not forgotten.exists()


def test_elements_of_the_second_half_have_no_hooks_of_the_first(tmp_path):
    folders = ("root.d", "install.d")
    place = elements_without(plan(), tmp_path / "elements", folders, ())
    names = {path.name for path in place.iterdir()}
    assert names == {name for name, _ in expanded(plan())}
    left = {str(p.parent.parent.name) for p in place.rglob("*.d/*") if p.parent.name in folders}
    assert left == {"rackseed-layers"}
    assert (place / "bootloader/finalise.d/50-bootloader").stat().st_mode & 0o111


def test_only_the_bootstrap_is_left_out_where_the_first_root_is_kept(tmp_path):
    place = elements_without(plan(), tmp_path / "elements", (), ("08-debootstrap",))
    assert not (place / "debootstrap/root.d/08-debootstrap").exists()
    assert (place / "debian-minimal/root.d/75-debian-minimal-baseinstall").exists()
    assert (place / "rackseed-layers/root.d/08-rackseed-base-restore").exists()
