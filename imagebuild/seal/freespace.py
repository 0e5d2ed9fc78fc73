"""Private keys that no file holds any more, but that the disk still has.

A file that is deleted leaves its bytes where they were until they are overwritten or discarded,
and whoever has the image can read them.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from imagebuild.inside.disk import Bytes
from imagebuild.inside.image import Image, Volume
from imagebuild.inside.tree import FileSystem, Kind, Tree
from imagebuild.seal.rules import Trace
from imagebuild.seal.system import System

MARK = b" PRIVATE KEY-----"
KEY = re.compile(rb"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----\r?\n[A-Za-z0-9+/=]{40,}")
"""RFC 7468; with some of its body, for programs and manuals carry the head alone."""
STEP = 4 << 20
OVERLAP = 256


@dataclass(frozen=True, slots=True)
class NoDeletedKeys:
    """Every private key on the disk is in a file, where the other rules look."""

    def traces(self, image: Image, system: System) -> Iterator[Trace]:
        found = keys(image.disk.data)
        for volume in image.volumes:
            start, size = volume.partition.start, volume.partition.size
            here = [at - start for at in found if start <= at < start + size]
            for at in _unowned(here, volume, image.systems.get(start)):
                yield Trace("", f"a deleted private key, at byte {start + at} of the disk")

    def shell(self) -> Sequence[str]:
        return []


def keys(data: Bytes) -> list[int]:
    """Where private keys begin on a disk."""
    found: list[int] = []
    tail, end = b"", 0
    while (at := data.next_data(end)) is not None and at < data.size:
        if at != end:
            tail = b""  # zeros lie between
        read = data.read_at(at, STEP)
        block = tail + read
        if MARK in block:
            found += [at - len(tail) + match.start() for match in KEY.finditer(block)]
        tail, end = block[-OVERLAP:], at + len(read)
    return list(dict.fromkeys(found))


def _unowned(offsets: Sequence[int], volume: Volume, system: FileSystem | None) -> list[int]:
    """The offsets in a partition that belong to no file; all where that cannot be known."""
    if not offsets or system is None or volume.signature is None:
        return list(offsets)
    left = set(offsets)
    for path, entry in Tree(system).walk():
        if entry.kind is not Kind.FILE:
            continue
        extents = system.extents(path)
        if extents is None:
            return []  # the kernel does not tell a reader of files
        for offset, size in extents:
            left -= {at for at in left if offset <= at < offset + size}
        if not left:
            break
    return sorted(left)
