"""Write a FAT16 file system, whole, as the firmware reads it from a RAM disk.

Written after the FAT32 File System Specification 1.03 (which covers FAT12 and FAT16 too). Names
that are not 8.3 are kept as they are, beside a short one; times are fixed: the same files give
the same bytes.
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
_VOLUME, _FOLDER, _ARCHIVE = 0x08, 0x10, 0x20
_FIRST_DAY = 0x21
"""1980-01-01, the earliest date there is."""
_VOLUME_ID = 0x5EED
_SHORT_NAME = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-~")
_LONG_NAME = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_-.") | _SHORT_NAME
_LONG, _LAST_LONG, _LONG_PART = 0x0F, 0x40, 13
"""Attributes and last mark of an entry that holds a part of a long name; its characters."""
_LONGEST = 255


@dataclass(slots=True)
class _Folder:
    folders: dict[str, "_Folder"] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)


def image(files: Mapping[str, bytes], label: str) -> bytes:
    """A file system of `files` (path to content), just large enough.

    Raises ValueError for a name of other characters than ASCII's usual, and for more than 64 MB.
    """
    tree = _tree(files)
    disk = _Clusters()
    # Readers such as blkid take the label from here, not from the boot sector.
    root = _entry(_label(label), _VOLUME, 0, 0) + _entries(tree, disk, parent=None)
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
        *folders, name = (_kept(part) for part in PurePosixPath(path).parts)
        place = root
        for part in folders:
            place = place.folders.setdefault(part, _Folder())
        place.files[name] = data
    return root


def _kept(name: str) -> str:
    """A name as its folder keeps it: short ones are upper case."""
    return name.upper() if _fits(name.upper()) else name


def _entries(folder: _Folder, disk: _Clusters, parent: int | None) -> bytes:
    """The folder's own bytes; what it contains goes to `disk`."""
    parts: list[bytes] = []
    names = _Names()
    for name, data in folder.files.items():
        first = disk.reserve(len(data))
        disk.fill(first, data)
        parts.append(names.entry(name, _ARCHIVE, first, len(data)))
    for name, inner in folder.folders.items():
        slots = sum(map(_slots, (*inner.files, *inner.folders)))
        own = disk.reserve((2 + slots) * _ENTRY)
        dots = _entry(b".".ljust(11), _FOLDER, own, 0)
        dots += _entry(b"..".ljust(11), _FOLDER, parent or 0, 0)
        disk.fill(own, dots + _entries(inner, disk, parent=own))
        parts.append(names.entry(name, _FOLDER, own, 0))
    return b"".join(parts)


def _fits(name: str) -> bool:
    """Whether a name is 8.3."""
    stem, _, suffix = name.partition(".")
    return 0 < len(stem) <= 8 and len(suffix) <= 3 and set(stem + suffix) <= _SHORT_NAME


def _slots(name: str) -> int:
    """How many entries a name takes."""
    return 1 if _fits(name) else 1 + -(-len(name) // _LONG_PART)


class _Names:
    """Entries of one folder; numbers the short names that stand beside long ones."""

    def __init__(self) -> None:
        self._count = 0

    def entry(self, name: str, attributes: int, first: int, size: int) -> bytes:
        if _fits(name):
            stem, _, suffix = name.partition(".")
            return _entry(f"{stem:8}{suffix:3}".encode("ascii"), attributes, first, size)
        if not 0 < len(name) <= _LONGEST or not set(name) <= _LONG_NAME:
            raise ValueError(f"{name} is not a name of ASCII letters, digits, '-', '_' and '.'")
        self._count += 1
        short = f"LONG~{self._count:<6}".encode("ascii")
        return _long_entries(name, short) + _entry(short, attributes, first, size)


def _long_entries(name: str, short: bytes) -> bytes:
    """What stands before the short entry, the last part of the name first (page 26)."""
    sum_ = 0
    for octet in short:
        sum_ = ((sum_ >> 1) | (sum_ & 1) << 7) + octet & 0xFF
    parts = [name[at : at + _LONG_PART] for at in range(0, len(name), _LONG_PART)]
    entries = []
    for number, part in enumerate(parts, start=1):
        order = number | (_LAST_LONG if number == len(parts) else 0)
        text = part.encode("utf-16-le")
        if len(part) < _LONG_PART:
            text = (text + b"\0\0").ljust(2 * _LONG_PART, b"\xff")
        fields = (order, text[:10], _LONG, 0, sum_, text[10:22], 0, text[22:])
        entries.append(struct.pack("<B10sBBB12sH4s", *fields))
    return b"".join(reversed(entries))


def _entry(name: bytes, attributes: int, first: int, size: int) -> bytes:
    date = _FIRST_DAY
    return struct.pack(
        "<11sBBBHHHHHHHI", name, attributes, 0, 0, 0, date, date, 0, 0, date, first, size
    )


def _label(text: str) -> bytes:
    return text.upper().ljust(11).encode("ascii")[:11]


def _boot_sector(sectors: int, fat_sectors: int, label: str) -> bytes:
    small = sectors if sectors < 0x10000 else 0
    head = struct.pack(
        "<3s8sHBHBHHBHHHII",
        *(b"\xeb\x3c\x90", b"RACKSEED", SECTOR, CLUSTER // SECTOR, 1, _FATS, _ROOT_ENTRIES),
        *(small, _MEDIA, fat_sectors, 32, 64, 0, 0 if small else sectors),
    )
    tail = struct.pack("<BBBI11s8s", 0x80, 0, 0x29, _VOLUME_ID, _label(label), b"FAT16   ")
    return (head + tail).ljust(SECTOR - 2, b"\0") + b"\x55\xaa"
