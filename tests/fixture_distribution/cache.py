"""Repositories made once and found again, by what they are made of and by whom."""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.fixture_distribution import debian

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
    """The repository `name`, from the cache or made now; one process makes, others wait."""
    top = folder()
    top.mkdir(parents=True, exist_ok=True)
    found = top / f"{name}-{key(wanted)}"
    with (top / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not found.is_dir():
            make(found)
        os.utime(found)
        states = sorted(top.glob(f"{name}-*"), key=lambda path: path.stat().st_mtime)
        for old in states[:-KEPT]:
            shutil.rmtree(old)
    return found
