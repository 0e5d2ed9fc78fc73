"""File systems by their first bytes, and readers for them that need neither root nor a mount."""

import stat
import struct
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pyfsext
import pyfsfat
import pyfsxfs

from imagebuild.inside.attributes import Attributes, ext_reader, from_xfs
from imagebuild.inside.disk import Part
from imagebuild.inside.errors import Unreadable
from imagebuild.inside.tree import Entry, FileSystem, Kind


@dataclass(frozen=True, slots=True)
class Signature:
    """What the head of a partition says."""

    type: str
    uuid: str = ""
    label: str = ""


def recognise(part: Part) -> Signature | None:
    """The file system (or what else) of a partition; None where nothing known is."""
    head = part.read_at(0, 4096)
    for probe in _PROBES:
        if found := probe(head, part):
            return found
    return None


def _ext(head: bytes, _: Part) -> Signature | None:
    if head[1080:1082] != b"\x53\xef":
        return None
    return Signature("ext4", str(uuid.UUID(bytes=head[1128:1144])), _text(head[1144:1160]))


def _xfs(head: bytes, _: Part) -> Signature | None:
    if head[:4] != b"XFSB":
        return None
    return Signature("xfs", str(uuid.UUID(bytes=head[32:48])), _text(head[108:120]))


def _fat(head: bytes, _: Part) -> Signature | None:
    if head[510:512] != b"\x55\xaa":
        return None
    at = 67 if head[82:87] == b"FAT32" else 39 if head[54:57] == b"FAT" else 0
    if not at:
        return None
    low, high = struct.unpack_from("<HH", head, at)
    label = _text(head[at + 4 : at + 15]).rstrip()
    return Signature("vfat", f"{high:04X}-{low:04X}", "" if label == "NO NAME" else label)


def _btrfs(_: bytes, part: Part) -> Signature | None:
    head = part.read_at(0x10000, 4096)
    if head[0x40:0x48] != b"_BHRfS_M":
        return None
    return Signature("btrfs", str(uuid.UUID(bytes=head[0x20:0x30])), _text(head[0x12B:0x22B]))


def _swap(head: bytes, _: Part) -> Signature | None:
    if head[4086:4096] != b"SWAPSPACE2":
        return None
    return Signature("swap", str(uuid.UUID(bytes=head[1036:1052])), _text(head[1052:1068]))


def _fixed(type_: str, at: int, magic: bytes) -> Callable[[bytes, Part], Signature | None]:
    def probe(head: bytes, _: Part) -> Signature | None:
        return Signature(type_) if head[at : at + len(magic)] == magic else None

    return probe


_PROBES: Sequence[Callable[[bytes, Part], Signature | None]] = (
    _ext,
    _xfs,
    _btrfs,
    _fixed("LVM", 512, b"LABELONE"),
    _fixed("LUKS", 0, b"LUKS\xba\xbe"),
    _fixed("squashfs", 0, b"hsqs"),
    _fixed("erofs", 1024, b"\xe2\xe1\xf5\xe0"),
    _swap,
    _fat,
)


def open_file_system(part: Part, type_: str) -> FileSystem:
    """Raises Unreadable for a type without a reader, or when it is damaged."""
    if type_ not in _READERS:
        raise Unreadable(f"{type_} cannot be read without the kernel")
    if type_ == "ext4":
        _check_features(struct.unpack("<I", part.read_at(_EXT_INCOMPATIBLE, 4))[0])
    module = _READERS[type_]
    volume = module.volume()
    try:
        volume.open_file_object(part)
        root = volume.get_root_directory()
    except OSError as error:
        raise Unreadable(f"the {type_} file system cannot be read: {_first(error)}") from error
    return Libyal(volume, root, type_, _ATTRIBUTES[type_](part))


def _check_features(features: int) -> None:
    if features & _EXT_RECOVER:
        raise Unreadable("its journal holds changes that are not in their place: not unmounted")
    if unknown := features & ~_EXT_KNOWN:
        raise Unreadable(f"ext4 with features {unknown:#x} cannot be read without the kernel")


_EXT_INCOMPATIBLE = 1024 + 0x60
"""Where the superblock has s_feature_incompat; kernel documentation, ext4 super block."""
_EXT_RECOVER = 0x4
_EXT_KNOWN = 0x2 | 0x10 | 0x40 | 0x80 | 0x200 | 0x400 | 0x2000 | 0x4000
"""filetype, meta_bg, extents, 64bit, flex_bg, ea_inode, csum_seed, largedir."""

_READERS: Mapping[str, Any] = {"ext4": pyfsext, "xfs": pyfsxfs, "vfat": pyfsfat}
"""libyal's libraries: https://github.com/libyal"""


def _ext_attributes(part: Part) -> "_AttributesOf":
    read = ext_reader(part)
    return lambda entry: read(entry.inode_number)


_AttributesOf = Callable[[Any], Attributes]
_ATTRIBUTES: Mapping[str, Callable[[Part], _AttributesOf]] = {
    "ext4": _ext_attributes,
    "xfs": lambda _: from_xfs,
    "vfat": lambda _: lambda _: {},
}


@dataclass(slots=True)
class Libyal:
    """A file system read by one of libyal's libraries."""

    volume: Any
    root: Any
    type: str
    attributes_of: _AttributesOf
    _folders: dict[str, dict[str, Any]] = field(default_factory=dict)

    def entry(self, path: str) -> Entry | None:
        found = self._find(path)
        return None if found is None else self._entry(found)

    def names(self, path: str) -> Sequence[str]:
        return list(self._children(path))

    def read(self, path: str, limit: int) -> bytes:
        found = self._find(path)
        if found is None:
            raise FileNotFoundError(path)
        with _plain(self.type, path):
            found.seek(0)
            data: bytes = found.read(min(limit, found.size)) if found.size else b""
        return data

    def link(self, path: str) -> str:
        found = self._find(path)
        return "" if found is None else str(found.symbolic_link_target or "")

    def attributes(self, path: str) -> Attributes:
        found = self._find(path)
        try:
            return {} if found is None else self.attributes_of(found)
        except Unreadable as error:
            raise Unreadable(f"/{path} on {self.type}: {error}") from error

    def extents(self, path: str) -> Sequence[tuple[int, int]] | None:
        found = self._find(path)
        if found is None or self._entry(found).kind is not Kind.FILE:
            return ()
        with _plain(self.type, path):
            rows = [found.get_extent(number) for number in range(found.number_of_extents)]
        return [(offset, size) for offset, size, flags in rows if not flags & _SPARSE]

    def _find(self, path: str) -> Any | None:  # noqa: ANN401  # libyal has no types
        if not path:
            return self.root
        folder, _, name = path.rpartition("/")
        children = self._children(folder)
        if self.type == "vfat" and name not in children:
            name = next((other for other in children if other.lower() == name.lower()), name)
        return children.get(name)

    def _children(self, path: str) -> dict[str, Any]:
        if path not in self._folders:
            found = self._find(path)
            children = {}
            if found is not None and self._entry(found).kind is Kind.FOLDER:
                with _plain(self.type, path):
                    children = {entry.name: entry for entry in found.sub_file_entries}
            self._folders[path] = children
        return self._folders[path]

    def _entry(self, found: Any) -> Entry:  # noqa: ANN401
        if self.type == "vfat":
            folder = found is self.root or found.file_attribute_flags & _FAT_FOLDER
            mode = stat.S_IFDIR | 0o755 if folder else stat.S_IFREG | 0o644
            return Entry.of(mode, 0 if folder else found.size)
        mode = found.file_mode
        size = found.size if stat.S_ISREG(mode) or stat.S_ISLNK(mode) else 0
        modified = found.get_modification_time_as_integer() // 10**9
        return Entry.of(mode, size, found.owner_identifier, found.group_identifier, modified)


_SPARSE = 1
"""LIBFSEXT_EXTENT_FLAG_IS_SPARSE, and the same in its sisters."""
_FAT_FOLDER = 0x10
"""The attribute ATTR_DIRECTORY of a FAT entry."""


@contextmanager
def _plain(type_: str, path: str) -> Iterator[None]:
    """Turns libyal's errors into ours."""
    try:
        yield
    except OSError as error:
        raise Unreadable(f"/{path} on {type_} cannot be read: {_first(error)}") from error


def _first(error: OSError) -> str:
    return (str(error).splitlines() or [""])[0][:200]


def _text(field: bytes) -> str:
    return field.split(b"\0")[0].decode("utf-8", errors="replace")
