"""`rackseed ramdisk`: build the inspection ramdisk and tell what it is made of."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from provision.cli import report
from provision.cli.options import JsonOption


def ramdisk(
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FOLDER", help="Where vmlinuz and initrd.img go."),
    ] = Path("ramdisk"),
    as_json: JsonOption = False,
) -> int:
    """Build the ramdisk that inspects machines and writes images, and tell what is inside.

    It is made of this machine's own kernel and busybox, needs neither root nor the network, and
    is built again only when one of them changed. `rackseed serve` does the same by itself.

    Example:
      rackseed ramdisk --output /srv/boot/ramdisk
    """
    from provision.hardware import size
    from pxe.ramdisk.build import build, find_busybox
    from pxe.ramdisk.kernel import find_kernel

    made = build(find_kernel(), find_busybox(), output)
    if as_json:
        report.print_json(asdict(made))
        return report.ExitStatus.DONE
    packed = f"{made.method}, {size(made.unpacked_size)} unpacked"
    report.print_line(f"kernel    {made.kernel}  {size(made.kernel_size)}, {made.version}")
    report.print_line(f"initrd    {made.initrd}  {size(made.initrd_size)}, {packed}")
    report.print_paragraph(" ".join(made.drivers), "modules   ")
    report.print_line(f"built in  {' '.join(made.builtin) or 'none'}")
    report.print_line(f"absent    {' '.join(made.absent) or 'none'}")
    report.print_line(f"firmware  {' '.join(made.firmware) or 'none'}")
    return report.ExitStatus.DONE
