"""The places of one build: made before it, cleared after it, and by the next one if it was killed.

A build holds a lock on its folder for as long as it lives. A folder whose lock is free belongs to
nobody: what it names is removed.
"""

import fcntl
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from imagebuild.errors import BadInput
from imagebuild.loops import detach_below

log = logging.getLogger(__name__)

RUNNING = "running"
LOCK = "lock"
LEFT = "left.json"
MAKING = 60
"""Seconds in which a folder without its list is taken for one that is just being made."""
WORK_BASE = "/var/tmp"
"""On disk everywhere; /tmp is memory on many systems, and some builds are to keep out of it."""
WORK_PREFIX = "rackseed-image-"
"""Of the work folder; short, for a loop device keeps 63 characters of its file's path."""
MEMORY = Path("/run/rackseed")
"""Where each build's namespaces mount a tmpfs of their own. It is never removed: removing a mount
point takes the mount away from every namespace, yet leaves what is mounted below it attached, and
then the disk mounted there, its loop device and the file in the tmpfs keep one another for ever
(Linux, __detach_mounts)."""


@dataclass(frozen=True, slots=True)
class Workshop:
    """One build's own places."""

    folder: Path
    """On disk: the job, kept hooks, links to kept packages."""
    work: Path
    """Where diskimage-builder works; in memory it is there only for the build's own processes."""

    @property
    def job(self) -> Path:
        """The script that runs in the build's namespaces."""
        return self.folder / "job.sh"


CHANCE = "XXXXXXXX"
"""Stands for the part of a folder's name that `mkdtemp` makes up."""


def stand_in(cache: Path, *, in_memory: bool) -> Workshop:
    """The places that a build would have, with words for what only its start decides."""
    folder = cache / RUNNING / f"PID-{CHANCE}"
    work = MEMORY / folder.name if in_memory else Path(WORK_BASE, WORK_PREFIX + CHANCE)
    return Workshop(folder, work)


@contextmanager
def alone(image: Path) -> Iterator[None]:
    """Be the only build that makes this file. Raises BadInput when another is at it.

    The lock's file is removed at the end, so one that was removed after we opened it counts not.
    """
    place = image.with_name(f".{image.stem}.lock")
    while True:
        with place.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                error = BadInput(f"{image}: another build is making it (it holds {place})")
                error.add_note("wait until it has ended, or build into another folder: --output")
                raise error from None
            if not _is_there(lock.fileno(), place):
                continue
            try:
                yield
            finally:
                place.unlink(missing_ok=True)
            return


def _is_there(descriptor: int, place: Path) -> bool:
    """Whether an open file still has its name."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), place.stat())
    return False


@contextmanager
def workshop(
    cache: Path, partials: Sequence[Path], *, in_memory: bool = False
) -> Iterator[Workshop]:
    """Make the places of a build; whatever is left of it is removed at the end."""
    sweep(cache)
    running = cache / RUNNING
    running.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=running, prefix=f"{os.getpid()}-"))
    with (folder / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if in_memory:
            MEMORY.mkdir(mode=0o755, parents=True, exist_ok=True)
            work = MEMORY / folder.name
        else:
            work = Path(tempfile.mkdtemp(dir=WORK_BASE, prefix=WORK_PREFIX))
        left = {"work": str(work), "partials": [str(path) for path in partials]}
        (folder / LEFT).write_text(json.dumps(left), encoding="utf-8")
        try:
            yield Workshop(folder, work)
        finally:
            clear(folder)


def sweep(cache: Path) -> list[Path]:
    """Remove what killed builds left; returns their folders."""
    found = []
    for folder in sorted((cache / RUNNING).glob("*/")):
        if _is_being_made(folder):
            continue
        with suppress(OSError), (folder / LOCK).open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            log.info("clear what a killed build left folder=%s", folder)
            clear(folder)
            found.append(folder)
    return found


def _is_being_made(folder: Path) -> bool:
    """Whether its build may be about to lock it."""
    if (folder / LEFT).exists():
        return False
    with suppress(OSError):
        return time.time() - folder.stat().st_mtime < MAKING
    return True


def clear(folder: Path) -> None:
    """Remove all that one build has outside the caches; what is still in use stays listed."""
    with suppress(OSError, ValueError, LookupError, TypeError):
        left = json.loads((folder / LEFT).read_text(encoding="utf-8"))
        for partial in map(Path, left["partials"]):
            if partial.name.endswith(".partial"):
                _remove(partial)
        work = Path(left["work"])
        if work.parent == MEMORY or work.name.startswith(WORK_PREFIX):
            if busy := detach_below(work):
                log.warning("left for the next build to clear devices=%s", " ".join(map(str, busy)))
                return
            if work.parent != MEMORY:
                shutil.rmtree(work, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
