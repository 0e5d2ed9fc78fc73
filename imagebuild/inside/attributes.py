"""Extended attributes as Linux shows them, from the forms in which file systems keep them."""

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from imagebuild.inside.disk import Part
from imagebuild.inside.errors import Unreadable

Attributes = Mapping[str, bytes]
"""By the names that listxattr(2) gives."""

ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
DAMAGED = "its extended attributes are damaged"
_ACL = struct.Struct("<HHI")
_NOBODY = 0xFFFFFFFF
_NAMED = (0x02, 0x08)
"""ACL_USER and ACL_GROUP: the entries that say whom they mean."""


def from_xfs(entry: Any) -> Attributes:  # noqa: ANN401  # libyal has no types
    """Those of a file that libfsxfs found. Raises Unreadable."""
    found = {}
    for one in entry.extended_attributes:
        try:
            value = one.read(one.size) if one.size else b""
        except OSError as error:  # of those that lie outside the inode's own blocks
            raise Unreadable(
                f"its extended attribute {one.name} is too large to be read"
            ) from error
        name = _XFS_NAMES.get(one.name, one.name.replace("secure.", "security.", 1))
        try:
            found[name] = _acl(_xfs_acl(value)) if name in (ACCESS, DEFAULT) else value
        except struct.error as error:
            raise Unreadable(DAMAGED) from error
    return found


_XFS_NAMES = {"trusted.SGI_ACL_FILE": ACCESS, "trusted.SGI_ACL_DEFAULT": DEFAULT}


def ext_reader(part: Part) -> Callable[[int], Attributes]:
    """What reads those of an ext4 file by the number of its inode; that raises Unreadable.

    libfsext gives a value's first 60 bytes and then zeros. Offsets are those of the kernel's
    documentation: Data Structures and Algorithms of ext4.
    """
    head = part.read_at(1024, 1024)
    first, log_size = struct.unpack_from("<II", head, 0x14)
    (inodes,) = struct.unpack_from("<I", head, 0x28)
    (inode_size,) = struct.unpack_from("<H", head, 0x58)
    (features,) = struct.unpack_from("<I", head, 0x60)
    (descriptor,) = struct.unpack_from("<H", head, 0xFE)
    wide = bool(features & _WIDE)
    descriptor = descriptor if wide else 32
    block = 1024 << log_size

    def inode_of(number: int) -> bytes:
        if features & _SCATTERED:
            raise Unreadable("extended attributes of ext4 with meta_bg cannot be read")
        group, index = divmod(number - 1, inodes)
        about = part.read_at((first + 1) * block + group * descriptor, descriptor)
        (table,) = struct.unpack_from("<I", about, 0x08)
        table |= struct.unpack_from("<I", about, 0x28)[0] << 32 if wide else 0
        return part.read_at(table * block + index * inode_size, inode_size)

    def read(number: int) -> Attributes:
        try:
            inode = inode_of(number)
            (at,) = struct.unpack_from("<I", inode, 0x68)
            at |= struct.unpack_from("<H", inode, 0x76)[0] << 32
            beyond = part.read_at(at * block, block) if at else b""
            return dict([*_within(inode), *_entries(beyond, beyond, 32)])
        except (struct.error, ZeroDivisionError) as error:
            raise Unreadable(DAMAGED) from error

    return read


_WIDE, _SCATTERED = 0x80, 0x10
"""INCOMPAT_64BIT, INCOMPAT_META_BG."""
_MAGIC = 0xEA020000
_PREFIXES: Mapping[int, str] = {
    0: "",
    1: "user.",
    2: ACCESS,
    3: DEFAULT,
    4: "trusted.",
    6: "security.",
    7: "system.",
    8: "system.richacl",
}


def _within(inode: bytes) -> Iterator[tuple[str, bytes]]:
    """Those in the inode's own end; their values are counted from the first entry."""
    if len(inode) > 128:
        (extra,) = struct.unpack_from("<H", inode, 128)
        end = inode[128 + extra :]
        yield from _entries(end, end[4:], 4)


def _entries(area: bytes, values: bytes, at: int) -> Iterator[tuple[str, bytes]]:
    """Those of an area that begins with the magic number; the first lies at `at`."""
    if len(area) < 4 or struct.unpack_from("<I", area)[0] != _MAGIC:
        return
    while area[at : at + 4] not in (b"", bytes(4)):
        length, prefix, offset, elsewhere, size = struct.unpack_from("<BBHII", area, at)
        name = _PREFIXES.get(prefix, f"{prefix}.") + area[at + 16 : at + 16 + length].decode(
            "utf-8", "surrogateescape"
        )
        if elsewhere:
            raise Unreadable(f"its extended attribute {name} is too large to be read")
        value = values[offset : offset + size]
        if len(value) < size:
            raise struct.error
        yield name, _acl(_ext_acl(value)) if name in (ACCESS, DEFAULT) else value
        at += 16 + length + 3 & ~3


def _ext_acl(value: bytes) -> Iterator[tuple[int, int, int]]:
    """Tag, permissions and id; only entries that name somebody have one."""
    at = 4
    while at < len(value):
        tag, may = struct.unpack_from("<HH", value, at)
        whom = struct.unpack_from("<I", value, at + 4)[0] if tag in _NAMED else _NOBODY
        yield tag, may, whom
        at += 8 if tag in _NAMED else 4


def _xfs_acl(value: bytes) -> Iterator[tuple[int, int, int]]:
    for at in range(4, len(value) - 11, 12):
        tag, whom, may = struct.unpack_from(">IIH", value, at)
        yield tag, may, whom if tag in _NAMED else _NOBODY


def _acl(entries: Iterable[tuple[int, int, int]]) -> bytes:
    """As getxattr(2) gives it: linux/posix_acl_xattr.h, version 2."""
    return struct.pack("<I", 2) + b"".join(_ACL.pack(*entry) for entry in entries)
