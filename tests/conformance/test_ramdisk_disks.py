"""Which disk the ramdisk's scripts choose, in busybox's shell with a made-up /sys/block."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pxe.ramdisk.build import find_busybox
from tests.tools import require_root, require_tool

SCRIPTS = Path(__file__).parents[2] / "pxe/ramdisk/scripts"
GIB = 2**30

Choose = Callable[[str], str]


@pytest.fixture
def choose(tmp_path: Path) -> Choose:
    """`choose(policy)` in a mount namespace whose /sys/block has the disks of the test."""
    require_root()
    unshare = require_tool("unshare", package="util-linux")
    busybox = find_busybox()

    def run(policy: str) -> str:
        script = f"""
            set -f
            mount --bind {tmp_path}/block /sys/block
            MIB=1048576
            . {SCRIPTS}/common.sh; . {SCRIPTS}/hardware.sh; . {SCRIPTS}/image.sh
            chosen_disk {policy}
        """
        argv = [unshare, "--mount", str(busybox), "sh", "-c", script]
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
        assert done.stderr == ""
        return done.stdout.strip()

    return run


def disk(folder: Path, path: str, size: int, serial: str = "", **facts: int) -> None:
    """A disk at the place that sysfs gives it by the way it is attached."""
    place = folder / "devices" / path
    (place / "device").mkdir(parents=True)
    values = {"size": size // 512, "removable": 0, "ro": 0} | facts
    for name, value in values.items():
        (place / name).write_text(f"{value}\n")
    (place / "device/serial").write_text(f"{serial}\n")
    (folder / "block").mkdir(exist_ok=True)
    (folder / "block" / place.name).symlink_to(place)


def test_the_machine_s_own_disks_are_chosen_by_size_and_order(tmp_path: Path, choose: Choose):
    disk(tmp_path, "pci0000:00/ata1/host0/target0:0:0/0:0:0:0/block/sda", 500 * GIB)
    disk(tmp_path, "pci0000:00/ata2/host1/target1:0:0/1:0:0:0/block/sdb", 250 * GIB)
    disk(tmp_path, "virtual/nvme-subsystem/nvme-subsys0/nvme0n1", 960 * GIB)
    assert (choose("first"), choose("smallest"), choose("largest")) == ("nvme0n1", "sdb", "nvme0n1")


def test_a_hidden_way_to_a_disk_is_never_chosen(tmp_path: Path, choose: Choose):
    disk(tmp_path, "pci0000:00/nvme/nvme0/nvme0c0n1", 960 * GIB, "S1", hidden=1)
    disk(tmp_path, "virtual/nvme-subsystem/nvme-subsys0/nvme0n1", 960 * GIB, "S1", hidden=0)
    for policy in ("first", "smallest", "largest", "S1"):
        assert choose(policy) == "nvme0n1"


@pytest.mark.parametrize(
    "path",
    [
        "pci0000:00/usb2/2-1/2-1:1.0/host7/target7:0:0/7:0:0:0/block/sdz",
        "pci0000:00/0000:05:00.0/host3/rport-3:0-1/target3:0:0/3:0:0:1/block/sdz",
        "platform/host4/session1/target4:0:0/4:0:0:0/block/sdz",
    ],
)
def test_a_disk_that_others_may_use_is_chosen_only_by_its_serial_number(
    tmp_path: Path, choose: Choose, path: str
):
    disk(tmp_path, path, 8 * GIB, "SHARED")
    assert [choose(policy) for policy in ("first", "smallest", "largest")] == ["", "", ""]
    assert choose("SHARED") == "sdz"
    disk(tmp_path, "pci0000:00/ata1/host0/target0:0:0/0:0:0:0/block/sdy", 250 * GIB)
    assert [choose(policy) for policy in ("first", "smallest", "largest")] == ["sdy"] * 3


@pytest.mark.parametrize("why", ["removable", "ro"])
def test_what_can_be_taken_out_or_not_written_is_never_chosen(
    tmp_path: Path, choose: Choose, why: str
):
    facts = {why: 1}
    disk(tmp_path, "pci0000:00/ata1/host0/target0:0:0/0:0:0:0/block/sda", 8 * GIB, "X1", **facts)
    assert [choose(policy) for policy in ("first", "smallest", "largest", "X1")] == [""] * 4
