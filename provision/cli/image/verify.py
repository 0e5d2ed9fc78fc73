"""`build-image verify`: look for identities and leftovers in any image."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from provision.cli import report
from provision.cli.options import JsonOption
from provision.cli.report import ExitStatus

if TYPE_CHECKING:
    from imagebuild.seal.report import SealReport


def verify(
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGE", help="qcow2 or raw files, ours or not.")
    ],
    write: Annotated[
        bool, typer.Option("--write", help="Also write IMAGE.seal.json beside each image.")
    ] = False,
    kernel: Annotated[
        bool,
        typer.Option(
            "--kernel",
            help="Let the kernel read what our libraries cannot, such as btrfs; needs root and "
            "room for the unpacked disk. Only for images that you trust.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> ExitStatus:
    """Look for host keys, machine ids, leases, logs and all else that an image must not carry.

    Reads the files only: nothing is mounted or started, and root is not needed. Every finding
    is listed by its row of the seal table, with its path and how to mend it; any finding is
    exit status 1.

    Example:
      build-image verify images/debian-12.qcow2
    """
    from imagebuild.inside.errors import Unreadable
    from imagebuild.inside.image import check_images
    from imagebuild.seal.verify import report_path, verify_image, write_report

    check_images(images, kernel=kernel)
    results = []
    unread = 0
    for image in images:
        try:
            result = _with_kernel(image) if kernel else verify_image(image)
        except Unreadable as error:  # damaged deep within: the others are told all the same
            report.show_exception(error)
            unread += 1
            continue
        results.append(result)
        if write:
            write_report(result, report_path(image))
        if not as_json:
            _show(image, result)
    if as_json:
        report.print_json([result.as_json() for result in results])
    if unread:
        return ExitStatus.BAD_INPUT
    return ExitStatus.DONE if all(result.sealed for result in results) else ExitStatus.FAILED


def _with_kernel(image: Path) -> "SealReport":
    from imagebuild.seal.verify import verify_unpacked
    from provision.run import run

    with tempfile.TemporaryDirectory(prefix="rackseed-verify-") as work:
        return verify_unpacked(image, Path(work), run)


def _show(image: Path, result: "SealReport") -> None:
    if result.sealed:
        rows = len(result.verified)
        report.print_good(f"{image}: sealed. {result.system}, {rows} kinds of traces looked for.")
        return
    count = len(result.findings)
    report.print_alarm(f"{image}: not sealed, {count} findings. {result.system}")
    for part in result.unread:
        report.print_line(f"  not looked into: {part}")
    last = None
    for finding in result.findings:
        if finding.row is not last:
            row = last = finding.row
            report.print_line()
            report.print_line(f"{row.severity.value}  {row.name}: {row.what}")
            report.print_paragraph(row.why, "    why: ")
            report.print_paragraph(finding.mend, "    mend: ")
        report.print_line(f"    {f'/{finding.path}: ' if finding.path else ''}{finding.seen}")
