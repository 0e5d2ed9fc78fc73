"""Firmware, loaders and what they are to run."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum


class Architecture(IntEnum):
    """DHCP option 93, client system architecture (RFC 4578, 2.1; IANA registry, RFC 5970, 3.3).

    The registry, not the RFC's own text, is right about 7 and 9 (RFC 4578, erratum 4625).
    """

    BIOS = 0
    EFI_IA32 = 6
    EFI_X64 = 7
    EFI_BC = 9
    EFI_ARM64 = 11
    HTTP_IA32 = 15
    HTTP_X64 = 16
    HTTP_EBC = 17
    HTTP_ARM64 = 19


class Platform(Enum):
    """The kind of program a firmware can execute."""

    BIOS = "bios"
    UEFI_IA32 = "uefi-ia32"
    UEFI_X64 = "uefi-x64"
    UEFI_ARM64 = "uefi-arm64"


@dataclass(frozen=True, slots=True)
class Firmware:
    """What a client told of itself in options 93, 60, 77 and 175."""

    platform: Platform
    http: bool = False
    """UEFI HTTP Boot: wants a URL and option 60 HTTPClient in the reply (UEFI 2.10, 24.7)."""
    ipxe: bool = False
    """iPXE itself is asking: wants its script, not another boot program."""

    def __str__(self) -> str:
        return f"{self.platform.value}{'-http' if self.http else ''}{' iPXE' if self.ipxe else ''}"


FIRMWARE: Mapping[int, Firmware] = {
    Architecture.BIOS: Firmware(Platform.BIOS),
    Architecture.EFI_IA32: Firmware(Platform.UEFI_IA32),
    Architecture.EFI_X64: Firmware(Platform.UEFI_X64),
    Architecture.EFI_BC: Firmware(Platform.UEFI_X64),
    Architecture.EFI_ARM64: Firmware(Platform.UEFI_ARM64),
    Architecture.HTTP_IA32: Firmware(Platform.UEFI_IA32, http=True),
    Architecture.HTTP_X64: Firmware(Platform.UEFI_X64, http=True),
    Architecture.HTTP_EBC: Firmware(Platform.UEFI_X64, http=True),
    Architecture.HTTP_ARM64: Firmware(Platform.UEFI_ARM64, http=True),
}
"""What each value of option 93 means; an unknown value is not network boot that we can serve."""


class Loader(Enum):
    """The family of boot program that carries a host from firmware to kernel."""

    IPXE = "ipxe"
    GRUB = "grub"
    PXELINUX = "pxelinux"


@dataclass(frozen=True, slots=True)
class LocalDisk:
    """Leave the network and start what is installed."""

    reason: str
    """Shown on the console, for example `cmp01 is active and not armed`."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """Load a Linux kernel. Paths are names in the catalog, relative, as served."""

    kernel: str
    initrds: tuple[str, ...]
    arguments: tuple[str, ...]
    """Kernel command line, one word each; none may contain white space or control characters."""
    title: str
    """Shown on the console, for example `installing cmp01 (fedora-43)`."""


@dataclass(frozen=True, slots=True)
class Multiboot:
    """Load a hypervisor, and the Linux that it starts first. Paths and words as for a `Kernel`."""

    hypervisor: str
    """A Multiboot kernel, such as xen.gz."""
    hypervisor_arguments: tuple[str, ...]
    kernel: str
    initrds: tuple[str, ...]
    arguments: tuple[str, ...]
    """Of the Linux."""
    title: str


@dataclass(frozen=True, slots=True)
class UnknownMachine:
    """A screen that tells a person what to write into the inventory, then the local disk."""

    lines: tuple[str, ...]


BootTarget = LocalDisk | Kernel | Multiboot | UnknownMachine
