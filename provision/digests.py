"""Sizes and SHA-256 sums of files, computed once for each version of a file."""

import hashlib
import threading
from collections import defaultdict
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
        self._known: dict[Path, tuple[tuple[int, int, int], FileFacts]] = {}
        self._turns: defaultdict[Path, threading.Lock] = defaultdict(threading.Lock)
        self._lock = threading.Lock()

    def of(self, path: Path) -> FileFacts:
        """The facts of a file; reads all of it the first time, about a second for each GB.

        Who asks for the same file meanwhile waits, for another file does not. Raises OSError.
        """
        with self._lock:
            turn = self._turns[path]
        with turn, path.open("rb") as file:
            status = path.stat()
            version = (status.st_ino, status.st_size, status.st_mtime_ns)
            with self._lock:
                known = self._known.get(path)
            if known is not None and known[0] == version:
                return known[1]
            facts = FileFacts(status.st_size, hashlib.file_digest(file, "sha256").hexdigest())
            with self._lock:
                self._known[path] = (version, facts)
            return facts
