"""A folder of this machine as the file system of an image."""

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from imagebuild.inside.tree import Entry, FileSystem

_AS_IS = os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | _AS_IS

_TWICE = "trusted.SGI_ACL_"
"""Access control lists once more, in the form that xfs has for them."""


class Folder:
    """Everything below an open folder; no link is ever followed, not even within a path."""

    def __init__(self, descriptor: int) -> None:
        self._root = descriptor

    def entry(self, path: str) -> Entry | None:
        try:
            with self._parent(path) as (folder, name):
                about = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except OSError:
            return None
        sized = stat.S_ISREG(about.st_mode) or stat.S_ISLNK(about.st_mode)
        size = about.st_size if sized else 0
        return Entry.of(about.st_mode, size, about.st_uid, about.st_gid, int(about.st_mtime))

    def names(self, path: str) -> Sequence[str]:
        try:
            with self._parent(path) as (folder, name):
                descriptor = os.open(name, _FOLDER, dir_fd=folder)
        except OSError:
            return []
        try:
            return os.listdir(descriptor)  # noqa: PTH208  # pathlib knows no descriptors
        finally:
            os.close(descriptor)

    def read(self, path: str, limit: int) -> bytes:
        with self._parent(path) as (folder, name):
            descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK | _AS_IS, dir_fd=folder)
        with os.fdopen(descriptor, "rb") as file:
            return file.read(min(limit, os.fstat(descriptor).st_size))

    def link(self, path: str) -> str:
        with self._parent(path) as (folder, name):
            return os.readlink(name, dir_fd=folder)

    def attributes(self, path: str) -> Mapping[str, bytes]:
        with self._parent(path) as (folder, name):
            itself = f"/proc/self/fd/{folder}/{name}"  # these calls know no folder's descriptor
            return {
                one: os.getxattr(itself, one, follow_symlinks=False)
                for one in os.listxattr(itself, follow_symlinks=False)
                if not one.startswith(_TWICE)
            }

    def extents(self, path: str) -> Sequence[tuple[int, int]] | None:
        return None

    @contextmanager
    def _parent(self, path: str) -> Iterator[tuple[int, str]]:
        *folders, name = path.split("/") if path else ["."]
        here = os.dup(self._root)
        try:
            for folder in folders:
                there = os.open(folder, _FOLDER, dir_fd=here)
                os.close(here)
                here = there
            yield here, name
        finally:
            os.close(here)


@contextmanager
def open_folder(path: Path) -> Iterator[FileSystem]:
    """A folder that is unpacked or mounted already."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield Folder(descriptor)
    finally:
        os.close(descriptor)
