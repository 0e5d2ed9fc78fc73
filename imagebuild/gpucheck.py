"""Whether a finished image has for GPUs what its recipe promises, by its files alone."""

import fnmatch
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from imagebuild.inside import initramfs
from imagebuild.inside.errors import Unreadable
from imagebuild.inside.image import open_image
from imagebuild.inside.packed import unpacked
from imagebuild.inside.tree import Kind, Tree
from imagebuild.recipe import GpuKind, Recipe

_MODULE = re.compile(r"nvidia(-current|-tesla-\d+)?(-open)?\.ko(\.\w+)?")
"""As dkms of Debian, Ubuntu's packages and NVIDIA's own name it."""
_WEAK = "weak-updates"
"""Where EL links modules that were built for an earlier kernel with the same symbols
(weak-modules(8))."""
_NOUVEAU_OFF = re.compile(r"(?m)^\s*blacklist\s+nouveau\s*$")
_BOOT_ENTRIES = (
    *("boot/grub/grub.cfg", "boot/grub2/grub.cfg", "boot/loader/entries/*.conf"),
    "boot/grub2/grubenv",
)
"""What says how a kernel starts; not what the next of these files would be made of."""
_INITRAMFS = ("boot/initrd.img-{}", "boot/initramfs-{}.img", "boot/initrd-{}")
_RULES = ("etc/udev/rules.d", "lib/udev/rules.d")
_ENABLED = "etc/systemd/system/*.wants/nvidia-persistenced.service"


@dataclass(frozen=True, slots=True)
class Module:
    """A kernel module of NVIDIA's."""

    path: str
    version: str
    kernel: str
    """For which it was built, by its own word (vermagic)."""


def check_image(recipe: Recipe, path: Path) -> list[str]:
    """What is missing in the file of a recipe for GPUs. Raises Unreadable, OSError."""
    if recipe.gpu is None:
        return []
    with open_image(path) as image:
        return list(problems(image.tree, recipe))


def problems(tree: Tree, recipe: Recipe) -> Iterator[str]:
    """Each as a sentence."""
    found = kernels(tree)
    if not found:
        yield "there is no kernel to boot"
    if not any(_NOUVEAU_OFF.search(tree.text(path) or "") for path in _modprobe(tree)):
        yield "nouveau is not off in /etc/modprobe.d"
    if not any("modprobe.blacklist=nouveau" in text for text in _boot_entries(tree)):
        yield "nouveau is not off on the kernel's command line"
    for kernel in found:
        yield from _in_initramfs(tree, kernel)
    if recipe.gpu is GpuKind.DRIVER and recipe.nvidia_branch is not None:
        for kernel in found:
            yield from _of_driver(modules(tree, kernel), kernel, recipe.nvidia_branch)
        if not _daemon_starts(tree):
            yield "nvidia-persistenced is not enabled"


def kernels(tree: Tree) -> list[str]:
    """Those that the image can boot."""
    return [
        name
        for name in tree.names("lib/modules")
        if tree.exists(f"boot/vmlinuz-{name}") or tree.exists(f"lib/modules/{name}/vmlinuz")
    ]


def modules(tree: Tree, kernel: str) -> list[Module]:
    """NVIDIA's modules for a kernel."""
    found = []
    for path, entry in tree.walk(f"lib/modules/{kernel}"):
        name = path.rpartition("/")[2]
        if entry.kind in (Kind.FILE, Kind.LINK) and _MODULE.fullmatch(name):
            content = tree.read(path) or b""
            with suppress(Unreadable):  # then it has no words of its own
                content = unpacked(content) or content
            found.append(_module(path, content))
    return found


def _module(path: str, content: bytes) -> Module:
    """By its section .modinfo, where words end with zeros."""

    def said(key: bytes) -> str:
        word = re.search(rb"(?<=\0)" + key + rb"=([^\0]{1,200})\0", content)
        return word[1].decode(errors="replace") if word else ""

    return Module(path, said(b"version"), said(b"vermagic").partition(" ")[0])


def _of_driver(found: Sequence[Module], kernel: str, branch: int) -> Iterator[str]:
    if not found:
        yield f"there is no NVIDIA module for the kernel {kernel}"
    for module in found:
        if module.kernel != kernel and _WEAK not in module.path.split("/"):
            yield f"/{module.path} is for {module.kernel or 'no kernel'}, expected {kernel}"
        if module.version.partition(".")[0] != str(branch):
            yield f"/{module.path} is {module.version or 'of no branch'}, expected branch {branch}"


def _in_initramfs(tree: Tree, kernel: str) -> Iterator[str]:
    """nouveau may lie in it only together with the word that keeps it away."""
    path = next((p for form in _INITRAMFS if tree.exists(p := form.format(kernel))), None)
    content = tree.read(path) if path else None
    if content is None:
        yield f"there is no initramfs for the kernel {kernel}"
        return
    there, off = False, False
    try:
        for name, text in initramfs.files(content):
            there = there or fnmatch.fnmatch(name, "*/nouveau.ko*")
            if "modprobe.d/" in name:
                off = off or bool(_NOUVEAU_OFF.search(text.decode(errors="replace")))
    except Unreadable as error:
        yield f"/{path} cannot be read: {error}"
        return
    if there and not off:
        yield f"nouveau is in /{path}, and nothing there keeps it away"


def _modprobe(tree: Tree) -> list[str]:
    return tree.glob("etc/modprobe.d/*.conf")


def _boot_entries(tree: Tree) -> Iterator[str]:
    for pattern in _BOOT_ENTRIES:
        for path in tree.glob(pattern):
            yield tree.text(path) or ""


def _daemon_starts(tree: Tree) -> bool:
    """By its target, or by udev when a GPU is there, as in Ubuntu and CentOS 7."""
    if tree.glob(_ENABLED):
        return True
    rules = [path for folder in _RULES for path in tree.glob(f"{folder}/*nvidia*.rules")]
    return any("nvidia-persistenced" in (tree.text(path) or "") for path in rules)
