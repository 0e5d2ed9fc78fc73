"""Packages that builds fetched, kept for the next ones.

Each build has a folder of hard links of its own, so that package managers neither wait for one
another nor clean away what others use.
"""

import os
from contextlib import suppress
from pathlib import Path

MAX_BYTES = 6 << 30
"""Size above which the packages that were fetched first are removed."""


def lend(pool: Path, folder: Path) -> int:
    """Link every package of a pool into a build's folder; returns their number."""
    folder.mkdir(parents=True, exist_ok=True)
    pool.mkdir(parents=True, exist_ok=True)
    count = 0
    for package in pool.glob("*.deb"):
        with suppress(FileExistsError, FileNotFoundError):  # another build trims while we look
            os.link(package, folder / package.name)
            count += 1
    return count


def take_back(pool: Path, folder: Path) -> int:
    """Link what a build fetched into the pool; returns the number of new packages.

    apt renames a package to its name when it is whole, so that a killed build leaves none broken.
    """
    count = 0
    for package in folder.glob("*.deb"):
        with suppress(FileExistsError):
            os.link(package, pool / package.name)
            count += 1
    trim(pool)
    return count


def trim(pool: Path, limit: int = MAX_BYTES) -> None:
    """Remove what was fetched first until the rest is smaller than `limit` bytes."""
    entries: list[tuple[os.stat_result, Path]] = []
    for package in pool.glob("*.deb"):
        with suppress(FileNotFoundError):  # another build trims while we look
            entries.append((package.stat(), package))
    entries.sort(key=lambda entry: entry[0].st_mtime)
    size = sum(status.st_size for status, _ in entries)
    for status, package in entries:
        if size <= limit:
            return
        package.unlink(missing_ok=True)
        size -= status.st_size
