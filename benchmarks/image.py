"""Building Debian 12 as a cloud image: rackseed beside diskimage-builder and mkosi, in one run.

usage: python benchmarks/image.py [--contenders NAME,...] [--folder DIR] [--mirror URL]

rackseed    `build-image debian-12`: cold with nothing kept, warm after that; UEFI with Secure Boot
            and BIOS, sealed and verified; qcow2 in zstd as the recipe says, and once in zlib
plain       disk-image-create with the stock elements `debian`, `vm`, `cloud-init-datasources` and a
            GPT for BIOS, as its manual says; cold, and warm with its own caches kept; qcow2 in zlib
mkosi       its own Debian 12 with the same packages, as a raw disk, packed by qemu-img

Wall time, processor time of all that a build starts, and the file's size. Where the kernel has no
device mapper, plain diskimage-builder makes its partitions by our nodes, else it could not run.
Every contender works in namespaces of its own, in memory as far as it does so by itself.
Needs root; mkosi is left out where it is not installed.
"""

import argparse
import os
import resource
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rich.console import Console
from rich.table import Table

from imagebuild.build import Way, build_image
from imagebuild.disks import LOOP, PARTITIONS, ROOT
from imagebuild.hostapt import host_mirror
from imagebuild.machine import this_machine
from imagebuild.plan import PACKAGE, PROGRAMS, Machine, Settings
from imagebuild.recipe import Compression
from imagebuild.recipes import load_recipe
from imagebuild.running import Programs
from provision.run import run, start

MEGABYTE = 1_000_000
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PLAIN_ELEMENTS = ("vm", "block-device-gpt", "cloud-init-datasources", "debian")
BIOS_PARTITION = "      - name: BSP\n        type: 'EF02'\n        size: 8MiB\n"


@dataclass(frozen=True, slots=True)
class Row:
    """One build."""

    name: str
    wall: float
    cpu: float
    size: int


def timed(name: str, build: Callable[[], Path]) -> Row:
    """Run one build and measure it."""
    os.sync()
    before, began = used(), time.monotonic()
    path = build()
    return Row(name, time.monotonic() - began, used() - before, path.stat().st_size)


def used() -> float:
    """Processor seconds of this process and its ended children."""
    both = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in both)


def rackseed(folder: Path, mirror: str, machine: Machine) -> list[Row]:
    """Cold, warm, and warm in zlib."""
    settings = Settings(folder / "out", folder / "cache", folder, mirror=mirror)
    zlib = replace(settings, compression=Compression.ZLIB)
    recipe = load_recipe("debian-12")

    def build(chosen: Settings) -> Callable[[], Path]:
        return lambda: build_image(recipe, Way(chosen, machine, Programs(run, start))).path

    return [
        timed("rackseed, cold", build(settings)),
        timed("rackseed, warm", build(settings)),
        timed("rackseed, warm, zlib", build(zlib)),
    ]


def plain(folder: Path, mirror: str, machine: Machine) -> list[Row]:
    """diskimage-builder as its manual says, and again with its caches."""
    return [
        timed(name, lambda: plain_build(folder, mirror, machine))
        for name in ("diskimage-builder, cold", "diskimage-builder, warm")
    ]


def plain_build(folder: Path, mirror: str, machine: Machine) -> Path:
    """One call of disk-image-create."""
    env = {
        "PATH": f"{PROGRAMS}:{machine.programs}:{PATH}",
        "HOME": str(folder / "home"),
        "USER": "root",
        "LANG": "C.UTF-8",
        "DEBIAN_FRONTEND": "noninteractive",
        "DIB_RELEASE": "bookworm",
        "DIB_DISTRIBUTION_MIRROR": mirror,
        "DIB_DEBIAN_SECURITY_MIRROR": host_mirror("debian", "security") or f"{mirror}-security",
        "DIB_CLOUD_INIT_DATASOURCES": "ConfigDrive, OpenStack, NoCloud",
        "DIB_DEBOOTSTRAP_CACHE": "1",
        "DIB_DEBIAN_USE_DEBOOTSTRAP_CACHE": "1",
        "DIB_PYTHON_EXEC": str(machine.programs / "python"),
    }
    if not machine.device_mapper:
        parts = PARTITIONS.format(node="rackseed_partitions", label="gpt") + BIOS_PARTITION
        root = ROOT.format(kind="type: '8300'", filesystem="ext4")
        env["DIB_BLOCK_DEVICE_CONFIG"] = LOOP + parts + root
    (folder / "home").mkdir(parents=True, exist_ok=True)
    name = folder / "plain"
    call = [str(machine.programs / "disk-image-create"), "-a", "amd64", "-t", "qcow2"]
    call += ["-o", str(name), *PLAIN_ELEMENTS]
    in_namespaces(folder, [shlex.join(["env", "-i", *(f"{k}={v}" for k, v in env.items()), *call])])
    return name.with_suffix(".qcow2")


def mkosi(folder: Path, mirror: str, machine: Machine) -> list[Row]:
    """mkosi, and qemu-img for what it does not do."""
    return [
        timed(name, lambda: mkosi_build(folder, mirror)) for name in ("mkosi, cold", "mkosi, warm")
    ]


MKOSI_PACKAGES = (
    "linux-image-amd64,systemd,systemd-sysv,udev,dbus,openssh-server,cloud-init,"
    "cloud-guest-utils,netplan.io,sudo,grub-pc-bin,less,curl,rsync,bash-completion"
)


def mkosi_build(folder: Path, mirror: str) -> Path:
    """One call of mkosi (14 and newer) and one of qemu-img."""
    (folder / "cache").mkdir(parents=True, exist_ok=True)
    call = ["mkosi", "--force", "--distribution", "debian", "--release", "bookworm"]
    call += ["--format", "disk" if newer_mkosi() else "gpt_ext4", "--bootable"]
    call += ["--mirror", mirror]
    call += ["--package", MKOSI_PACKAGES, "--output-dir", str(folder)]
    call += ["--output", "mkosi.raw", "--cache-dir", str(folder / "cache")]
    raw, packed = folder / "mkosi.raw", folder / "mkosi.qcow2"
    convert = ["qemu-img", "convert", "-c", "-O", "qcow2", str(raw), str(packed)]
    in_namespaces(folder, [shlex.join(call), shlex.join(convert)], shared_devices=True)
    return packed


def newer_mkosi() -> bool:
    """Whether it calls a GPT image `disk`."""
    words = run(["mkosi", "--version"]).split()
    return int(words[-1].split(".")[0].split("~")[0]) >= 15


def in_namespaces(folder: Path, lines: Sequence[str], *, shared_devices: bool = False) -> None:
    """Run shell lines as our builds run, but with syncs and the contender's own memory use."""
    job = folder / "job.sh"
    job.write_text("set -eu\n" + "\n".join(lines) + "\n", encoding="utf-8")
    log = folder / "log"
    devices = "shared" if shared_devices else "private"
    call = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"]
    call += ["--mount-proc", "/bin/sh", str(PACKAGE / "enter.sh"), str(folder), "0", devices]
    child = start([*call, str(job)], stdout=log, stderr=log)
    try:
        status = child.wait()
    finally:
        child.stop()
    if status:
        tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-8:]
        sys.exit("\n".join([f"status {status}, see {log}:", *tail]))


CONTENDERS: dict[str, Callable[[Path, str | None, Machine], list[Row]]] = {
    "rackseed": rackseed,
    "plain": plain,
    "mkosi": mkosi,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--contenders", default="rackseed,plain,mkosi")
    parser.add_argument("--folder", type=Path, help="for caches and images; else a temporary one")
    parser.add_argument("--mirror", default=host_mirror("debian"), help="of Debian; else apt's own")
    options = parser.parse_args()
    if not options.mirror:
        parser.error("apt has no mirror of Debian here, name one: --mirror URL")
    top = options.folder or Path(tempfile.mkdtemp(prefix="rackseed-bench-"))
    machine = this_machine(run)
    table = Table(box=None, header_style="bold")
    table.add_column("Debian 12")
    for column in ("wall s", "cpu s", "MB"):
        table.add_column(column, justify="right")
    rows: list[Row] = []
    try:
        for name in options.contenders.split(","):
            if name == "mkosi" and not shutil.which("mkosi"):
                print("mkosi is not installed: left out", file=sys.stderr)
                continue
            folder = top / name
            folder.mkdir(parents=True, exist_ok=True)
            for row in CONTENDERS[name](folder, options.mirror, machine):
                print(f"{row.name}: {row.wall:.0f} s, {row.cpu:.0f} s cpu", file=sys.stderr)
                rows.append(row)
    finally:
        if not options.folder:
            shutil.rmtree(top, ignore_errors=True)
    for row in rows:
        table.add_row(row.name, f"{row.wall:.0f}", f"{row.cpu:.0f}", f"{row.size / MEGABYTE:.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
