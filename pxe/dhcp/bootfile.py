"""Which boot program a client gets, chosen from what its firmware told."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from pxe.addresses import MacAddress
from pxe.boot import FIRMWARE, Firmware, Loader, Platform
from pxe.dhcp import options as o
from pxe.dhcp.message import Message
from pxe.httpboot import NAME as RAM_DISK
from pxe.reservation import Reservation
from pxe.settings import Settings

PXE_CLIENT: Final = b"PXEClient"  # option 60: PXE 2.1, 2.2.1
HTTP_CLIENT: Final = b"HTTPClient"  # option 60: UEFI 2.10, 24.7.3.1
IPXE: Final = b"iPXE"  # option 77

BIOS_PROGRAM: Final = "undionly.kpxe"
PXELINUX_PROGRAM: Final = "pxelinux.0"
UEFI_PROGRAM: Final = "snponly.efi"
SHIM_PROGRAM: Final = "shimx64.efi"
GRUB_PROGRAM: Final = "grubx64.efi"


_HINTS: Final = frozenset({o.ARCHITECTURE, o.VENDOR_CLASS, o.USER_CLASS, o.IPXE_OPTIONS})


@dataclass(frozen=True, slots=True)
class NoBoot:
    """Why nothing can be offered: half an offer makes some UEFI firmware hang (PXE-E18)."""

    reason: str


def firmware_of(request: Message) -> Firmware | None:
    """What asks, or None when it is not network boot: an installed system, an installer.

    A Raspberry Pi 5 says 0 as a BIOS does, and ignores the program that it is then offered.
    """
    if _HINTS.isdisjoint(request.options):
        return None
    vendor = request.vendor_class
    ipxe, able = _ipxe(request)
    if not ipxe and vendor and not vendor.startswith((PXE_CLIENT, HTTP_CLIENT)):
        return None
    codes = request.architectures or _architectures_in(vendor)
    known = next((FIRMWARE[code] for code in codes if code in FIRMWARE), None)
    if known is None:
        return None
    return _VARIANTS[known.platform, known.http or vendor.startswith(HTTP_CLIENT), able]


_VARIANTS: Final[Mapping[tuple[Platform, bool, bool], Firmware]] = {
    (platform, http, ipxe): Firmware(platform, http=http and not ipxe, ipxe=ipxe)
    for platform in Platform
    for http in (False, True)
    for ipxe in (False, True)
}


def _ipxe(request: Message) -> tuple[bool, bool]:
    """Whether iPXE asks, and whether it can fetch a script by HTTP.

    Some cards carry an iPXE that cannot: that one is firmware like any other and gets ours.
    """
    features = request.options.get(o.IPXE_OPTIONS)
    if features is None:
        found = IPXE in request.user_classes
        return found, found
    held = o.encapsulated(features)
    return True, not held or o.IPXE_HTTP in held


def _architectures_in(vendor: bytes) -> tuple[int, ...]:
    """The code in `PXEClient:Arch:00007:UNDI:003000`, for clients that send no option 93."""
    words = vendor.split(b":")
    if len(words) >= 3 and words[1] == b"Arch" and words[2].isdigit() and len(words[2]) == 5:
        return (int(words[2]),)
    return ()


def boot_file(
    firmware: Firmware,
    client: MacAddress,
    reservation: Reservation | None,
    settings: Settings,
    programs: Collection[str],
) -> str | NoBoot:
    """A file name for TFTP or a URL; NoBoot when the program is not among `programs`."""
    loader = reservation.loader if reservation else Loader.IPXE
    signed = reservation is None or reservation.secure_boot
    if firmware.ipxe and not (loader is Loader.PXELINUX and firmware.platform is Platform.BIOS):
        return f"{settings.http_url}/ipxe/{client}.ipxe"
    match firmware.platform:
        case Platform.BIOS if loader is Loader.PXELINUX:
            program = PXELINUX_PROGRAM
        case Platform.BIOS:
            program = BIOS_PROGRAM
        case Platform.UEFI_X64 if firmware.http and (signed or loader is Loader.GRUB):
            program = RAM_DISK
        case Platform.UEFI_X64 if signed:
            program = SHIM_PROGRAM
        case Platform.UEFI_X64 if loader is Loader.GRUB:
            program = GRUB_PROGRAM
        case Platform.UEFI_X64:
            program = UEFI_PROGRAM
        case other:
            return NoBoot(f"there is no boot program for {other.value}")
    if program not in programs:
        return NoBoot(f"{program} for {firmware} is not installed on this server")
    return f"{settings.http_url}/{program}" if firmware.http else program
