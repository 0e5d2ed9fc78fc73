"""Building Debian 12 as a cloud image: rackseed beside diskimage-builder and mkosi, in one run.

usage: python benchmarks/image.py [--contenders NAME,...] [--folder DIR] [--mirror URL]

rackseed    `build-image debian-12`: UEFI with Secure Boot and BIOS, sealed and verified, bill of
            materials and provenance, not booted; qcow2 in zstd as the recipe says, and in zlib
plain       disk-image-create with the same elements of its own (`debian`, `vm`,
            `cloud-init-datasources`, no `base`) and a GPT for BIOS, as its manual says; zlib
mkosi       a Debian 12 with the very packages that rackseed's image has, UEFI with Secure Boot;
            its raw disk packed by qemu-img, which it does not do, in zlib

cold        nothing is kept: no root, no system, no package, no index. What a first build keeps for
            the next by itself is part of its time
warm        what was kept is taken: rackseed's system layer; diskimage-builder's packages and, put
            there between the two by its own hook, its first root; mkosi's packages, and its image
            after packages were installed (Incremental=). The mirror is asked by all of them

Wall time, processor time of all that a build starts, the file's size, the packages in it. Where
the kernel has no device mapper, plain diskimage-builder makes its partitions by our nodes, else it
could not run. Each contender works in namespaces of its own, in memory as far as it does so by
itself. mkosi is left out where it is not in PATH; its tools come from its own tools tree (Debian
13), made before it is measured, for it needs newer ones than Debian 12 has.
"""

import argparse
import os
import resource
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rich.console import Console
from rich.table import Table

from imagebuild.build import Way, build_image
from imagebuild.errors import ImageError
from imagebuild.evidence import read_contents
from imagebuild.hostapt import host_mirror
from imagebuild.layers import STOCK_ELEMENTS
from imagebuild.machine import this_machine
from imagebuild.plan import PACKAGE, PROGRAMS, Machine, Settings
from imagebuild.recipe import Compression
from imagebuild.recipes import load_recipe
from imagebuild.running import Programs
from provision.run import run, start

MEGABYTE = 1_000_000
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
RECIPE = "debian-12"
PLAIN_ELEMENTS = ("vm", "block-device-gpt", "cloud-init-datasources", "debian")
PLAIN_DISK = """\
- local_loop:
    name: image0
- rackseed_partitions:
    base: image0
    label: gpt
    partitions:
      - name: BSP
        type: 'EF02'
        size: 8MiB
      - name: root
        type: '8300'
        size: 100%
        mkfs:
          type: ext4
          mount:
            mount_point: /
            fstab:
              options: "defaults"
              fsck-passno: 1
"""
"""What its `block-device-gpt` says, but for the node that makes partitions."""


class Failed(Exception):
    """A contender's build failed."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one contender works, and from what."""

    folder: Path
    mirror: str
    machine: Machine
    packages: Sequence[str]
    """What rackseed's image has; empty where it was not built."""

    @property
    def security(self) -> str:
        """The mirror of security updates."""
        return host_mirror("debian", "security") or f"{self.mirror}-security"

    def run(self, *lines: str) -> None:
        """Run shell lines as our builds run, but with syncs and the contender's own memory use.

        Raises Failed.
        """
        job = self.folder / "job.sh"
        job.write_text("\n".join(["set -eu", *lines, ""]), encoding="utf-8")
        log = self.folder / "log"
        devices = "shared" if self.machine.device_mapper else "private"
        call = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"]
        call += ["--mount-proc", "/bin/sh", str(PACKAGE / "enter.sh"), str(self.folder)]
        child = start([*call, "0", devices, str(job)], stdout=log, stderr=log)
        try:
            status = child.wait()
        finally:
            child.stop()
        if status:
            tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-8:]
            raise Failed("\n".join([f"status {status}, the end of {log}:", *tail]))


@dataclass(frozen=True, slots=True)
class Row:
    """One build."""

    name: str
    wall: float
    cpu: float
    size: int
    packages: Sequence[str]


def timed(name: str, build: Callable[[], Path]) -> Row:
    """Run one build, measure it, tell it."""
    os.sync()
    before, began = used(), time.monotonic()
    path = build()
    wall, cpu = time.monotonic() - began, used() - before
    print(f"{name}: {wall:.0f} s, {cpu:.0f} s cpu", file=sys.stderr)
    packages = [one.name for one in read_contents(path).packages]
    return Row(name, wall, cpu, path.stat().st_size, packages)


def used() -> float:
    """Processor seconds of this process and its ended children."""
    both = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in both)


def rackseed(place: Place) -> Iterator[Row]:
    """Cold and warm as the recipe says, and the same in zlib."""
    recipe = load_recipe(RECIPE)

    def build(kind: Compression | None) -> Callable[[], Path]:
        folder = place.folder / (kind.value if kind else "recipe")
        settings = Settings(folder / "out", folder / "cache", folder, mirror=place.mirror)
        settings = replace(settings, security_mirror=place.security, compression=kind)
        return lambda: (
            build_image(
                recipe, Way(settings, place.machine, Programs(run, start), proof=False)
            ).path
        )

    for kind, ending in ((None, ""), (Compression.ZLIB, ", zlib")):
        yield timed(f"rackseed, cold{ending}", build(kind))
        yield timed(f"rackseed, warm{ending}", build(kind))


def plain(place: Place) -> Iterator[Row]:
    """diskimage-builder as its manual says, and again with all that it can keep."""
    env = plain_environment(place)
    create = [str(place.machine.programs / "disk-image-create"), "-n", "-a", "amd64", "-t", "qcow2"]
    create += ["-o", str(place.folder / "plain"), *PLAIN_ELEMENTS]

    def build(more: Mapping[str, str]) -> Callable[[], Path]:
        def once() -> Path:
            place.run(with_environment({**env, **more}, create))
            return place.folder / "plain.qcow2"

        return once

    yield timed("diskimage-builder, cold", build({}))
    keep_first_root(place, env)
    yield timed("diskimage-builder, warm", build({"DIB_DEBIAN_USE_DEBOOTSTRAP_CACHE": "1"}))


def plain_environment(place: Place) -> dict[str, str]:
    """What diskimage-builder is told."""
    machine, home = place.machine, place.folder / "home"
    home.mkdir()
    env = {
        "PATH": f"{PROGRAMS}:{machine.programs}:{PATH}",
        "HOME": str(home),
        "USER": "root",
        "LANG": "C.UTF-8",
        "DEBIAN_FRONTEND": "noninteractive",
        "DIB_RELEASE": "bookworm",
        "DIB_DISTRIBUTION_MIRROR": place.mirror,
        "DIB_DEBIAN_SECURITY_MIRROR": place.security,
        "DIB_CLOUD_INIT_DATASOURCES": "ConfigDrive, OpenStack, NoCloud",
        "DIB_PYTHON_EXEC": str(machine.programs / "python"),
        "DIB_IMAGE_CACHE": str(home / ".cache/image-create"),
    }
    if not machine.device_mapper:
        env["DIB_BLOCK_DEVICE_CONFIG"] = PLAIN_DISK
    return env


def keep_first_root(place: Place, env: Mapping[str, str]) -> None:
    """Have diskimage-builder's own hook make the archive that its next build takes."""
    root = place.folder / "root"
    root.mkdir()
    more = {
        "DISTRO_NAME": "debian",
        "ARCH": "amd64",
        "TARGET_ROOT": str(root),
        "DIB_OFFLINE": "",
        "DIB_DEBUG_TRACE": "0",
        "DIB_DEBOOTSTRAP_CACHE": "1",
    }
    hook = STOCK_ELEMENTS / "debootstrap" / "root.d" / "08-debootstrap"
    place.run(with_environment({**env, **more}, ["bash", str(hook)]))
    shutil.rmtree(root)


MKOSI = """\
[Distribution]
Distribution=debian
Release=bookworm

[Output]
Format=disk
Output=mkosi
OutputDirectory={folder}/out

[Content]
Bootable=yes
Bootloader=grub-signed
ShimBootloader=signed
Packages={packages}

[Build]
BuildSources=
Incremental=yes
CacheDirectory={folder}/cache
PackageCacheDirectory={folder}/packages
WorkspaceDirectory={folder}/work
SandboxTrees={folder}/bookworm
ToolsTree=yes
ToolsTreeDistribution=debian
ToolsTreeRelease=trixie
ToolsTreeSandboxTrees={folder}/trixie
ToolsTreeProfiles=
"""

SOURCES = """\
Types: deb
URIs: {mirror}
Suites: {release}
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: {security}
Suites: {release}-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""


def mkosi(place: Place) -> Iterator[Row]:
    """mkosi, and qemu-img for what it does not do."""
    if not place.packages:
        raise Failed("it gets the packages of rackseed's image, expected rackseed before it")
    folder = place.folder
    words = ",".join(sorted(set(place.packages)))
    config = MKOSI.format(folder=folder, packages=words)
    (folder / "mkosi.conf").write_text(config, encoding="utf-8")
    for release in ("bookworm", "trixie"):
        sources = folder / release / "etc/apt/sources.list.d/mkosi.sources"
        sources.parent.mkdir(parents=True)
        text = SOURCES.format(mirror=place.mirror, security=place.security, release=release)
        sources.write_text(text, encoding="utf-8")
    for name in ("out", "cache", "packages", "work", "home"):
        (folder / name).mkdir()
    call = [shutil.which("mkosi") or "mkosi", "--directory", str(folder), "--force"]
    env = {"PATH": PATH, "HOME": str(folder / "home"), "LANG": "C.UTF-8"}
    packed = folder / "mkosi.qcow2"
    convert = ["qemu-img", "convert", "-c", "-O", "qcow2", f"{folder}/out/mkosi.raw", str(packed)]

    def build() -> Path:
        place.run(with_environment(env, call), shlex.join(convert))
        return packed

    place.run(with_environment(env, [*call, "box", "--", "true"]))
    forget(folder / "packages")
    yield timed("mkosi, cold", build)
    yield timed("mkosi, warm", build)


def forget(folder: Path) -> None:
    """Leave a folder empty: its packages were for the tools."""
    shutil.rmtree(folder)
    folder.mkdir()


def with_environment(env: Mapping[str, str], call: Sequence[str]) -> str:
    """A line for the shell that starts a program with this environment alone."""
    return shlex.join(["env", "-i", *(f"{name}={value}" for name, value in env.items()), *call])


CONTENDERS: dict[str, Callable[[Place], Iterator[Row]]] = {
    "rackseed": rackseed,
    "plain": plain,
    "mkosi": mkosi,
}


def main() -> int:
    """Measure and print the table; 1 where a contender failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--contenders", default=",".join(CONTENDERS))
    parser.add_argument("--folder", type=Path, help="for caches and images; else a temporary one")
    parser.add_argument("--mirror", default=host_mirror("debian"), help="of Debian; else apt's own")
    options = parser.parse_args()
    names = options.contenders.split(",")
    if unknown := set(names) - set(CONTENDERS):
        parser.error(f"unknown: {', '.join(unknown)}, expected some of {', '.join(CONTENDERS)}")
    if not options.mirror:
        parser.error("apt has no mirror of Debian here, name one: --mirror URL")
    if options.folder and any((options.folder / name).exists() for name in names):
        parser.error(f"{options.folder} is used, and a cold build finds nothing kept")
    top = options.folder or Path(tempfile.mkdtemp(prefix="rackseed-bench-", dir="/var/tmp"))
    try:
        rows, failed = run_all(names, top.absolute(), options.mirror)
    finally:
        if not options.folder:
            shutil.rmtree(top, ignore_errors=True)
    show(rows)
    return 1 if failed else 0


def run_all(names: Sequence[str], top: Path, mirror: str) -> tuple[list[Row], list[str]]:
    """The rows of every build that came to its end, and who did not."""
    machine = this_machine(run)
    rows: list[Row] = []
    failed = []
    for name in names:
        if name == "mkosi" and not shutil.which("mkosi"):
            print("mkosi is not in PATH: left out", file=sys.stderr)
            continue
        folder = top / name
        folder.mkdir(parents=True)
        packages = next((row.packages for row in rows if row.name.startswith("rackseed")), ())
        try:
            rows.extend(CONTENDERS[name](Place(folder, mirror, machine, packages)))
        except (Failed, ImageError) as error:
            failed.append(name)
            print(f"{name}: {error}", file=sys.stderr)
    return rows, failed


def show(rows: Sequence[Row]) -> None:
    """The table."""
    table = Table(box=None, header_style="bold")
    table.add_column("Debian 12")
    for column in ("wall s", "cpu s", "MB", "packages"):
        table.add_column(column, justify="right")
    for row in rows:
        figures = (f"{row.wall:.0f}", f"{row.cpu:.0f}", f"{row.size / MEGABYTE:.0f}")
        table.add_row(row.name, *figures, str(len(row.packages)))
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
