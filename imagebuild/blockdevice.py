"""Nodes of diskimage-builder's block device layer, for machines without device mapper or vfat.

Loaded by diskimage-builder through its entry points. Partitions are the kernel's own nodes
(`partx`), and the EFI system partition is a FAT file system that mtools fill at the end, because
the kernel cannot mount it.
"""

import os
import stat
import time
from pathlib import Path
from typing import Any

from diskimage_builder.block_device.exception import BlockDeviceSetupException
from diskimage_builder.block_device.level1.partitioning import Partitioning
from diskimage_builder.block_device.plugin import NodeBase, PluginBase
from diskimage_builder.block_device.utils import exec_sudo

BUSY_TRIES = 20
BUSY_PAUSE = 0.5
"""Seconds; a partition stays busy for a moment after its file system was unmounted."""


class Partitions(Partitioning):  # type: ignore[misc]  # untyped
    """As `partitioning`, with /dev/loop0p1 instead of /dev/mapper/loop0p1."""

    def create(self) -> None:
        """Write the table once and make the nodes."""
        self.number_of_partitions += 1
        if self.number_of_partitions > 1:
            return
        self.image_path = self.state["blockdev"][self.base]["image"]
        self.device_path = self.state["blockdev"][self.base]["device"]
        self.disk_size = Path(self.image_path).stat().st_size
        if self.label == "mbr":
            self._create_mbr()
        else:
            self._create_gpt()
        for number, partition in enumerate(self.partitions, 1):
            partition.rollbacks.clear()
            self.state["blockdev"][partition.get_name()]["device"] = self.node(number)
        self.partitions[0].add_rollback(drop_partitions, self.device_path, len(self.partitions))
        drop_partitions(self.device_path, len(self.partitions))
        exec_sudo(["partx", "-a", self.device_path])
        for number in range(1, len(self.partitions) + 1):
            make_node(Path(self.node(number)))

    def umount(self) -> None:
        """Take the nodes away when the last partition is done with."""
        self.number_of_partitions -= 1
        if self.number_of_partitions == 0:
            device = self.state["blockdev"][self.base]["device"]
            drop_partitions(device, len(self.partitions))

    def node(self, number: int) -> str:
        """Where the kernel shows a partition."""
        return f"{self.device_path}p{number}"


def make_node(path: Path) -> None:
    """The device node of a partition, where no devtmpfs makes it."""
    if path.exists():
        return
    major, minor = Path("/sys/class/block", path.name, "dev").read_text().strip().split(":")
    os.mknod(path, stat.S_IFBLK | 0o600, os.makedev(int(major), int(minor)))


def drop_partitions(device: str, count: int) -> None:
    """Remove partitions that the kernel knows. Raises BlockDeviceSetupException when busy."""
    for number in range(count, 0, -1):
        name = f"{Path(device).name}p{number}"
        for left in range(BUSY_TRIES, -1, -1):
            if not Path("/sys/class/block", name).exists():
                break
            try:
                exec_sudo(["partx", "-d", "--nr", str(number), device])
            except BlockDeviceSetupException:
                if not left:
                    raise
                time.sleep(BUSY_PAUSE)
        Path("/dev", name).unlink(missing_ok=True)


class EspNode(NodeBase):  # type: ignore[misc]  # untyped
    """A FAT file system whose files wait in a plain folder until the end."""

    def __init__(self, config: dict[str, Any], state: dict[str, Any]) -> None:
        super().__init__(config["name"], state)
        self.base = config["base"]
        self.after = config["after"]
        self.mount_point = config["mount_point"]
        self.label = config["label"]
        self.options = config.get("options", "defaults")
        self.volume_id: str = config.get("volume_id", "")

    def get_edges(self) -> tuple[list[str], list[str]]:
        """We come after our partition and the root's mount, and so go before them."""
        return ([self.base, self.after], [])

    def create(self) -> None:
        """Make the file system, and tell fstab of it as if it were mounted."""
        device = self.state["blockdev"][self.base]["device"]
        own = ["-i", self.volume_id] if self.volume_id else []
        exec_sudo(["mkfs.vfat", "-F", "32", "-n", self.label, *own, device])
        folder = self.folder()
        exec_sudo(["mkdir", "-p", str(folder)])
        self.state["filesys"][self.name] = {
            "label": self.label,
            "fstype": "vfat",
            "opts": None,
            "device": device,
        }
        mounted = {"name": self.name, "base": self.name, "path": str(folder)}
        self.state["mount"][self.mount_point] = mounted
        self.state["mount_order"].append(self.mount_point)
        self.state.setdefault("fstab", {})[self.name] = {
            "name": self.name,
            "base": self.name,
            "options": self.options,
            "dump-freq": 0,
            "fsck-passno": 2,
        }

    def umount(self) -> None:
        """Move the files into the file system; the folder stays, empty, to be mounted on."""
        device = self.state["blockdev"][self.base]["device"]
        entries = sorted(self.folder().iterdir())
        if entries:
            exec_sudo(["mcopy", "-s", "-p", "-Q", "-i", device, *map(str, entries), "::"])
            exec_sudo(["rm", "-rf", *map(str, entries)])

    def folder(self) -> Path:
        """Where its files wait."""
        return Path(self.state["mount"]["/"]["path"], self.mount_point.lstrip("/"))


class Esp(PluginBase):  # type: ignore[misc]  # untyped
    """The node of the configuration's `rackseed_esp`."""

    def __init__(
        self, config: dict[str, Any], defaults: dict[str, Any], state: dict[str, Any]
    ) -> None:
        super().__init__()
        self.node = EspNode(config, state)

    def get_nodes(self) -> list[EspNode]:
        """The one we have."""
        return [self.node]
