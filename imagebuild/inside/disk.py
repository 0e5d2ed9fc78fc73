"""A disk image file as bytes: qcow2 or raw, whole or a part of it."""

import errno
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from imagebuild.inside.errors import Unreadable, naming
from imagebuild.inside.qcow2 import MAGIC, Qcow2

_FOREIGN = {
    b"KDMV": "VMDK",
    b"# Di": "VMDK",
    b"cone": "VHD",
    b"vhdx": "VHDX",
    b"\x1f\x8b\x08": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xfd7zX": "xz",
}
"""What people hand us by mistake, by its first bytes."""


class Bytes(Protocol):
    """Something with a size that can be read anywhere."""

    size: int

    def read_at(self, offset: int, length: int) -> bytes:
        """Fewer bytes at the end."""

    def next_data(self, offset: int) -> int | None:
        """Where from `offset` on something is written; None when all that follows is zeros."""


@dataclass(frozen=True, slots=True)
class Disk:
    """An opened image file."""

    path: Path
    format: str
    compression: str | None
    snapshots: int
    """Older states of the disk that the file carries along."""
    data: Bytes


class Raw:
    """A file that is the disk."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = file.seek(0, io.SEEK_END)

    def read_at(self, offset: int, length: int) -> bytes:
        return os.pread(self._file.fileno(), length, offset)

    def next_data(self, offset: int) -> int | None:
        try:
            return os.lseek(self._file.fileno(), offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return None
            return offset if offset < self.size else None


class Part(io.RawIOBase):
    """Some bytes of a disk as a file, as the file-system readers want it."""

    def __init__(self, data: Bytes, start: int, size: int) -> None:
        super().__init__()
        self._data = data
        self.start = start
        self.size = size
        self._at = 0

    def read_at(self, offset: int, length: int) -> bytes:
        """Bytes from `offset` of this part."""
        length = min(length, self.size - offset)
        return self._data.read_at(self.start + offset, length) if length > 0 else b""

    def get_size(self) -> int:
        """libyal asks so."""
        return self.size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        length = self.size - self._at if size is None or size < 0 else size
        data = self.read_at(self._at, length)
        self._at += len(data)
        return data


def _opened(path: Path) -> BinaryIO:
    """A file or a disk; what else can be opened would wait, or has no end."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode) or stat.S_ISBLK(mode):
            return path.open("rb")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise Unreadable(f"{path}: cannot be read: {why}, expected an image") from None
    what = "a folder" if stat.S_ISDIR(mode) else "neither a file nor a disk"
    raise Unreadable(f"{path}: cannot be read: it is {what}, expected an image")


@contextmanager
def open_disk(path: Path) -> Iterator[Disk]:
    """Open an image for reading. Raises Unreadable, and OSError for a disk that fails."""
    with naming(path), _opened(path) as file:
        try:
            disk = _disk(path, file)
        except OSError as error:  # such as files of the kernel, which have no end
            why = f"cannot be read: {error.strerror}, expected an image"
            raise Unreadable(why) from error
        yield disk


def _disk(path: Path, file: BinaryIO) -> Disk:
    head = file.read(8)
    if head[:4] == MAGIC:
        packed = Qcow2(file)
        about = packed.header
        return Disk(path, "qcow2", about.compression, about.snapshots, packed)
    for magic, name in _FOREIGN.items():
        if head.startswith(magic):
            raise Unreadable(f"is a {name} file, expected qcow2 or raw")
    return Disk(path, "raw", None, 0, Raw(file))
