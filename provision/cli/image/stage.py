"""`rackseed image stage`: make an image ready for `install: image`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from provision.cli import report
from provision.cli.image.progress import Progress
from provision.cli.options import JsonOption

MIB = 1 << 20


def stage(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="A qcow2 or raw image.")],
    artifacts: Annotated[
        Path, typer.Argument(metavar="ARTIFACTS", help="The folder that the inventory names so.")
    ],
    seed: Annotated[
        bool,
        typer.Option(
            "--seed/--no-seed",
            help="Give its cloud-init name, people and links; --no-seed for an image without it.",
        ),
    ] = True,
    force_unsealed: Annotated[
        bool,
        typer.Option("--force-unsealed", help="Although its seal report has findings."),
    ] = False,
    as_json: JsonOption = False,
) -> int:
    """Make an image ready to be written by machines: raw, packed with zstd, described.

    Roles of `install: image` name the file that it makes. With a seed their hosts know who they
    are at the first boot, and tell when they are up; that makes them active.

    Example:
      rackseed image stage images/debian-12.qcow2 artifacts
    """
    from imagebuild import glance_file
    from imagebuild import stage as staging

    file = glance_file.read(image)
    if force_unsealed:
        report.show_warning(f"{image}: its seal report is not asked (--force-unsealed)")
    else:
        glance_file.require_sealed(file)
        if not file.sealed:
            report.show_warning(f"{image}: no report says that it is sealed")
    tell = Progress()
    try:
        made = staging.stage(image, artifacts, seed=seed, tell=tell.done)
    finally:
        tell.end()
    known = staging.read_beside(made)
    assert known is not None
    if as_json:
        report.print_json({"path": made, **asdict(known)})
    else:
        report.print_good(f"{made}: {known.size / MIB:,.0f} MiB, {known.raw_size / MIB:,.0f} raw")
        report.print_line(f"name it in a role:  install: image, image: {made.name}")
    return report.ExitStatus.DONE
