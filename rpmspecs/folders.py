"""Folders of a cache that several builds share: made for one build, kept for many, removed."""

import errno
import fcntl
import logging
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from rpmspecs.errors import DiskFull
from rpmspecs.namespaces import Identity, entered
from rpmspecs.running import Start

log = logging.getLogger(__name__)

UNUSED_DAYS = 14
"""What is kept and was not used for so long is removed."""

DAY_S = 86400

REMOVALS = 20
"""How often the removal of a folder is tried."""

INSIDE = ("root", "layer/upper", "layer/work", "home", "tmp", "vartmp")
"""What the folder of a build begins with."""


class Folders:
    """Each folder has a file `lock`, held by who uses it: what nobody holds may be removed."""

    def __init__(self, start: Start, cache: Path, who: Identity) -> None:
        self._start = start
        self._cache = cache
        self._who = who

    @contextmanager
    def make(self, name: str) -> Iterator[Path]:
        """A folder for one build, removed at the end whatever happens. Raises DiskFull."""
        parent = self._cache / "builds"
        parent.mkdir(parents=True, exist_ok=True)
        with self._nobody_sweeps():
            folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=parent))
            held = (folder / "lock").open("a")
            fcntl.flock(held, fcntl.LOCK_EX)
        with held:
            try:
                for inside in INSIDE:
                    (folder / inside).mkdir(parents=True)
                yield folder
            except OSError as error:
                if is_full(folder):
                    raise full(name, self._cache) from error
                raise
            finally:
                self._remove(folder)

    def sweep(self, kept: Sequence[str]) -> None:
        """Remove what killed builds left, and in the folders `kept` what was long not used."""
        with self._nobody_sweeps():
            for folder in self._cache.glob("builds/*/"):
                self._remove_unused(folder, days=0)
            for name in kept:
                for folder in self._cache.glob(f"{name}/*/"):
                    self._remove_unused(folder, days=UNUSED_DAYS)

    @contextmanager
    def _nobody_sweeps(self) -> Iterator[None]:
        """Between the making of a folder and its lock."""
        with locked(self._cache / "builds.lock"):
            yield

    def _remove(self, folder: Path) -> None:
        """As root of the build root: its folders may be closed to us."""
        command = ["/bin/rm", "-rf", "--", str(folder)]
        for _ in range(REMOVALS):  # what was killed may write until it is dead
            child = self._start(entered(self._who, folder.parent, command))
            with suppress(TimeoutError):
                child.wait(600)
            child.stop()
            if not folder.exists():
                return
            time.sleep(0.1)
        log.warning("cannot remove folder=%s", folder)

    def _remove_unused(self, folder: Path, days: int) -> None:
        with suppress(FileNotFoundError, BlockingIOError), (folder / "lock").open("a") as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if time.time() - folder.stat().st_mtime >= days * DAY_S:
                self._remove(folder)


NO_ROOM = frozenset((errno.ENOSPC, errno.EDQUOT))


def tells_full(error: BaseException) -> bool:
    """Whether an error says that a file system is full, or somebody's share of it."""
    return isinstance(error, OSError) and error.errno in NO_ROOM


def is_full(folder: Path) -> bool:
    """Whether the file system of a folder has no room left, for us at least."""
    room = os.statvfs(folder)
    return room.f_bavail * room.f_frsize < 1 << 20 or (room.f_files > 0 and room.f_favail == 0)


def full(name: str, folder: Path) -> DiskFull:
    """The error for a build that found no room."""
    return DiskFull(f"{name} was not built: no space left in {folder}")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Nobody else, thread or process, is in here with the same path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
