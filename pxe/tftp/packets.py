"""Files cut into DATA packets that lie ready to be sent, shared by all transfers."""

import os
import stat
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pxe.errors import PxeError
from pxe.tftp.content import BytesContent, FileContent
from pxe.tftp.wire import Mode, data_header

HEADER = 4
"""Octets of opcode and block number in front of each block."""
OBJECT = 192
"""Octets that Python takes to hold one packet."""
COUNT_MAX = 1 << 17
"""Packets prepared at once: an 8-octet blksize must not hold up all other transfers."""


class Unreadable(PxeError):
    """A file cannot be read any more in the middle of its transfer."""


class Packets(Protocol):
    """The DATA packets of one file at one blksize."""

    size: int
    """Octets of content."""
    stride: int
    """Octets of every packet but the last."""

    def window(self, first: int, count: int) -> memoryview:
        """Packets `first` to `first + count - 1`, end to end; the first block has number 1.

        Raises Unreadable.
        """

    def close(self) -> None: ...


class Prepared:
    """All packets of a file in one buffer, headers in place."""

    __slots__ = ("_singles", "size", "stride", "users", "view")

    def __init__(self, data: bytes, blksize: int) -> None:
        self.size = len(data)
        self.stride = blksize + HEADER
        self.users = 0
        self.view = memoryview(_interleave(data, blksize, 1))
        self._singles: list[memoryview] = []

    @property
    def memory(self) -> int:
        """Octets, with `singles`."""
        return len(self.view) + (self.size // (self.stride - HEADER) + 1) * OBJECT

    def window(self, first: int, count: int) -> memoryview:
        stride = self.stride
        start = (first - 1) * stride
        return self.view[start : start + count * stride]

    @property
    def singles(self) -> Sequence[memoryview]:
        """Each packet by itself, from block 1 on at index 0: for windows of one block."""
        if not self._singles:
            stride = self.stride
            ends = range(0, len(self.view), stride)
            self._singles = [self.view[start : start + stride] for start in ends]
        return self._singles

    def close(self) -> None:
        self.users -= 1


class Streamed:
    """Packets of a file too large to be kept, read again for each window."""

    __slots__ = ("_fd", "size", "stride")

    def __init__(self, fd: int, size: int, blksize: int) -> None:
        """Takes over `fd`."""
        self._fd = fd
        self.size = size
        self.stride = blksize + HEADER

    def window(self, first: int, count: int) -> memoryview:
        blksize = self.stride - HEADER
        start = (first - 1) * blksize
        wanted = min(count * blksize, self.size - start)
        try:
            data = os.pread(self._fd, wanted, start)
        except OSError as error:
            raise Unreadable(f"the file cannot be read: {error.strerror}") from error
        if len(data) != wanted:
            raise Unreadable("the file became shorter while it was sent")
        return memoryview(_interleave(data, blksize, first))[: count * self.stride]

    def close(self) -> None:
        os.close(self._fd)


@dataclass(slots=True)
class OpenContent:
    """Content whose size is known, before a blksize is agreed upon."""

    size: int
    data: bytes | None
    """None: it is read from `fd`."""
    fd: int = -1
    identity: tuple[int, ...] = ()

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def open_content(content: FileContent | BytesContent, mode: Mode, held_max: int) -> OpenContent:
    """Open a file, or take what is already in memory.

    Raises OSError when it is no readable regular file, or asked for as text and too large for
    that (`held_max` octets).
    """
    if isinstance(content, BytesContent):
        return OpenContent(len(_as(content.data, mode)), _as(content.data, mode))
    fd = _descriptor(content)
    opened = OpenContent(0, None, fd)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise OSError("not a regular file")
        opened.size = status.st_size
        opened.identity = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        if mode is Mode.NETASCII:
            if opened.size > held_max:
                raise OSError("too large to be sent as text, ask for mode octet")
            text = _as(_read(fd, opened.size), mode)
            opened.close()
            return OpenContent(len(text), text)
    except OSError:
        opened.close()
        raise
    return opened


def _descriptor(content: FileContent) -> int:
    if content.opener is not None:
        with content.opener() as file:
            return os.dup(file.fileno())
    # O_NONBLOCK: a FIFO in the folder must not stop the loop.
    return os.open(content.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)


class PacketCache:
    """Prepared packets by file and blksize, least recently used last, within a memory limit.

    What a transfer still uses counts and stays; where it leaves no room, files are streamed.
    """

    def __init__(self, total_max: int, file_max: int) -> None:
        """Octets in all, and of one file."""
        self._total_max = total_max
        self._file_max = file_max
        self._kept: OrderedDict[tuple[int, ...], Prepared] = OrderedDict()
        self.total = 0

    def packets(self, content: OpenContent, blksize: int) -> Packets:
        """The packets of `content`, which is used up.

        Raises OSError when it cannot be read.
        """
        if content.data is not None:  # rendered for one client: small, and nobody else's
            prepared = Prepared(content.data, blksize)
            prepared.users = 1
            return prepared
        key = (*content.identity, blksize)
        kept = self._kept.get(key)
        if kept is None:
            kept = self._prepare(content, blksize)
            if kept is None:
                fd, content.fd = content.fd, -1
                return Streamed(fd, content.size, blksize)
            self._kept[key] = kept
            self.total += kept.memory
        content.close()
        self._kept.move_to_end(key)
        kept.users += 1
        return kept

    def _prepare(self, content: OpenContent, blksize: int) -> Prepared | None:
        count = content.size // blksize + 1
        needed = content.size + count * (HEADER + OBJECT)
        if content.size > self._file_max or count > COUNT_MAX or not self._make_room(needed):
            return None
        return Prepared(_read(content.fd, content.size), blksize)

    def _make_room(self, needed: int) -> bool:
        """Drop unused packets, oldest first, until `needed` octets fit."""
        for key, kept in list(self._kept.items()):
            if self.total + needed <= self._total_max:
                break
            if not kept.users:
                del self._kept[key]
                self.total -= kept.memory
        return self.total + needed <= self._total_max


def _interleave(data: bytes, blksize: int, first: int) -> bytes:
    """Packets of all of `data`, the last one shorter than `blksize`, perhaps empty."""
    count = len(data) // blksize + 1
    parts: list[bytes | memoryview] = []
    view = memoryview(data)
    for index in range(count):
        parts.append(data_header(first + index))
        parts.append(view[index * blksize : (index + 1) * blksize])
    return b"".join(parts)


def _read(fd: int, size: int) -> bytes:
    data = os.pread(fd, size, 0)
    if len(data) != size:
        raise OSError("the file changed while it was read")
    return data


def _as(data: bytes, mode: Mode) -> bytes:
    """RFC 1350's netascii: CR LF ends a line, a lone CR is followed by NUL (RFC 764)."""
    if mode is Mode.OCTET:
        return data
    return data.replace(b"\r", b"\r\0").replace(b"\n", b"\r\n")
