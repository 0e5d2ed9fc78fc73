"""Temporary folders that even a killed run does not leave for ever.

Each run works in a folder of its own and holds a lock inside. The kernel gives the lock back
when the run ends, however it ends, so a folder whose lock is free belongs to nobody.
"""

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from provision.lock import alone_in
from provision.simulation.errors import SimulationError

LOCK = "lock"


def base_folder() -> Path:
    """Where the folders of all runs of this user are."""
    return Path(tempfile.gettempdir()) / f"rackseed-simulate-{os.geteuid()}"


@contextmanager
def workspace(base: Path) -> Iterator[Path]:
    """A folder of our own until the end of the `with`; those of dead runs are removed first.

    Raises SimulationError when `base` belongs to somebody else.
    """
    folder, lock = _enter(base)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)
        _remove_if_empty(base)


def remove_abandoned(base: Path) -> list[Path]:
    """Remove the folders of runs that are over; returns them."""
    removed = []
    with alone_in(base):
        for folder in sorted(base.glob("run-*")):
            if _is_free(folder / LOCK):
                shutil.rmtree(folder, ignore_errors=True)
                removed.append(folder)
    return removed


def _enter(base: Path) -> tuple[Path, int]:
    while True:
        _claim(base)
        try:
            remove_abandoned(base)
            return _make(base)
        except FileNotFoundError:
            continue  # a run that just ended took the empty base away


def _claim(base: Path) -> None:
    base.mkdir(mode=0o700, exist_ok=True)
    found = base.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        error = SimulationError(f"{base}: not a folder of ours, expected to work below it")
        error.add_note("set TMPDIR to a folder that only you can write")
        raise error


def _make(base: Path) -> tuple[Path, int]:
    with alone_in(base):  # nobody may find our folder before its lock is held
        folder = Path(tempfile.mkdtemp(prefix="run-", dir=base))
        lock = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
    return folder, lock


def _is_free(lock: Path) -> bool:
    try:
        handle = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        return True
    finally:
        os.close(handle)


def _remove_if_empty(base: Path) -> None:
    try:
        base.rmdir()
    except OSError:
        return  # another run is there
