"""What this machine has for a build: memory, cores, device mapper, vfat, tools."""

import os
import shutil
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from imagebuild.errors import ToolMissing
from imagebuild.plan import Machine
from imagebuild.recipe import Recipe
from imagebuild.running import Run
from imagebuild.systems import Packaging

DEVICE_MAPPER = "/dev/mapper/control"
MODULES = ("dm_mod", "vfat", "loop")
PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy")

TOOLS: Mapping[str, str] = {
    "unshare": "util-linux",
    "losetup": "util-linux (or mount)",
    "fstrim": "util-linux",
    "qemu-img": "qemu-utils on Debian, qemu-img on Fedora",
    "mkfs.ext4": "e2fsprogs",
    "tar": "tar",
    "zstd": "zstd",
}
"""What every build calls, and the package that has it."""
GPT_TOOLS: Mapping[str, str] = {"sgdisk": "gdisk", "mkfs.vfat": "dosfstools"}
PLUGIN_TOOLS: Mapping[str, str] = {"partx": "util-linux", "mcopy": "mtools"}
STOCK_TOOLS: Mapping[str, str] = {"kpartx": "kpartx"}
PACKAGING_TOOLS: Mapping[Packaging, Mapping[str, str]] = {
    Packaging.DEB: {"debootstrap": "debootstrap", "dpkg-deb": "dpkg"},
    Packaging.RPM: {"dnf": "dnf", "rpm": "rpm"},
}


def this_machine(run: Run | None = None) -> Machine:
    """What is here now. With `run`, kernel modules that a build may want are loaded first."""
    if run is not None and os.geteuid() == 0 and shutil.which("modprobe"):
        for module in MODULES:
            with suppress(Exception):  # the probes below tell what counts
                run(["modprobe", "--quiet", module])
    return Machine(
        programs=Path(sys.executable).parent,
        available=available_memory(),
        cores=len(os.sched_getaffinity(0)),
        device_mapper=has_device_mapper(),
        vfat="vfat" in file_systems(),
        proxies=tuple((name, os.environ[name]) for name in PROXIES if os.environ.get(name)),
    )


def check_tools(recipe: Recipe, machine: Machine) -> None:
    """Raises ToolMissing naming every program that a build of this recipe would miss."""
    stock = machine.device_mapper and machine.vfat
    wanted = {
        **TOOLS,
        **GPT_TOOLS,
        **PACKAGING_TOOLS[recipe.system.packaging],
        **(STOCK_TOOLS if stock else PLUGIN_TOOLS),
    }
    absent = [
        f"{tool} (package {package})"
        for tool, package in wanted.items()
        if not shutil.which(tool, path=machine.path)
    ]
    if not (machine.programs / "disk-image-create").exists():
        absent.append("disk-image-create (diskimage-builder, beside this program)")
    if absent:
        error = ToolMissing(f"{recipe.name} cannot be built here without {', '.join(absent)}")
        error.add_note("bin/setup image installs all of them")
        raise error
    if os.geteuid() != 0:
        error = ToolMissing("building an image needs root: it mounts file systems")
        error.add_note("sudo build-image …; --dry-run, --list and --show need no root")
        raise error


def available_memory() -> int:
    """MiB that programs can take without swapping; 0 where the kernel does not say."""
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) >> 10
    return 0


def has_device_mapper() -> bool:
    """Whether device mapper answers; its node may be there without it."""
    try:
        os.close(os.open(DEVICE_MAPPER, os.O_RDWR))
    except OSError:
        return False
    return True


def file_systems() -> set[str]:
    """What the kernel can mount."""
    with suppress(OSError):
        lines = Path("/proc/filesystems").read_text(encoding="ascii").splitlines()
        return {line.split()[-1] for line in lines if line.strip()}
    return set()
