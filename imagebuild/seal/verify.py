"""Verifies that a finished image is sealed, from its file alone."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from imagebuild.inside.disk import open_disk
from imagebuild.inside.errors import Unreadable
from imagebuild.inside.image import Image, open_image
from imagebuild.running import Run
from imagebuild.seal.report import Finding, SealReport
from imagebuild.seal.row import Row
from imagebuild.seal.system import System, identify
from imagebuild.seal.table import TABLE


def verify_image(path: Path, table: Sequence[Row] = TABLE, *, kernel: bool = False) -> SealReport:
    """Look for every row of the table in a qcow2 or raw file; needs no root and writes nothing.

    With `kernel` (root, raw files) the kernel reads what the libraries cannot.
    Raises Unreadable, OSError.
    """
    with open_image(path, kernel=kernel) as image:
        report = verify(image, table)
    return replace(report, sha256=_digest(path))


def verify_unpacked(path: Path, work: Path, run: Run) -> SealReport:
    """As `verify_image` with the kernel, for any format: the disk is unpacked into `work` first."""
    with open_disk(path):  # refuses what points to other files before qemu-img opens them
        raw = work / "disk.raw"
    run(["qemu-img", "convert", "-O", "raw", str(path), str(raw)])
    try:
        with open_image(raw, kernel=True) as image:
            return replace(verify(image), image=path.name, sha256=_digest(path))
    except Unreadable as error:
        raise about(path, raw, error) from None
    finally:
        raw.unlink()


def about(path: Path, raw: Path, error: Unreadable) -> Unreadable:
    """The same said of the file that a person named."""
    named = Unreadable(str(error).replace(str(raw), str(path)))
    for note in getattr(error, "__notes__", ()):
        named.add_note(note.replace(str(raw), str(path)))
    return named


def verify(image: Image, table: Sequence[Row] = TABLE) -> SealReport:
    """The same for an image that is open already."""
    system = identify(image.tree)
    return SealReport(
        image=image.disk.path.name,
        system=system.name,
        findings=tuple(_findings(image, system, table)),
        verified=tuple(row.name for row in table),
        unread=image.unread,
    )


def write_report(report: SealReport, path: Path) -> None:
    """Write the report whole or not at all."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps(report.as_json(), indent=2) + "\n", encoding="utf-8")
    partial.replace(path)


def report_path(image: Path) -> Path:
    """IMAGE.seal.json beside the image."""
    return image.with_name(f"{image.name}.seal.json")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _findings(image: Image, system: System, table: Sequence[Row]) -> Iterator[Finding]:
    seen: set[tuple[str, str]] = set()
    for row in table:
        for rule in row.rules:
            for trace in rule.traces(image, system):
                if not trace.path or (row.name, trace.path) not in seen:
                    seen.add((row.name, trace.path))
                    yield Finding(row, trace.path, trace.seen)
