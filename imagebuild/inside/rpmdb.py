"""rpm's database as bytes to packages: SQLite (rpm 4.16 on) and Berkeley DB's hash before.

Each package is the blob of an rpm header (rpm documentation, "RPM V4 Package format, Header").
"""

import sqlite3
import struct
from collections.abc import Iterator, Mapping
from enum import IntEnum

from imagebuild.inside.errors import Unreadable

BDB_HASH_MAGIC = 0x061561
"""Berkeley DB, db_page.h: the metadata page of a hash."""
_BDB_PAGE_HEADER = 26
_BDB_HASH_PAGES = frozenset({2, 13})
_BDB_OVERFLOW_PAGE = 7
_BDB_OFF_PAGE = 3
_MOST_BLOB = 64 << 20


class Tag(IntEnum):
    """rpmtag.h."""

    NAME = 1000
    VERSION = 1001
    RELEASE = 1002
    EPOCH = 1003
    SIZE = 1009
    LICENSE = 1014
    ARCH = 1022
    SOURCE_RPM = 1044
    LONG_SIZE = 5009


class Type(IntEnum):
    """How a tag's data is written."""

    INT32 = 4
    INT64 = 5
    STRING = 6
    I18N_STRING = 9


Header = Mapping[int, str | int]


def headers(data: bytes) -> Iterator[Header]:
    """The packages of `rpmdb.sqlite` or `Packages`. Raises Unreadable for anything else."""
    if data[:15] == b"SQLite format 3":
        blobs = _sqlite(data)
    elif _word(data, 12) == BDB_HASH_MAGIC:
        blobs = _bdb(data)
    else:
        raise Unreadable("rpm's database is neither SQLite nor a Berkeley DB hash")
    for blob in blobs:
        yield header(blob)


def header(blob: bytes) -> Header:
    """The tags of one package that we want. Raises Unreadable."""
    count, size = struct.unpack_from(">II", blob) if len(blob) >= 8 else (0, 0)
    start = 8 + 16 * count
    if start + size > len(blob):
        raise Unreadable("rpm's database has a package that ends too early")
    found: dict[int, str | int] = {}
    for number in range(count):
        tag, kind, offset, _ = struct.unpack_from(">IIiI", blob, 8 + 16 * number)
        if tag in _WANTED and 0 <= offset < size:
            found[tag] = _value(blob, start + offset, kind)
    return found


_WANTED = frozenset(Tag)


def _value(blob: bytes, at: int, kind: int) -> str | int:
    if kind in (Type.STRING, Type.I18N_STRING):
        return blob[at : blob.index(b"\0", at)].decode("utf-8", errors="replace")
    if kind == Type.INT64:
        return int(struct.unpack_from(">Q", blob, at)[0])
    return int(struct.unpack_from(">I", blob, at)[0])


def _sqlite(data: bytes) -> Iterator[bytes]:
    with sqlite3.connect(":memory:") as database:
        try:
            # In a database without its log file the mode of writing must not ask for one.
            database.deserialize(data[:18] + b"\1\1" + data[20:])
            yield from (row[0] for row in database.execute("SELECT blob FROM Packages"))
        except sqlite3.Error as error:
            raise Unreadable(f"rpm's database cannot be read: {error}") from error


def _bdb(data: bytes) -> Iterator[bytes]:
    size = _word(data, 20)
    if not 512 <= size <= 65536:
        raise Unreadable(f"rpm's database has pages of {size} bytes")
    for start in range(0, len(data) - size + 1, size):
        if data[start + 25] not in _BDB_HASH_PAGES:
            continue
        entries = struct.unpack_from("<H", data, start + 20)[0]
        offsets = struct.unpack_from(f"<{entries}H", data, start + _BDB_PAGE_HEADER)
        for offset in offsets[1::2]:  # every second entry is a value
            if data[start + offset] == _BDB_OFF_PAGE:
                page, length = struct.unpack_from("<II", data, start + offset + 4)
                blob = _overflow(data, page, length, size)
                if len(blob) > 16:
                    yield blob


def _overflow(data: bytes, page: int, length: int, size: int) -> bytes:
    parts, have = [], 0
    while page and have < min(length, _MOST_BLOB):
        start = page * size
        if start + size > len(data) or data[start + 25] != _BDB_OVERFLOW_PAGE:
            raise Unreadable("rpm's database leads to a page that is none")
        count = struct.unpack_from("<H", data, start + 22)[0]
        parts.append(data[start + _BDB_PAGE_HEADER : start + _BDB_PAGE_HEADER + count])
        have += count
        page = _word(data, start + 16) if count else 0
    return b"".join(parts)[:length]


def _word(data: bytes, at: int) -> int:
    return int(struct.unpack_from("<I", data, at)[0]) if len(data) >= at + 4 else 0
