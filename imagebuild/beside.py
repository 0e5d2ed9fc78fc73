"""The files beside an image: made apart from it, and given their names together with it."""

import os
import shutil
from pathlib import Path

SUFFIXES = (
    *(".json", ".seal.json", ".boot.json", ".packages", ".cdx.json", ".provenance.json"),
    *(".sha256", ".sha512"),
)
"""Added to the whole name of the image."""
FAILED = (".failed.seal.json", ".failed.boot.json")
"""Added to the name without its ending: what is told of an image that was removed."""


def apart(image: Path) -> Path:
    """The folder in which files for beside the image have their names already."""
    return image.with_name(f".{image.name}.beside.partial")


def make_apart(image: Path) -> Path:
    """The same, there and empty."""
    folder = apart(image)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def publish(partial: Path, image: Path) -> None:
    """Give an image and the files apart their names.

    What lies beside an older image goes first, and comes last for the new one: a build that is
    killed between leaves an image without evidence, never with that of another.
    """
    folder = apart(image)
    for file in (partial, *folder.iterdir()):
        sync(file)
    for suffix in SUFFIXES:
        image.with_name(image.name + suffix).unlink(missing_ok=True)
    sync(image.parent)
    partial.replace(image)
    sync(image.parent)
    for file in sorted(folder.iterdir()):
        file.replace(image.with_name(file.name))
    folder.rmdir()
    sync(image.parent)


def failed(image: Path, report: Path) -> Path:
    """Keep a report of an image that is removed, under a name that no image has."""
    kind = report.name.removeprefix(image.name)
    return report.replace(image.with_name(f"{image.stem}.failed{kind}"))


def forget_failed(image: Path) -> None:
    """Remove what an earlier build told of an image that it removed."""
    for suffix in FAILED:
        image.with_name(image.stem + suffix).unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Bring a file or a folder to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
