"""What changed between two images: packages, sizes, seal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagebuild.inside.image import Image, check_images, open_image
from imagebuild.inside.packages import Package, packages
from imagebuild.inside.tree import Kind
from imagebuild.seal.verify import verify

DEPTH = 2
"""Parts of a path by which sizes are summed."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What counts of one image."""

    file: str
    bytes: int
    """Of the file."""
    disk: int
    """Bytes that the guest sees."""
    system: str
    packages: Mapping[tuple[str, str], tuple[str, ...]]
    """Name and architecture to versions: kernels may be there in several."""
    folders: Mapping[str, int]
    """Bytes of the files below each folder."""
    findings: frozenset[tuple[str, str]]
    """Row and path."""


@dataclass(frozen=True, slots=True)
class Change:
    """A package that is in both, in other versions."""

    name: str
    arch: str
    old: tuple[str, ...]
    new: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """From an old image to a new one."""

    old: Seen
    new: Seen
    added: tuple[Change, ...]
    removed: tuple[Change, ...]
    changed: tuple[Change, ...]
    folders: tuple[tuple[str, int, int], ...]
    """Folder, bytes before and after; the largest change first."""

    @property
    def broken(self) -> tuple[tuple[str, str], ...]:
        """Findings of the seal that only the new one has."""
        return tuple(sorted(self.new.findings - self.old.findings))

    @property
    def mended(self) -> tuple[tuple[str, str], ...]:
        """Findings of the seal that only the old one has."""
        return tuple(sorted(self.old.findings - self.new.findings))

    def as_json(self) -> Mapping[str, Any]:
        """For other programs."""
        return {
            "old": _about(self.old),
            "new": _about(self.new),
            "packages": {
                "added": [_change(one) for one in self.added],
                "removed": [_change(one) for one in self.removed],
                "changed": [_change(one) for one in self.changed],
            },
            "folders": [
                {"folder": f"/{folder}", "old": old, "new": new}
                for folder, old, new in self.folders
            ],
            "seal": {
                "broken": [{"row": row, "path": f"/{path}"} for row, path in self.broken],
                "mended": [{"row": row, "path": f"/{path}"} for row, path in self.mended],
            },
        }


def compare_images(old: Path, new: Path) -> Difference:
    """Look into both files. Raises Unreadable, OSError."""
    check_images((old, new))
    return compare(look_into(old), look_into(new))


def look_into(path: Path) -> Seen:
    """Read what counts of one image."""
    with open_image(path) as image:
        report = verify(image)
        return Seen(
            file=path.name,
            bytes=path.stat().st_size,
            disk=image.disk.data.size,
            system=report.system,
            packages=_versions(packages(image.tree)),
            folders=_folders(image),
            findings=frozenset((one.row.name, one.path) for one in report.findings),
        )


def compare(old: Seen, new: Seen) -> Difference:
    """The difference as a value."""
    before, after = old.packages, new.packages
    both = before.keys() & after.keys()
    sizes = [
        (folder, old.folders.get(folder, 0), new.folders.get(folder, 0))
        for folder in old.folders.keys() | new.folders.keys()
    ]
    return Difference(
        old=old,
        new=new,
        added=tuple(Change(*key, (), after[key]) for key in sorted(after.keys() - before.keys())),
        removed=tuple(
            Change(*key, before[key], ()) for key in sorted(before.keys() - after.keys())
        ),
        changed=tuple(
            Change(*key, before[key], after[key])
            for key in sorted(both)
            if before[key] != after[key]
        ),
        folders=tuple(
            sorted(
                (one for one in sizes if one[1] != one[2]),
                key=lambda one: (-abs(one[2] - one[1]), one[0]),
            )
        ),
    )


def _versions(found: Sequence[Package]) -> dict[tuple[str, str], tuple[str, ...]]:
    versions: dict[tuple[str, str], tuple[str, ...]] = {}
    for one in found:
        key = (one.name, one.arch)
        versions[key] = tuple(sorted((*versions.get(key, ()), one.version)))
    return versions


def _folders(image: Image) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for path, entry in image.tree.walk():
        if entry.kind is Kind.FILE:
            folder = "/".join(path.split("/")[:-1][:DEPTH])
            sizes[folder] = sizes.get(folder, 0) + entry.size
    return sizes


def _about(seen: Seen) -> Mapping[str, Any]:
    return {"file": seen.file, "bytes": seen.bytes, "disk": seen.disk, "system": seen.system}


def _change(change: Change) -> Mapping[str, Any]:
    return {
        "name": change.name,
        "arch": change.arch,
        "old": list(change.old),
        "new": list(change.new),
    }
