"""Reads the bytes of a qcow2 file, compressed with zlib or zstd or not at all.

The format is QEMU's docs/interop/qcow2. Nothing but the file itself is ever opened: an image
that points to another file (backing, external data) is refused.
"""

import io
import struct
import sys
import zlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import BinaryIO

from imagebuild.inside.errors import Unreadable

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MAGIC = b"QFI\xfb"
_HEADER = struct.Struct(">4sIQIIQIIQQIIQ")
_V3_HEADER = struct.Struct(">QQQII")
_SECTOR = 512
_OFFSET = 0x00FF_FFFF_FFFF_FE00
"""Bits of a standard table entry that are a host offset."""
_COMPRESSED = 1 << 62
_ZERO = 1
_KEPT_CLUSTERS = 64
_LARGEST_L1 = 32 << 20
"""Bytes; QEMU's own limit."""


class Incompatible:
    """Bits of `incompatible_features` that a reader must know."""

    DIRTY = 1
    CORRUPT = 1 << 1
    EXTERNAL_DATA = 1 << 2
    COMPRESSION_TYPE = 1 << 3


@dataclass(frozen=True, slots=True)
class Header:
    """What the first bytes say."""

    version: int
    size: int
    """Bytes that the guest sees."""
    cluster_bits: int
    l1_entries: int
    l1_offset: int
    snapshots: int
    compression: str


def read_header(file: BinaryIO) -> Header:
    """Raises Unreadable for what no one could verify from this file alone."""
    file.seek(0)
    head = file.read(_HEADER.size)
    if len(head) < _HEADER.size:
        raise Unreadable("ends within its own qcow2 header")
    (_, version, backing, _, bits, size, crypt, l1, l1_at, _, _, snapshots, _) = _HEADER.unpack(
        head
    )
    if version not in (2, 3):
        raise Unreadable(f"is qcow2 version {version}, expected 2 or 3")
    if backing:
        raise Unreadable("has a backing file, so what it holds is not all in it")
    if crypt:
        raise Unreadable("is encrypted")
    if not 9 <= bits <= 21:
        raise Unreadable(f"has clusters of 2^{bits} bytes, expected 2^9 to 2^21")
    if l1 * 8 > _LARGEST_L1:
        raise Unreadable(f"has {l1} first-level entries, more than QEMU itself allows")
    return Header(version, size, bits, l1, l1_at, snapshots, _compression(file, version))


def _compression(file: BinaryIO, version: int) -> str:
    if version < 3:
        return "zlib"
    more = file.read(_V3_HEADER.size)
    if len(more) < _V3_HEADER.size:
        raise Unreadable("ends within its own qcow2 header")
    incompatible, _, _, _, length = _V3_HEADER.unpack(more)
    if incompatible & Incompatible.EXTERNAL_DATA:
        raise Unreadable("keeps its data in another file")
    if incompatible & Incompatible.CORRUPT:
        raise Unreadable("is marked corrupt; `qemu-img check` says more")
    unknown = incompatible & ~(Incompatible.DIRTY | Incompatible.COMPRESSION_TYPE)
    if unknown:
        raise Unreadable(f"uses features that this reader does not know ({unknown:#x})")
    kind = file.read(1) if length > _HEADER.size + _V3_HEADER.size else b"\0"
    try:
        return {b"\0": "zlib", b"\1": "zstd"}[kind]
    except KeyError:
        raise Unreadable(f"is compressed in an unknown way ({kind!r})") from None


class Qcow2:
    """The guest's disk as bytes."""

    def __init__(self, file: BinaryIO) -> None:
        self.header = read_header(file)
        self.size = self.header.size
        self._file = file
        self._end = file.seek(0, io.SEEK_END)
        self._cluster = 1 << self.header.cluster_bits
        self._per_l2 = self._cluster // 8
        self._l1 = self._table(self.header.l1_offset, self.header.l1_entries)
        self._l2: dict[int, tuple[int, ...]] = {}
        self._kept: OrderedDict[int, bytes] = OrderedDict()

    def read_at(self, offset: int, length: int) -> bytes:
        """Bytes of the guest's disk; fewer at its end."""
        end = min(offset + length, self.size)
        parts = []
        while offset < end:
            number, within = divmod(offset, self._cluster)
            count = min(self._cluster - within, end - offset)
            parts.append(self._part(number, within, count))
            offset += count
        return b"".join(parts)

    def next_data(self, offset: int) -> int | None:
        """The first byte from `offset` on whose cluster is there; None where none is."""
        number = offset >> self.header.cluster_bits
        while number * self._cluster < self.size:
            l1 = number // self._per_l2
            if l1 >= len(self._l1):
                return None
            if not self._l1[l1] & _OFFSET:
                number = (l1 + 1) * self._per_l2
                continue
            entry = self._entry(number)
            if entry & _COMPRESSED or (entry & _OFFSET and not entry & _ZERO):
                return max(offset, number * self._cluster)
            number += 1
        return None

    def _part(self, number: int, within: int, count: int) -> bytes:
        entry = self._entry(number)
        if entry & _COMPRESSED:
            return self._unpacked(number, entry)[within : within + count]
        at = entry & _OFFSET
        if not at or entry & _ZERO:
            return bytes(count)
        return self._read(at + within, count).ljust(count, b"\0")

    def _entry(self, number: int) -> int:
        l1, l2 = divmod(number, self._per_l2)
        if l1 >= len(self._l1):
            return 0
        table = self._l1[l1] & _OFFSET
        if not table:
            return 0
        if table not in self._l2:
            self._l2[table] = self._table(table, self._per_l2)
        return self._l2[table][l2]

    def _read(self, at: int, count: int) -> bytes:
        if at >= self._end:
            raise Unreadable("points beyond its own end; was it copied whole?")
        self._file.seek(at)
        return self._file.read(count)

    def _table(self, at: int, entries: int) -> tuple[int, ...]:
        data = self._read(at, entries * 8) if entries else b""
        if len(data) < entries * 8:
            raise Unreadable("is shorter than its tables say; was it copied whole?")
        return struct.unpack(f">{entries}Q", data)

    def _unpacked(self, number: int, entry: int) -> bytes:
        if number in self._kept:
            self._kept.move_to_end(number)
            return self._kept[number]
        # "Compressed Clusters Descriptor": where offset and length meet depends on cluster_bits.
        meet = 62 - (self.header.cluster_bits - 8)
        at = entry & ((1 << meet) - 1)
        sectors = ((entry & (_COMPRESSED - 1)) >> meet) + 1
        packed = self._read(at, sectors * _SECTOR - at % _SECTOR)
        self._kept[number] = data = self._unpack(packed, number)
        if len(self._kept) > _KEPT_CLUSTERS:
            self._kept.popitem(last=False)
        return data

    def _unpack(self, packed: bytes, number: int) -> bytes:
        try:
            if self.header.compression == "zstd":
                data = zstd.ZstdDecompressor().decompress(packed, self._cluster)
            else:
                data = zlib.decompressobj(wbits=-15).decompress(packed, self._cluster)
        except (zlib.error, zstd.ZstdError, EOFError) as error:
            raise Unreadable(f"has a broken compressed cluster {number}: {error}") from error
        if len(data) != self._cluster:
            raise Unreadable(f"has a compressed cluster {number} that ends too early")
        return data
