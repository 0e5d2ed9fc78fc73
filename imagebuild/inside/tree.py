"""The files of an image as one tree, whoever reads the bytes.

Paths are written without a leading slash, as seen by the system in the image; the root is `""`.
Symbolic links are followed here, and so never lead out of the image.
"""

import fnmatch
import re
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Protocol

from imagebuild.inside.errors import Unreadable

MOST_LINKS = 40
"""As Linux counts before it says ELOOP (path_resolution(7))."""
MOST_DEPTH = 256
MOST_ENTRIES = 8_000_000
MOST_BYTES = 512 << 20
"""Of one file at once; rpm's largest databases have a fifth of it."""


class Kind(Enum):
    """What an entry is, as far as we care."""

    FILE = "file"
    FOLDER = "folder"
    LINK = "link"
    OTHER = "other"

    @classmethod
    def of(cls, mode: int) -> "Kind":
        """From st_mode."""
        if stat.S_ISREG(mode):
            return cls.FILE
        if stat.S_ISDIR(mode):
            return cls.FOLDER
        return cls.LINK if stat.S_ISLNK(mode) else cls.OTHER


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a folder."""

    kind: Kind
    mode: int
    """Permission bits."""
    size: int
    """Bytes; 0 for all but files and links."""
    owner: int = 0
    group: int = 0
    modified: int = 0
    """Seconds since 1970; 0 on FAT, whose times are local to nobody knows where."""

    @classmethod
    def of(cls, mode: int, size: int, owner: int = 0, group: int = 0, modified: int = 0) -> "Entry":
        """From what stat(2) says."""
        return cls(Kind.of(mode), stat.S_IMODE(mode), size, owner, group, modified)


class FileSystem(Protocol):
    """One file system; no method follows a link."""

    def entry(self, path: str) -> Entry | None:
        """What is there, or None."""

    def names(self, path: str) -> Sequence[str]:
        """The names in a folder; none where it is no folder."""

    def read(self, path: str, limit: int) -> bytes:
        """The first bytes of a file. Raises FileNotFoundError, Unreadable."""

    def link(self, path: str) -> str:
        """Where a link points to."""

    def attributes(self, path: str) -> Mapping[str, bytes]:
        """Extended attributes by the names that Linux has for them. Raises Unreadable."""

    def extents(self, path: str) -> Sequence[tuple[int, int]] | None:
        """Where a file's bytes lie in the partition, offset and size; None where unknown."""


@dataclass(frozen=True, slots=True)
class Below:
    """A folder of a file system as one of its own, such as a subvolume."""

    system: FileSystem
    folder: str

    def entry(self, path: str) -> Entry | None:
        return self.system.entry(self._whole(path))

    def names(self, path: str) -> Sequence[str]:
        return self.system.names(self._whole(path))

    def read(self, path: str, limit: int) -> bytes:
        return self.system.read(self._whole(path), limit)

    def link(self, path: str) -> str:
        return self.system.link(self._whole(path))

    def attributes(self, path: str) -> Mapping[str, bytes]:
        return self.system.attributes(self._whole(path))

    def extents(self, path: str) -> Sequence[tuple[int, int]] | None:
        return self.system.extents(self._whole(path))

    def _whole(self, path: str) -> str:
        return f"{self.folder}/{path}" if path else self.folder


class Tree:
    """A root file system and what is mounted below it."""

    def __init__(self, root: FileSystem, mounts: Mapping[str, FileSystem] | None = None) -> None:
        self._root = root
        self._mounts = dict(sorted((mounts or {}).items(), key=lambda item: -len(item[0])))

    def entry(self, path: str) -> Entry | None:
        """What has this name; its folders' links are followed, its own is not."""
        real = self.real(path)
        return None if real is None else self._entry(real)

    def exists(self, path: str) -> bool:
        """Also a link that points nowhere exists."""
        return self.entry(path) is not None

    def real(self, path: str) -> str | None:
        """`path` without links in its folders; None where a folder is missing or links go round."""
        folder, _, name = _clean(path).rpartition("/")
        if not folder:
            return name
        at = self.follow(folder)
        return None if at is None else f"{at}/{name}".lstrip("/")

    def follow(self, path: str) -> str | None:
        """Where `path` ends when every link is followed; None where that is nothing."""
        todo = _clean(path).split("/")[::-1]
        done: list[str] = []
        links = 0
        while todo:
            name = todo.pop()
            if name == "..":
                done = done[:-1]
                continue
            if name in ("", "."):
                continue
            here = "/".join([*done, name])
            entry = self._entry(here)
            if entry is None:
                return None
            if entry.kind is Kind.LINK:
                links += 1
                if links > MOST_LINKS:
                    return None
                target = self._link(here)
                if target.startswith("/"):
                    done = []
                todo += target.split("/")[::-1]
            else:
                done.append(name)
        return "/".join(done)

    def link(self, path: str) -> str:
        """Where a link points to; empty for what is no link."""
        real = self.real(path)
        entry = None if real is None else self._entry(real)
        if real is None or entry is None or entry.kind is not Kind.LINK:
            return ""
        return self._link(real)

    def attributes(self, path: str) -> Mapping[str, bytes]:
        """Extended attributes of what has this name, by the names that Linux has for them."""
        real = self.real(path)
        if real is None:
            return {}
        system, within = self._at(real)
        return system.attributes(within)

    def read(self, path: str, limit: int = MOST_BYTES) -> bytes | None:
        """The first `limit` bytes of a file, links followed; None where there is no file."""
        at = self.follow(path)
        entry = None if at is None else self._entry(at)
        if at is None or entry is None or entry.kind is not Kind.FILE:
            return None
        system, within = self._at(at)
        return system.read(within, limit)

    def text(self, path: str, limit: int = MOST_BYTES) -> str | None:
        """As `read`, decoded; what is not UTF-8 is replaced."""
        data = self.read(path, limit)
        return None if data is None else data.decode("utf-8", errors="replace")

    def names(self, path: str) -> list[str]:
        """The sorted names in a folder, links followed; none where it is no folder."""
        at = self.follow(path)
        if at is None:
            return []
        system, within = self._at(at)
        return sorted(system.names(within))

    def walk(self, top: str = "") -> Iterator[tuple[str, Entry]]:
        """Everything below `top` with its real path, folders before what is in them.

        Raises Unreadable for more than a system can have: folders that contain themselves.
        """
        at = self.follow(top)
        todo = [] if at is None else [at]
        count = 0
        while todo:
            folder = todo.pop()
            system, within = self._at(folder)
            below = []
            for name in sorted(system.names(within)):
                path = f"{folder}/{name}".lstrip("/")
                entry = self._entry(path)
                if entry is None:
                    continue
                count += 1
                if count > MOST_ENTRIES or path.count("/") > MOST_DEPTH:
                    raise Unreadable(f"/{top} has folders without an end: /{path[:200]}")
                yield path, entry
                if entry.kind is Kind.FOLDER:
                    below.append(path)
            todo += reversed(below)

    def glob(self, pattern: str) -> list[str]:
        """The real paths that a shell pattern means, hidden names too, each once."""
        found = [""]
        for part in _clean(pattern).split("/"):
            found = [path for folder in found for path in self._matching(folder, part)]
        real = (self.real(path) for path in found)
        return list(dict.fromkeys(path for path in real if path is not None))

    def _matching(self, folder: str, part: str) -> Iterator[str]:
        if any(sign in part for sign in "*?["):
            matches = _matcher(part)
            for name in self.names(folder):
                if matches(name):
                    yield f"{folder}/{name}".lstrip("/")
        elif self.exists(path := f"{folder}/{part}".lstrip("/")):
            yield path

    def _entry(self, path: str) -> Entry | None:
        system, within = self._at(path)
        return system.entry(within)

    def _link(self, path: str) -> str:
        system, within = self._at(path)
        return system.link(within)

    def _at(self, path: str) -> tuple[FileSystem, str]:
        for mount, system in self._mounts.items():
            if path == mount or path.startswith(f"{mount}/"):
                return system, path[len(mount) + 1 :]
        return self._root, path


def _clean(path: str) -> str:
    return "/".join(part for part in path.split("/") if part not in ("", "."))


@lru_cache(maxsize=512)
def _matcher(pattern: str) -> Callable[[str], object]:
    return re.compile(fnmatch.translate(pattern)).match
