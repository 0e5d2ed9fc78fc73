"""Find the distribution's own kernel: signed as installed, with its modules."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pxe.errors import MissingProgram
from pxe.ramdisk import modules
from pxe.ramdisk.modules import ModuleIndex

_PACKAGES = "linux-image-amd64 (Debian), linux-image-generic (Ubuntu) or kernel (Fedora, EL)"


@dataclass(frozen=True, slots=True)
class KernelTree:
    """One installed kernel."""

    version: str
    image: Path
    """The vmlinuz file, never changed: its signature is what Secure Boot trusts."""
    modules: Path
    """/lib/modules/VERSION."""
    index: ModuleIndex
    config: frozenset[str]
    """The options that are built in, such as `CONFIG_RD_ZSTD`; empty when not installed."""
    firmware: Path
    """/lib/firmware; need not exist."""


def find_kernel(root: Path = Path("/")) -> KernelTree:
    """The newest kernel below `root` that has every required driver.

    Raises MissingProgram when there is none; the message names the package to install.
    """
    trees = sorted(_installed(root), key=lambda tree: _sort_key(tree.version), reverse=True)
    if not trees:
        raise _error(
            f"no kernel with its modules below {root}",
            f"install {_PACKAGES}",
        )
    lacks = {tree.version: modules.missing(tree.index) for tree in trees}
    for tree in trees:
        if not lacks[tree.version]:
            return tree
    best = min(trees, key=lambda tree: len(lacks[tree.version]))
    raise _error(
        f"kernel {best.version} has no driver {', '.join(lacks[best.version])}",
        f"install {_PACKAGES}, and kernel-modules where that is a package of its own; "
        "kernels for clouds lack the drivers of real servers",
    )


def readable(path: Path) -> bytes:
    """The content of a kernel or module.

    Raises MissingProgram when the file is not for us to read, as /boot/vmlinuz on Ubuntu.
    """
    try:
        return path.read_bytes()
    except PermissionError as refused:
        raise _error(
            f"{path} may not be read", f"run as root, or: sudo chmod a+r {path}"
        ) from refused


def _installed(root: Path) -> Iterator[KernelTree]:
    seen: set[Path] = set()
    for base in (root / "lib/modules", root / "usr/lib/modules"):
        for folder in sorted(base.glob("*")) if base.is_dir() else ():
            if folder.resolve() in seen or not (folder / "modules.dep").is_file():
                continue
            seen.add(folder.resolve())
            image = _first(root / f"boot/vmlinuz-{folder.name}", folder / "vmlinuz")
            if image is not None:
                yield KernelTree(
                    version=folder.name,
                    image=image,
                    modules=folder,
                    index=modules.read(folder),
                    config=_config(_first(root / f"boot/config-{folder.name}", folder / "config")),
                    firmware=root / "lib/firmware",
                )


def _first(*paths: Path) -> Path | None:
    return next((path for path in paths if path.is_file()), None)


def _config(path: Path | None) -> frozenset[str]:
    if path is None:
        return frozenset()
    lines = path.read_text(errors="replace").splitlines()
    return frozenset(line.removesuffix("=y") for line in lines if line.endswith("=y"))


def _sort_key(version: str) -> tuple[tuple[int, str], ...]:
    """6.1.0-56 is newer than 6.1.0-9: numbers compare as numbers."""
    parts = re.findall(r"\d+|[^\d]+", version)
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in parts)


def _error(message: str, hint: str) -> MissingProgram:
    error = MissingProgram(message)
    error.add_note(hint)
    return error
