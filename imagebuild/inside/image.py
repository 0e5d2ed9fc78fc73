"""A finished image opened: its disk, its partitions and its files as one tree."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from imagebuild.errors import joined
from imagebuild.inside.disk import Disk, Part, open_disk
from imagebuild.inside.errors import Unreadable
from imagebuild.inside.filesystems import Signature, open_file_system, recognise
from imagebuild.inside.kernel import open_with_kernel
from imagebuild.inside.partitions import ESP_TYPE, Partition, partitions
from imagebuild.inside.tree import Below, FileSystem, Tree

OS_RELEASE = ("etc/os-release", "usr/lib/os-release")
"""In the order of os-release(5)."""
SUBVOLUMES = ("root", "@", "@rootfs")
"""Where Fedora, Ubuntu and Debian put the root of a btrfs."""
_NO_FILES = frozenset({"swap", "LVM", "LUKS"})


@dataclass(frozen=True, slots=True)
class Volume:
    """A partition and what is on it."""

    partition: Partition
    signature: Signature | None


@dataclass(frozen=True, slots=True)
class Mount:
    """A line of the image's own fstab."""

    device: str
    folder: str
    """Without slashes around it."""
    type: str
    options: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Image:
    """What a reader of the image may ask."""

    disk: Disk
    volumes: tuple[Volume, ...]
    tree: Tree
    mounts: tuple[Mount, ...]
    unread: tuple[str, ...]
    """Parts whose files nobody looked at, each as a sentence."""
    systems: Mapping[int, FileSystem] = field(default_factory=dict)
    """The file systems by where their partitions begin."""


def check_images(paths: Sequence[Path], *, kernel: bool = False) -> None:
    """Raises Unreadable with every file that is no image, before any is looked through.

    With `kernel` only the files themselves are opened: what is on them the kernel may read.
    """
    problems: list[Unreadable] = []
    for path in paths:
        try:
            with open_disk(path) if kernel else open_image(path):
                pass
        except Unreadable as error:
            problems.append(error)
    if problems:
        raise joined(problems)


@contextmanager
def open_image(path: Path, *, kernel: bool = False) -> Iterator[Image]:
    """Open a qcow2 or raw file; nothing is written, mounted or started.

    With `kernel` the kernel reads what the libraries cannot (root, raw files only).
    Raises Unreadable, OSError.
    """
    with open_disk(path) as disk, ExitStack() as stack:
        volumes = [Volume(part, recognise(_part(disk, part))) for part in partitions(disk.data)]
        systems: dict[int, FileSystem] = {}
        unread = []
        for volume in volumes:
            if volume.signature is None or volume.signature.type in _NO_FILES:
                if volume.signature and volume.signature.type != "swap":
                    unread.append(f"{_name(volume)} holds {volume.signature.type}")
                continue
            try:
                systems[volume.partition.start] = _open(disk, volume, stack, kernel=kernel)
            except Unreadable as error:
                unread.append(f"{_name(volume)}: {error}")
        root = _root(path, volumes, systems, unread)
        mounts = fstab(Tree(root).text("etc/fstab") or "")
        placed = _placed(volumes, systems, mounts, Tree(root))
        yield Image(disk, tuple(volumes), Tree(root, placed), mounts, tuple(unread), systems)


def fstab(text: str) -> tuple[Mount, ...]:
    """The lines of fstab(5) that name a folder."""
    rows = [line.split() for line in text.splitlines() if not line.lstrip().startswith("#")]
    return tuple(
        Mount(row[0], _unescaped(row[1]).strip("/"), row[2], tuple(row[3].split(",")))
        for row in rows
        if len(row) >= 4
    )


def matches(device: str, volume: Volume) -> bool:
    """Whether the first field of an fstab line, or root= of a kernel, means this volume."""
    tag, _, value = device.partition("=")
    value = value.strip('"')
    about = volume.signature or Signature("")
    mine = {
        "UUID": about.uuid,
        "LABEL": about.label,
        "PARTUUID": volume.partition.uuid,
        "PARTLABEL": volume.partition.name,
    }.get(tag, "")
    return bool(value) and mine.lower() == value.lower()


def _open(disk: Disk, volume: Volume, stack: ExitStack, *, kernel: bool) -> FileSystem:
    type_ = volume.signature.type if volume.signature else ""
    part = volume.partition
    try:
        return open_file_system(_part(disk, part), type_)
    except Unreadable:
        if not kernel:
            raise
    if disk.format != "raw":
        raise Unreadable(f"the kernel reads raw files only, {disk.path} is {disk.format}")
    return stack.enter_context(open_with_kernel(disk.path, type_, part.start, part.size))


def _root(
    path: Path, volumes: Sequence[Volume], systems: Mapping[int, FileSystem], unread: Sequence[str]
) -> FileSystem:
    for volume in volumes:
        for system in _candidates(systems.get(volume.partition.start)):
            if any(Tree(system).exists(name) for name in OS_RELEASE):
                return system
    if not any(volume.signature or volume.partition.number for volume in volumes):
        raise Unreadable(
            f"{path}: has no root file system, for it has neither partitions nor a file system, "
            "expected a disk image in qcow2 or raw"
        )
    found = [f"{_name(v)}: {v.signature.type if v.signature else 'nothing known'}" for v in volumes]
    error = Unreadable(f"{path} has no root file system that can be read: no /etc/os-release")
    error.add_note("; ".join(unread or found) or "the disk is empty")
    raise error


def _candidates(system: FileSystem | None) -> Iterator[FileSystem]:
    """A file system, and the subvolumes in which btrfs systems keep their root."""
    if system is not None:
        yield system
        for name in SUBVOLUMES:
            if system.entry(name) is not None:
                yield Below(system, name)


def _mounted(system: FileSystem, mount: Mount) -> FileSystem:
    chosen = (option.partition("=")[2] for option in mount.options if option.startswith("subvol="))
    name = next(chosen, "").strip("/")
    return Below(system, name) if name and system.entry(name) is not None else system


def _placed(
    volumes: Sequence[Volume],
    systems: Mapping[int, FileSystem],
    mounts: Sequence[Mount],
    root: Tree,
) -> dict[str, FileSystem]:
    placed = {}
    for mount in mounts:
        for volume in volumes:
            system = systems.get(volume.partition.start)
            if mount.folder and system is not None and matches(mount.device, volume):
                placed[mount.folder] = _mounted(system, mount)
    for volume in volumes:  # systemd finds the ESP without fstab: Discoverable Partitions
        system = systems.get(volume.partition.start)
        if system is None or system in placed.values() or volume.partition.type != ESP_TYPE:
            continue
        folder = "boot/efi" if root.exists("boot/efi") else "efi"
        placed.setdefault(folder, system)
    return placed


def _part(disk: Disk, partition: Partition) -> Part:
    return Part(disk.data, partition.start, partition.size)


def _name(volume: Volume) -> str:
    number = volume.partition.number
    return f"partition {number}" if number else "the disk"


def _unescaped(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)
