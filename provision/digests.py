"""Sizes and SHA-256 sums of files, computed once for each version of a file."""

import hashlib
import threading
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What a receiver checks a file against."""

    size: int
    """In bytes."""
    sha256: str
    """Hexadecimal."""


class Digests:
    """Remembers the sum of each file until its size, time or inode changes."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int, int, int], FileFacts] = {}
        self._lock = threading.Lock()

    def of(self, path: Path) -> FileFacts:
        """The facts of a file; reads all of it the first time, about a second for each GB.

        Raises OSError.
        """
        with self._lock, path.open("rb") as file:
            status = path.stat()
            key = (str(path), status.st_ino, status.st_size, status.st_mtime_ns)
            if known := self._known.get(key):
                return known
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            self._known = {k: v for k, v in self._known.items() if k[0] != key[0]}
            self._known[key] = facts = FileFacts(status.st_size, sha256)
            return facts
