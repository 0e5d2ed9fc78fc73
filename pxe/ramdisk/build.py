"""Make the kernel and initrd pair from what the distribution installed: no root, no download."""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from pxe.errors import MissingProgram
from pxe.ramdisk import compression, cpio, elf, modules
from pxe.ramdisk.cpio import Entry
from pxe.ramdisk.kernel import KernelTree, readable

FORMAT = 1
"""Raised when the same inputs are to give another ramdisk."""

BUSYBOX = (Path("/bin/busybox"), Path("/usr/sbin/busybox"), Path("/sbin/busybox"))
"""Where busybox-static (Debian, Ubuntu) and busybox (Fedora, EL) put it."""

ZSTD = Path("/usr/bin/zstd")
"""Taken along with its libraries, if installed, for images compressed with it."""

SFDISK = Path("/usr/sbin/sfdisk")
"""Taken along likewise, for images that get a seed: a partition more."""

_KERNEL, _INITRD, _MADE_OF = "vmlinuz", "initrd.img", "ramdisk.json"
_FIRMWARE_NAME = re.compile(rb"\0firmware=([^\0]+)")
_SCRIPTS = ("common.sh", "hardware.sh", "image.sh", "lease.sh")
_FOLDERS = ("dev", "proc", "sys", "run", "tmp", "root", "etc", "sbin", "mnt")


@dataclass(frozen=True, slots=True)
class Ramdisk:
    """A kernel and its initrd, and what they are made of. Sizes are in bytes."""

    kernel: Path
    initrd: Path
    version: str
    kernel_size: int
    initrd_size: int
    unpacked_size: int
    method: str
    """How the initrd is compressed: `zstd` or `gzip`."""
    drivers: tuple[str, ...]
    """Every module inside, in load order."""
    builtin: tuple[str, ...]
    """Wanted drivers that the kernel has built in."""
    absent: tuple[str, ...]
    """Wanted, not required, and not in this kernel."""
    firmware: tuple[str, ...]
    """Firmware files inside, as drivers name them."""


def find_busybox(candidates: Iterable[Path] = BUSYBOX) -> Path:
    """The installed, statically linked busybox.

    Raises MissingProgram when there is none; the message names the package.
    """
    found = [path for path in candidates if path.is_file()]
    for path in found:
        if elf.is_static(path.read_bytes()):
            return path
    what = f"{found[0]} is linked dynamically" if found else "no busybox"
    error = MissingProgram(f"{what}: the ramdisk needs a statically linked one")
    error.add_note("install busybox-static (Debian, Ubuntu) or busybox (Fedora, EL)")
    raise error


def build(
    tree: KernelTree,
    busybox: Path,
    output: Path,
    *,
    zstd: Path | None = ZSTD,
    sfdisk: Path | None = SFDISK,
) -> Ramdisk:
    """Write `vmlinuz` and `initrd.img` into `output`, unless they are there from the same inputs.

    Without `zstd` or `sfdisk`, or where it is not installed, images compressed with it, or that
    get a seed, cannot be written.

    Raises MissingProgram when an input may not be read.
    """
    names = modules.closure(tree.index, (*modules.REQUIRED, *modules.WANTED))
    tools = dict(_tools(zstd, sfdisk))
    key = _key(tree, busybox, names, tools)
    if (made := _made_before(output, key)) is not None:
        return made
    loaded = {name: compression.read(tree.modules / tree.index.files[name]) for name in names}
    firmware = dict(_firmware(tree.firmware, loaded.values()))
    programs = {"bin/busybox": readable(busybox)} | tools
    whole = cpio.archive(_entries(tree, programs, loaded, firmware))
    packed, method = compression.compress(whole, tree.config)
    kernel = readable(tree.image)
    output.mkdir(parents=True, exist_ok=True)
    made_of = Ramdisk(
        kernel=output / _KERNEL,
        initrd=output / _INITRD,
        version=tree.version,
        kernel_size=len(kernel),
        initrd_size=len(packed),
        unpacked_size=len(whole),
        method=method,
        drivers=names,
        builtin=tuple(n for n in modules.REQUIRED + modules.WANTED if n in tree.index.builtin),
        absent=modules.missing(tree.index, modules.WANTED),
        firmware=tuple(sorted(firmware)),
    )
    (output / _MADE_OF).unlink(missing_ok=True)
    _replace(made_of.initrd, packed)
    _replace(made_of.kernel, kernel)
    _replace(output / _MADE_OF, _described(made_of, key))
    return made_of


def _entries(
    tree: KernelTree,
    programs: Mapping[str, bytes],
    loaded: Mapping[str, bytes],
    firmware: Mapping[str, bytes],
) -> Iterator[Entry]:
    scripts = files("pxe.ramdisk") / "scripts"
    yield from (cpio.folder(name) for name in _FOLDERS)
    yield cpio.character_device("dev/console", 5, 1)
    for name, data in programs.items():
        yield cpio.file(name, data, executable=True)
    yield cpio.link("bin/sh", "busybox")
    yield cpio.link("sbin/modprobe", "../bin/busybox")
    yield cpio.file("init", (scripts / "init.sh").read_bytes(), executable=True)
    for name in _SCRIPTS:
        data = (scripts / name).read_bytes()
        yield cpio.file(f"lib/rackseed/{name}", data, executable=True)
    base = f"lib/modules/{tree.version}"
    paths = {name: compression.plain_name(tree.index.files[name]) for name in loaded}
    for name, data in loaded.items():
        yield cpio.file(f"{base}/{paths[name]}", data)
    yield cpio.file(f"{base}/modules.dep", modules.render_dep(tree.index, loaded, paths).encode())
    yield cpio.file(f"{base}/modules.alias", modules.render_alias(tree.index, loaded).encode())
    for name, data in firmware.items():
        yield cpio.file(f"lib/firmware/{name}", data)


def _tools(*programs: Path | None) -> Iterator[tuple[str, bytes]]:
    """Those that are installed, with their libraries; sbin holds busybox's own programs."""
    for program in programs:
        if program is not None and program.is_file():
            yield from elf.with_libraries(program).items()


def _firmware(folder: Path, programs: Iterable[bytes]) -> Iterator[tuple[str, bytes]]:
    """The firmware files that modules name in their `.modinfo` and that are installed."""
    wanted = {match.decode() for data in programs for match in _FIRMWARE_NAME.findall(data)}
    for name in sorted(wanted):
        for suffix in ("", ".xz", ".zst"):
            path = folder / f"{name}{suffix}"
            if path.is_file():
                yield name, compression.read(path)
                break


def _key(tree: KernelTree, busybox: Path, names: Iterable[str], tools: Mapping[str, bytes]) -> str:
    """Changes whenever the result may: file stamps for the big inputs, content for our own."""
    digest = hashlib.sha256(f"{FORMAT} {tree.version}".encode())
    stamped = [tree.image, busybox, *sorted(tree.firmware.rglob("*"))]
    stamped += [tree.modules / tree.index.files[name] for name in names]
    for path in stamped:
        stamp = path.stat() if path.exists() else None
        digest.update(f"{path} {stamp and (stamp.st_size, stamp.st_mtime_ns)}\n".encode())
    for name, data in tools.items():
        digest.update(f"{name} {len(data)} ".encode() + hashlib.sha256(data).digest())
    for name in ("init.sh", *_SCRIPTS):
        digest.update((files("pxe.ramdisk") / "scripts" / name).read_bytes())
    return digest.hexdigest()


def _described(ramdisk: Ramdisk, key: str) -> bytes:
    facts = asdict(ramdisk) | {"kernel": ramdisk.kernel.name, "initrd": ramdisk.initrd.name}
    return json.dumps({"key": key, "ramdisk": facts}, indent=1).encode()


def _made_before(output: Path, key: str) -> Ramdisk | None:
    try:
        document = json.loads((output / _MADE_OF).read_bytes())
        if document["key"] != key:
            return None
        lists = ("drivers", "builtin", "absent", "firmware")
        facts: dict[str, Any] = {
            k: tuple(v) if k in lists else v for k, v in document["ramdisk"].items()
        }
        made = Ramdisk(**(facts | {"kernel": output / _KERNEL, "initrd": output / _INITRD}))
        sizes = (made.kernel.stat().st_size, made.initrd.stat().st_size)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return made if sizes == (made.kernel_size, made.initrd_size) else None


def _replace(path: Path, data: bytes) -> None:
    """Readers see the old file or the new one, never a part, also after a power cut."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
