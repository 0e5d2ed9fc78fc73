"""The files of an initramfs: archives one after another, the last of them packed.

The format is the kernel's Documentation/driver-api/early-userspace/buffer-format.
"""

import bz2
import gzip
import lzma
import sys
from collections.abc import Callable, Generator, Iterator, Mapping

from imagebuild.inside.errors import Unreadable

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_MAGICS = (b"070701", b"070702")
"""newc, with and without checksums."""
_HEAD = 110
_END = "TRAILER!!!"
_FORMAT = 0o170000
_FILE = 0o100000

_UNPACK: Mapping[bytes, Callable[[bytes], bytes]] = {
    b"\x28\xb5\x2f\xfd": zstd.decompress,
    b"\x1f\x8b": gzip.decompress,
    b"\xfd7zXZ": lzma.decompress,
    b"\x5d\x00\x00": lzma.decompress,
    b"BZh": bz2.decompress,
}


def files(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Every file with its content; folders and devices are left out. Raises Unreadable."""
    at = 0
    while True:
        while at < len(data) and not data[at]:
            at += 1  # archives are filled up with zeros
        if at >= len(data):
            return
        if data[at : at + 6] in _MAGICS:
            at = yield from _archive(data, at)
            continue
        yield from files(_unpacked(data[at:]))
        return


def _archive(data: bytes, at: int) -> Generator[tuple[str, bytes], None, int]:
    """The files of one archive; returns where it ends."""
    while data[at : at + 6] in _MAGICS and len(data) >= at + _HEAD:
        try:
            numbers = [int(data[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        except ValueError:
            break
        mode, size, length = numbers[1], numbers[6], numbers[11]
        name = data[at + _HEAD : at + _HEAD + length].rstrip(b"\0").decode(errors="replace")
        content = _filled(at + _HEAD + length)
        at = _filled(content + size)
        if name == _END:
            return at
        if content + size > len(data):
            break
        if mode & _FORMAT == _FILE:
            yield name.removeprefix("./"), data[content : content + size]
    raise Unreadable("an initramfs ends within an archive")


def _filled(at: int) -> int:
    return (at + 3) & ~3


def _unpacked(packed: bytes) -> bytes:
    for magic, unpack in _UNPACK.items():
        if packed.startswith(magic):
            try:
                return unpack(packed)
            except (OSError, EOFError, lzma.LZMAError, zstd.ZstdError) as error:
                raise Unreadable(f"an initramfs cannot be unpacked: {error}") from error
    raise Unreadable(f"an initramfs begins with {packed[:4].hex()}, which we cannot unpack")
