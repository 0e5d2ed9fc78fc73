"""Partition tables: GPT (UEFI 2.10, chapter 5) and MBR."""

import struct
import uuid
import zlib
from dataclasses import dataclass

from imagebuild.inside.disk import Bytes
from imagebuild.inside.errors import Unreadable

_GPT = struct.Struct("<8sIIIIQQQQ16sQIII")
_GPT_ENTRY = struct.Struct("<16s16sQQQ72s")
_MBR_ENTRY = struct.Struct("<B3sB3sII")
_MBR_TABLE = 446
_EXTENDED = frozenset({0x05, 0x0F, 0x85})
_SECTOR_SIZES = (512, 4096)
_MOST_ENTRIES = 1024

ESP_TYPE = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
"""UEFI 2.10, table 5.7: EFI System Partition."""


@dataclass(frozen=True, slots=True)
class Partition:
    """A part of a disk, in bytes."""

    number: int
    start: int
    size: int
    type: str
    """A GUID in lower case, or `0x83`."""
    uuid: str
    """What PARTUUID= says."""
    name: str = ""


def partitions(disk: Bytes) -> list[Partition]:
    """The partitions of a disk; one with number 0 that is all of it where there is no table.

    Raises Unreadable for a damaged GPT.
    """
    for sector in _SECTOR_SIZES:
        if disk.read_at(sector, 8) == b"EFI PART":
            return _gpt(disk, sector)
    first = disk.read_at(0, 512)
    if first[510:512] == b"\x55\xaa" and (found := _mbr(disk, first)):
        return found
    return [Partition(0, 0, disk.size, "", "")]


def _gpt(disk: Bytes, sector: int) -> list[Partition]:
    head = disk.read_at(sector, _GPT.size)
    (_, _, length, crc, _, _, _, _, _, _, at, count, size, entries_crc) = _GPT.unpack(head)
    whole = bytearray(disk.read_at(sector, length)) if 92 <= length <= sector else bytearray(92)
    whole[16:20] = bytes(4)
    if zlib.crc32(whole) != crc or count > _MOST_ENTRIES or size < _GPT_ENTRY.size:
        raise Unreadable("the GPT header's checksum is wrong")
    table = disk.read_at(at * sector, count * size)
    if zlib.crc32(table) != entries_crc:
        raise Unreadable("the checksum of the GPT's entries is wrong")
    found = []
    for number in range(count):
        kind, own, first, last, _, name = _GPT_ENTRY.unpack_from(table, number * size)
        if kind != bytes(16):
            found.append(
                Partition(
                    number + 1,
                    first * sector,
                    (last - first + 1) * sector,
                    str(uuid.UUID(bytes_le=kind)),
                    str(uuid.UUID(bytes_le=own)),
                    name.decode("utf-16-le", errors="replace").split("\0")[0],
                )
            )
    return found


def _mbr(disk: Bytes, first: bytes) -> list[Partition]:
    identity = struct.unpack_from("<I", first, 440)[0]
    found = []
    for number, (kind, start, count) in enumerate(_mbr_entries(first), 1):
        if kind in _EXTENDED:
            found += _logical(disk, start, identity)
        elif kind and count and (start + count) * 512 <= disk.size + 512:
            found.append(_mbr_partition(number, start, count, kind, identity))
    return found


def _logical(disk: Bytes, extended: int, identity: int) -> list[Partition]:
    found: list[Partition] = []
    at, seen = extended, set[int]()
    while at not in seen:
        seen.add(at)
        sector = disk.read_at(at * 512, 512)
        if len(sector) < 512 or sector[510:512] != b"\x55\xaa":
            break
        (kind, start, count), (link, next_start, _) = _mbr_entries(sector)[:2]
        if kind and count:
            found.append(_mbr_partition(5 + len(found), at + start, count, kind, identity))
        if link not in _EXTENDED:
            break
        at = extended + next_start
    return found


def _mbr_entries(sector: bytes) -> list[tuple[int, int, int]]:
    rows = (_MBR_ENTRY.unpack_from(sector, _MBR_TABLE + 16 * n) for n in range(4))
    return [(kind, start, count) for _, _, kind, _, start, count in rows]


def _mbr_partition(number: int, start: int, count: int, kind: int, identity: int) -> Partition:
    return Partition(
        number, start * 512, count * 512, f"{kind:#04x}", f"{identity:08x}-{number:02x}"
    )
