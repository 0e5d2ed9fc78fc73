"""The files of an initramfs: archives one after another, the last of them packed.

The format is the kernel's Documentation/driver-api/early-userspace/buffer-format.
"""

from collections.abc import Generator, Iterator

from imagebuild.inside.errors import Unreadable
from imagebuild.inside.packed import unpacked

_MAGICS = (b"070701", b"070702")
"""newc, with and without checksums."""
_HEAD = 110
_END = "TRAILER!!!"
_FORMAT = 0o170000
_FILE = 0o100000


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
        rest = unpacked(data[at:])
        if rest is None:
            raise Unreadable(f"an initramfs goes on with {data[at : at + 4].hex()}, unknown to us")
        yield from files(rest)
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
