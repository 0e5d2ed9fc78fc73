"""Which disk the ramdisk's scripts choose and where a seed goes, in busybox's shell."""

import base64
import gzip
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pxe import fat
from pxe.ramdisk.build import find_busybox
from tests.tools import require_root, require_tool

SCRIPTS = Path(__file__).parents[2] / "pxe/ramdisk/scripts"
MIB = 2**20
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


class Disk:
    """A file that the scripts write as a disk, and the image's first MiB as they keep it."""

    def __init__(self, folder: Path, mebibytes: int) -> None:
        self.folder = folder
        self.path = folder / "dev/sdx"
        self.path.parent.mkdir(parents=True)
        self.bytes = mebibytes * MIB + 24 * 512  # real disks do not end on a MiB
        with self.path.open("wb") as file:
            file.truncate(self.bytes)
        (folder / "run").mkdir()

    def shell(self, script: str) -> str:
        """The ramdisk's functions over this disk, in busybox's shell with programs of its own."""
        require_root()
        unshare = require_tool("unshare", package="util-linux")
        text = f"""
            set -f
            mount -t tmpfs none /run && mount --bind {self.folder}/run /run
            mount --bind {self.folder}/dev /dev
            MIB={MIB}
            . {SCRIPTS}/common.sh; . {SCRIPTS}/hardware.sh; . {SCRIPTS}/image.sh
            say() {{ :; }}
            ({script}) || echo "status $? FAILURE=$FAILURE"
        """
        (self.folder / "dev/null").touch()
        argv = [unshare, "--mount", str(find_busybox()), "sh", "-c", text]
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def write_image(self, label: str, mebibytes: int) -> None:
        """An image with one partition on the disk, but its first MiB in /run/head."""
        sfdisk = require_tool("sfdisk", package="fdisk")
        image = self.folder / "image"
        with image.open("wb") as file:
            file.truncate(mebibytes * MIB)
        subprocess.run(
            [sfdisk, "--quiet", image], input=f"label: {label}\nstart=1MiB, bootable\n".encode(),
            check=True,
        )  # fmt: skip
        data = image.read_bytes()
        (self.folder / "run/head").write_bytes(data[:MIB])
        with self.path.open("r+b") as file:
            file.seek(MIB)
            file.write(data[MIB:])

    def table(self) -> dict[str, Any]:
        """The partition table on the disk, with its first MiB where it belongs."""
        with self.path.open("r+b") as file:
            file.write((self.folder / "run/head").read_bytes())
        sfdisk = require_tool("sfdisk", package="fdisk")
        done = subprocess.run([sfdisk, "--json", self.path], capture_output=True, check=True)
        assert done.stderr == b"", done.stderr
        read: dict[str, Any] = json.loads(done.stdout)["partitiontable"]
        return read


def offer(folder: Path, seed: bytes) -> None:
    packed = base64.b64encode(gzip.compress(seed)).decode()
    (folder / "run/answer").write_text(f"disk=first\nseed={packed}\n")


@pytest.mark.parametrize("label", ["gpt", "dos"])
def test_a_seed_gets_a_partition_at_the_disk_s_end(tmp_path: Path, label: str) -> None:
    disk = Disk(tmp_path, 64)
    disk.write_image(label, 16)
    seed = fat.image({"user-data": b"#cloud-config\n"}, "CIDATA")
    offer(tmp_path, seed)
    assert disk.shell(f"unpack_seed sdx {disk.bytes} {16 * MIB} && planted sdx {disk.bytes}") == ""
    table = disk.table()
    assert table["label"] == label
    first, second = table["partitions"]
    assert first["start"] == 2048
    assert second["size"] == len(seed) // 512
    end = disk.bytes // 512 - second["start"] - second["size"]
    assert 33 <= end < 2048 + 34
    with disk.path.open("rb") as file:
        file.seek(second["start"] * 512)
        assert file.read(len(seed)) == seed
    blkid = require_tool("blkid", package="util-linux")
    at = ["--offset", str(second["start"] * 512), "--size", str(len(seed))]
    said = subprocess.run([blkid, "-p", *at, disk.path], capture_output=True, text=True, check=True)
    assert 'LABEL="CIDATA"' in said.stdout


def test_the_table_of_a_guid_disk_is_whole_at_both_ends(tmp_path: Path) -> None:
    disk = Disk(tmp_path, 64)
    disk.write_image("gpt", 16)
    offer(tmp_path, fat.image({"user-data": b""}, "CIDATA"))
    disk.shell(f"unpack_seed sdx {disk.bytes} {16 * MIB} && planted sdx {disk.bytes}")
    before = disk.table()
    sgdisk = require_tool("sgdisk", package="gdisk")
    verified = subprocess.run(
        [sgdisk, "--verify", disk.path], capture_output=True, text=True, check=True
    )
    assert "No problems found" in verified.stdout, verified.stdout
    with disk.path.open("r+b") as file:
        file.seek(512)
        file.write(bytes(MIB - 512))  # only the copy is left
    sfdisk = require_tool("sfdisk", package="fdisk")
    done = subprocess.run([sfdisk, "--json", disk.path], capture_output=True, check=True)
    assert json.loads(done.stdout)["partitiontable"]["partitions"] == before["partitions"]


@pytest.mark.parametrize(
    ("seed", "image", "told"),
    [
        ("bm9uc2Vuc2U=", 16, "the seed of the answer cannot be unpacked"),
        ("*", 16, "the seed of the answer cannot be unpacked"),
        ("", 64, ""),
        (None, 62, "has no room for the seed behind the image"),
    ],
)
def test_a_seed_that_cannot_be_planted_is_told_before_anything_is_written(
    tmp_path: Path, seed: str | None, image: int, told: str
) -> None:
    disk = Disk(tmp_path, 64)
    offer(tmp_path, fat.image({"user-data": b""}, "CIDATA"))
    if seed is not None:
        (tmp_path / "run/answer").write_text(f"seed={seed}\n")
    said = disk.shell(
        f'unpack_seed sdx {disk.bytes} {image * MIB} || fail "$FAILURE"; echo $FAILURE'
    )
    assert told in said
    assert (told == "") == (said == "")


def test_an_image_without_a_partition_table_takes_no_seed(tmp_path: Path) -> None:
    disk = Disk(tmp_path, 64)
    (tmp_path / "run/head").write_bytes(bytes(MIB))
    offer(tmp_path, fat.image({"user-data": b""}, "CIDATA"))
    said = disk.shell(
        f"unpack_seed sdx {disk.bytes} {MIB} && planted sdx {disk.bytes}; echo $FAILURE"
    )
    assert "takes no seed" in said
    assert not any(disk.path.read_bytes())


@pytest.mark.parametrize("label", ["gpt", "dos"])
def test_the_first_boot_grows_the_image_s_partition_up_to_the_seed(
    tmp_path: Path, label: str
) -> None:
    growpart = require_tool("growpart", package="cloud-guest-utils")
    disk = Disk(tmp_path, 64)
    disk.write_image(label, 16)
    offer(tmp_path, fat.image({"user-data": b""}, "CIDATA"))
    disk.shell(f"unpack_seed sdx {disk.bytes} {16 * MIB} && planted sdx {disk.bytes}")
    seed = disk.table()["partitions"][1]
    done = subprocess.run([growpart, disk.path, "1"], capture_output=True, text=True, check=True)
    assert "CHANGED" in done.stdout
    first, second = disk_table(disk.path)
    assert second == seed
    assert 0 <= seed["start"] - first["start"] - first["size"] < 2048


def disk_table(path: Path) -> list[dict[str, Any]]:
    sfdisk = require_tool("sfdisk", package="fdisk")
    done = subprocess.run([sfdisk, "--json", path], capture_output=True, check=True)
    partitions: list[dict[str, Any]] = json.loads(done.stdout)["partitiontable"]["partitions"]
    return partitions
