"""`build-image diff`: tell what changed between two images."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from provision.cli import report
from provision.cli.options import JsonOption

if TYPE_CHECKING:
    from imagebuild.difference import Change, Difference

MOST_FOLDERS = 12
MIB = 1 << 20


def diff(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="A qcow2 or raw file.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="Another one.")],
    files: Annotated[
        bool,
        typer.Option("--files", help="Every file too: content, mode, owner, time, attributes."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Tell packages that came, went or changed, where the size went, and what the seal says.

    Reads both files only, without root. --json has every folder, the table the largest changes.

    Example:
      build-image diff images/debian-12.qcow2 new/debian-12.qcow2
    """
    from imagebuild.difference import compare_images
    from imagebuild.filechanges import compare_files

    found = compare_images(old, new)
    changes = compare_files(old, new) if files else []
    if as_json:
        more = {"files": [one.as_json() for one in changes]} if files else {}
        report.print_json({**found.as_json(), **more})
        return
    _show(found)
    if files:
        report.print_line()
        report.print_line(f"differ: {len(changes)} files")
        for one in changes:
            report.print_line(f"  {one}")


def _show(found: "Difference") -> None:
    for what, seen in (("old", found.old), ("new", found.new)):
        sizes = f"{_mib(seen.bytes)} file, {_mib(seen.disk)} disk"
        count = len(seen.packages)
        report.print_line(f"{what}: {seen.file}, {seen.system}, {count} packages, {sizes}")
    _show_packages("added", found.added)
    _show_packages("removed", found.removed)
    _show_packages("changed", found.changed)
    if found.folders:
        report.print_line()
        rows = [
            [f"/{folder}", _mib(before), _mib(after), f"{(after - before) / MIB:+.1f} MiB"]
            for folder, before, after in found.folders[:MOST_FOLDERS]
        ]
        report.print_table(["FOLDER", "OLD", "NEW", "CHANGE"], rows)
        if left := len(found.folders) - MOST_FOLDERS:
            report.print_line(f"and {left} folders with smaller changes" if left > 0 else "")
    for row, path in found.broken:
        report.print_alarm(f"seal broken: {row} {f'/{path}' if path else ''}".rstrip())
    for row, path in found.mended:
        report.print_good(f"seal mended: {row} {f'/{path}' if path else ''}".rstrip())


def _show_packages(title: str, changes: "tuple[Change, ...]") -> None:
    if not changes:
        return
    report.print_line()
    report.print_line(f"{title}: {len(changes)} packages")
    for one in changes:
        versions = " -> ".join(", ".join(side) for side in (one.old, one.new) if side)
        report.print_line(f"  {one.name} {versions}")


def _mib(size: int) -> str:
    return f"{size / MIB:.1f} MiB"
