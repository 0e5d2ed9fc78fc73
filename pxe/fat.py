"""Write a FAT16 file system, whole, as the firmware reads it from a RAM disk.

Written after the FAT32 File System Specification 1.03 (which covers FAT12 and FAT16 too). Names
are 8.3 only, times are fixed: the same files give the same bytes.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

SECTOR = 512
CLUSTER = 1024
_FEWEST_CLUSTERS = 4085
"""With fewer a reader takes the file system for FAT12 (specification, page 14)."""
_MOST_CLUSTERS = 65524
_ROOT_ENTRIES = 512
_ENTRY = 32
_FATS = 2
_MEDIA = 0xF8
_END_OF_CHAIN = 0xFFFF
_FOLDER, _ARCHIVE = 0x10, 0x20
_FIRST_DAY = 0x21
"""1980-01-01, the earliest date there is."""
_VOLUME_ID = 0x5EED
_SHORT_NAME = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-~")


@dataclass(slots=True)
class _Folder:
    folders: dict[str, "_Folder"] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)


def image(files: Mapping[str, bytes], label: str) -> bytes:
    """A file system of `files` (path to content), just large enough.

    Raises ValueError for a name that is not 8.3 and for more than 64 MB.
    """
    tree = _tree(files)
    disk = _Clusters()
    root = _entries(tree, disk, parent=None)
    if len(root) > _ROOT_ENTRIES * _ENTRY:
        raise ValueError(f"the root folder holds at most {_ROOT_ENTRIES} entries")
    count = max(len(disk.chains), _FEWEST_CLUSTERS + 16)
    if count > _MOST_CLUSTERS:
        raise ValueError(
            f"{count * CLUSTER} bytes do not fit into FAT16 of {CLUSTER}-byte clusters"
        )
    table = struct.pack(f"<{len(disk.chains) + 2}H", 0xFF00 | _MEDIA, _END_OF_CHAIN, *disk.chains)
    fat_sectors = -(-(count + 2) * 2 // SECTOR)
    table = table.ljust(fat_sectors * SECTOR, b"\0")
    sectors = 1 + _FATS * fat_sectors + _ROOT_ENTRIES * _ENTRY // SECTOR + count * CLUSTER // SECTOR
    return b"".join(
        (
            _boot_sector(sectors, fat_sectors, label),
            table * _FATS,
            root.ljust(_ROOT_ENTRIES * _ENTRY, b"\0"),
            b"".join(disk.data).ljust(count * CLUSTER, b"\0"),
        )
    )


class _Clusters:
    """The data area as it fills: the content, and the table entry of each cluster."""

    def __init__(self) -> None:
        self.data: list[bytes] = []
        self.chains: list[int] = []

    def reserve(self, size: int) -> int:
        """Chain enough clusters for `size` bytes; returns the first, 0 for an empty file."""
        count = -(-size // CLUSTER)
        first = len(self.chains) + 2
        self.chains.extend([*range(first + 1, first + count), _END_OF_CHAIN] if count else ())
        self.data.extend(bytes(CLUSTER) for _ in range(count))
        return first if count else 0

    def fill(self, first: int, data: bytes) -> None:
        for offset in range(0, len(data), CLUSTER):
            self.data[first - 2 + offset // CLUSTER] = data[offset : offset + CLUSTER].ljust(
                CLUSTER, b"\0"
            )


def _tree(files: Mapping[str, bytes]) -> _Folder:
    root = _Folder()
    for path, data in sorted(files.items()):
        *folders, name = PurePosixPath(path.upper()).parts
        place = root
        for part in folders:
            place = place.folders.setdefault(part, _Folder())
        place.files[name] = data
    return root


def _entries(folder: _Folder, disk: _Clusters, parent: int | None) -> bytes:
    """The folder's own bytes; what it contains goes to `disk`."""
    parts: list[bytes] = []
    for name, data in folder.files.items():
        first = disk.reserve(len(data))
        disk.fill(first, data)
        parts.append(_entry(_short(name), _ARCHIVE, first, len(data)))
    for name, inner in folder.folders.items():
        own = disk.reserve((2 + len(inner.files) + len(inner.folders)) * _ENTRY)
        dots = _entry(b".".ljust(11), _FOLDER, own, 0)
        dots += _entry(b"..".ljust(11), _FOLDER, parent or 0, 0)
        disk.fill(own, dots + _entries(inner, disk, parent=own))
        parts.append(_entry(_short(name), _FOLDER, own, 0))
    return b"".join(parts)


def _short(name: str) -> bytes:
    stem, _, suffix = name.partition(".")
    fits = 0 < len(stem) <= 8 and len(suffix) <= 3 and set(stem + suffix) <= _SHORT_NAME
    if not fits:
        raise ValueError(f"{name} is not a name of at most 8 characters, a dot and 3")
    return f"{stem:8}{suffix:3}".encode("ascii")


def _entry(name: bytes, attributes: int, first: int, size: int) -> bytes:
    date = _FIRST_DAY
    return struct.pack(
        "<11sBBBHHHHHHHI", name, attributes, 0, 0, 0, date, date, 0, 0, date, first, size
    )


def _boot_sector(sectors: int, fat_sectors: int, label: str) -> bytes:
    small = sectors if sectors < 0x10000 else 0
    head = struct.pack(
        "<3s8sHBHBHHBHHHII",
        *(b"\xeb\x3c\x90", b"RACKSEED", SECTOR, CLUSTER // SECTOR, 1, _FATS, _ROOT_ENTRIES),
        *(small, _MEDIA, fat_sectors, 32, 64, 0, 0 if small else sectors),
    )
    tail = struct.pack(
        "<BBBI11s8s", 0x80, 0, 0x29, _VOLUME_ID, label.upper().ljust(11).encode()[:11], b"FAT16   "
    )
    return (head + tail).ljust(SECTOR - 2, b"\0") + b"\x55\xaa"
