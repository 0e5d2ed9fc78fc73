"""Boot scripts: what a loader reads to find its kernel, its disk, or a message.

Values are checked here and nowhere else: what passes means the same, letter for letter, in all
three languages, so no template quotes or escapes (only GRUB's need single quotes around words).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final, assert_never

from jinja2 import Environment, PackageLoader, StrictUndefined

from pxe.addresses import MacAddress
from pxe.boot import BootTarget, Kernel, Loader, LocalDisk, Multiboot, UnknownMachine
from pxe.errors import RenderError
from pxe.settings import Settings

COMMAND_LINE_LIMIT: Final = 2047
"""Bytes of kernel command line without its NUL (x86 boot protocol, COMMAND_LINE_SIZE)."""

_ARGUMENT = re.compile(r"[!#%&()*+,\-./0-9:;<=>?@A-Z\[\]^_a-z|~]+")
"""Printable ASCII without white space and without what any of the languages gives a meaning
inside a word: quotes, dollar, backquote, backslash, braces."""

_COMMAND_SEPARATORS = frozenset({"||", "&&", ";"})
"""As whole words these end a command in iPXE."""

MODULE_SEPARATOR: Final = "---"
"""Between the modules that pxelinux's mboot.c32 loads."""

_SEGMENT = r"[A-Za-z0-9_+~@][A-Za-z0-9._+~@-]*"
_PATH = re.compile(rf"{_SEGMENT}(/{_SEGMENT})*")

_UNPRINTABLE = re.compile(r"[^A-Za-z0-9 !\"#%()*+,\-./:=?@\[\]_{}~]")
"""In text for people. Without `$`, braces mean nothing to iPXE and GRUB."""

_ENVIRONMENT: Final = Environment(
    loader=PackageLoader("pxe"),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    autoescape=False,
    auto_reload=False,
)

LOCAL_LOADERS: Final = tuple(
    f"/EFI/{folder}"
    for folder in (
        "debian/shimx64.efi",
        "ubuntu/shimx64.efi",
        "fedora/shimx64.efi",
        "centos/shimx64.efi",
        "rocky/shimx64.efi",
        "almalinux/shimx64.efi",
        "redhat/shimx64.efi",
        "opensuse/shim.efi",
        "Microsoft/Boot/bootmgfw.efi",
        "BOOT/BOOTX64.EFI",
    )
)
"""Where systems install their first UEFI program; the one for removable media comes last, because
its shim may rewrite the firmware's boot order (fallback.efi)."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Whose script it is."""

    client: MacAddress
    address: IPv4Address


@dataclass(frozen=True, slots=True)
class _KernelPlan:
    """Everything that a kernel template may see; paths are checked names in the catalog."""

    title: str
    kernel: str
    initrds: tuple[str, ...]
    arguments: tuple[str, ...]
    bases: tuple[str, ...]
    """What may stand before a slash and a path, best first: a URL for iPXE, devices for GRUB."""
    loaders: tuple[str, ...] = LOCAL_LOADERS


@dataclass(frozen=True, slots=True)
class _MultibootPlan:
    """Likewise for a hypervisor, what it starts first, and that one's initrds."""

    title: str
    hypervisor: str
    hypervisor_arguments: tuple[str, ...]
    kernel: str
    initrds: tuple[str, ...]
    arguments: tuple[str, ...]
    bases: tuple[str, ...]
    line: str
    """All of it as mboot.c32 takes it."""
    loaders: tuple[str, ...] = LOCAL_LOADERS


@dataclass(frozen=True, slots=True)
class _LocalDiskPlan:
    reason: str
    loaders: tuple[str, ...] = LOCAL_LOADERS


@dataclass(frozen=True, slots=True)
class _UnknownPlan:
    client: str
    address: str
    lines: tuple[str, ...]
    seconds: int = 10
    loaders: tuple[str, ...] = LOCAL_LOADERS


_Plan = _KernelPlan | _MultibootPlan | _LocalDiskPlan | _UnknownPlan

_EXTENSIONS: Mapping[Loader, str] = {
    Loader.IPXE: "ipxe",
    Loader.GRUB: "grub.cfg",
    Loader.PXELINUX: "pxelinux.cfg",
}


def render(loader: Loader, target: BootTarget, machine: Machine, settings: Settings) -> str:
    """The script that makes `loader` run `target` on `machine`.

    Raises RenderError when a path or a kernel argument cannot be written without changing its
    meaning; the message names the argument and never shows its value, which may be a secret.
    """
    plan = _plan(target, machine, _bases(loader, settings))
    name = {
        _KernelPlan: "kernel",
        _MultibootPlan: "multiboot",
        _LocalDiskPlan: "local-disk",
        _UnknownPlan: "unknown",
    }[type(plan)]
    template = _ENVIRONMENT.get_template(f"{name}.{_EXTENSIONS[loader]}.j2")
    return template.render(plan=plan, server=str(settings.address))


def render_autoexec() -> str:
    """What newer iPXE asks for before DHCP; a 404 can stop it, this sends it on its usual way."""
    return _ENVIRONMENT.get_template("autoexec.ipxe.j2").render()


def _bases(loader: Loader, settings: Settings) -> tuple[str, ...]:
    match loader:
        case Loader.IPXE:
            return (settings.http_url,)
        case Loader.GRUB:
            # Fedora's signed GRUB has HTTP, Debian's 2.06 only TFTP; before 2.12 no other port.
            protocols = ("http", "tftp") if settings.http_port == 80 else ("tftp",)
            return tuple(f"({protocol},{settings.address})" for protocol in protocols)
        case Loader.PXELINUX:
            return ()
        case _:
            assert_never(loader)


def _plan(target: BootTarget, machine: Machine, bases: tuple[str, ...]) -> _Plan:
    match target:
        case Kernel():
            return _KernelPlan(
                title=_text(target.title),
                kernel=_path(target.kernel),
                initrds=tuple(_path(initrd) for initrd in target.initrds),
                arguments=_arguments(target.arguments),
                bases=bases,
            )
        case Multiboot():
            return _multiboot(target, bases)
        case LocalDisk():
            return _LocalDiskPlan(_text(target.reason))
        case UnknownMachine():
            lines = tuple(_text(line) for line in target.lines)
            return _UnknownPlan(str(machine.client), str(machine.address), lines)
        case _:
            assert_never(target)


def _multiboot(target: Multiboot, bases: tuple[str, ...]) -> _MultibootPlan:
    hypervisor, own = _path(target.hypervisor), _arguments(target.hypervisor_arguments)
    kernel, arguments = _path(target.kernel), _arguments(target.arguments)
    initrds = tuple(_path(initrd) for initrd in target.initrds)
    if MODULE_SEPARATOR in (*own, *arguments):
        raise RenderError(f"argument {MODULE_SEPARATOR}: it parts modules in pxelinux")
    modules = ((hypervisor, *own), (kernel, *arguments), *((initrd,) for initrd in initrds))
    line = f" {MODULE_SEPARATOR} ".join(" ".join(words) for words in modules)
    if len(line) > COMMAND_LINE_LIMIT:
        raise RenderError(
            f"modules and arguments of {len(line)} bytes, expected at most {COMMAND_LINE_LIMIT}"
        )
    title = _text(target.title)
    return _MultibootPlan(title, hypervisor, own, kernel, initrds, arguments, bases, line)


def _path(path: str) -> str:
    if not _PATH.fullmatch(path):
        raise RenderError(
            f"boot file {path!r}: expected a relative path of letters, digits and ._+~@-"
        )
    return path


def _arguments(arguments: tuple[str, ...]) -> tuple[str, ...]:
    for argument in arguments:
        name = _text(argument.partition("=")[0])
        if not _ARGUMENT.fullmatch(argument):
            raise RenderError(
                f"kernel argument {name}: expected printable ASCII without white space, quotes,"
                " dollar, backquote, backslash and braces"
            )
        if argument in _COMMAND_SEPARATORS:
            raise RenderError(f"kernel argument {argument}: ends a command in iPXE")
        if name == "initrd":
            raise RenderError("kernel argument initrd: give initrds by name, not as an argument")
    line = " ".join(arguments)
    if len(line) > COMMAND_LINE_LIMIT:
        raise RenderError(
            f"kernel command line of {len(line)} bytes, expected at most {COMMAND_LINE_LIMIT}"
        )
    return arguments


def _text(text: str) -> str:
    """Text for people: what could mean something to a loader becomes `?`, never an error.

    iPXE takes a dash that begins a text for an option, and a wrong option ends its script.
    """
    shown = _UNPRINTABLE.sub("?", text).rstrip()[:100]
    return shown.lstrip(" -") if shown.lstrip().startswith("-") else shown
