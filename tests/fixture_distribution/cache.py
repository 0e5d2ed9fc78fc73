"""Repositories made once and found again, by what they are made of and by whom."""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.fixture_distribution import debian
from tests.fixture_distribution.make import RECORD

KEPT = 3
"""States that are kept; older ones are removed."""
USERS = ("__main__.py", "cache.py", "root.py", "target.py")
"""Modules that have no part in what is made."""


def folder() -> Path:
    """Where the states lie, each named by its content."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home, "rackseed", "fixture-distribution")


def key(wanted: Sequence[str]) -> str:
    """A digest of this generator and of the Debian packages that it would find."""
    digest = hashlib.sha256(debian.closure(wanted).encode())
    here = Path(__file__).parent
    for path in sorted(here.rglob("*")):
        if path.is_file() and path.name not in USERS and "__pycache__" not in path.parts:
            digest.update(f"{path.relative_to(here)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def cached(name: str, wanted: Sequence[str], make: Callable[[Path], None]) -> Path:
    """The repository `name`, from the cache or made now; one process makes, others wait.

    Its path follows from its content, so that what was built on it stays when the generator
    changes and makes the same.
    """
    top = folder()
    top.mkdir(parents=True, exist_ok=True)
    known = top / f"{name}-{key(wanted)}"
    with (top / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not known.is_dir():
            known.unlink(missing_ok=True)
            known.symlink_to(_made(top, name, make).name)
        found = known.resolve()
        os.utime(found)
        _forget(top, name)
    return found


def _made(top: Path, name: str, make: Callable[[Path], None]) -> Path:
    """The repository made anew, under its own name."""
    made = top / f".{name}.made"
    shutil.rmtree(made, ignore_errors=True)
    make(made)
    digest = hashlib.sha256()
    for file in ("repodata/repomd.xml", RECORD):
        digest.update((made / file).read_bytes())
    place = top / f"{name}-{digest.hexdigest()[:16]}"
    if place.is_dir():
        shutil.rmtree(made)
    else:
        made.rename(place)
    return place


def _forget(top: Path, name: str) -> None:
    """Remove what was not used for long, and the links to it."""
    links = [path for path in top.glob(f"{name}-*") if path.is_symlink()]
    states = [path for path in top.glob(f"{name}-*") if path not in links]
    for old in sorted(states, key=lambda path: path.stat().st_mtime)[:-KEPT]:
        shutil.rmtree(old)
    for link in links:
        if not link.exists():
            link.unlink()
