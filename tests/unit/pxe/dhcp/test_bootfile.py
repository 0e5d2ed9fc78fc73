"""Every firmware gets the one program that it can run, or no offer."""

import pytest

from pxe.boot import Firmware, Loader, Platform
from pxe.dhcp import options as o
from pxe.dhcp.bootfile import NoBoot, boot_file, firmware_of
from pxe.dhcp.message import decode
from pxe.errors import DecodeError
from pxe.reservation import Reservation
from tests.pcap import CAPTURES, read_pcap
from tests.unit.pxe.dhcp.asking import (
    ABLE_IPXE,
    BIOS,
    INSTALLED,
    MAC,
    PROGRAMS,
    RESERVED,
    SETTINGS,
    UEFI,
    UEFI_HTTP,
    ask,
)

BIOS_FIRMWARE = Firmware(Platform.BIOS)
UEFI_FIRMWARE = Firmware(Platform.UEFI_X64)
HTTP_FIRMWARE = Firmware(Platform.UEFI_X64, http=True)
SCRIPT = f"http://10.20.0.1/ipxe/{MAC}.ipxe"


def host(loader: Loader = Loader.IPXE, secure_boot: bool = False) -> Reservation:
    return Reservation(MAC, RESERVED.address, "ctl01", loader, secure_boot)


@pytest.mark.parametrize(
    ("hints", "firmware"),
    [
        (BIOS, BIOS_FIRMWARE),
        (UEFI, UEFI_FIRMWARE),
        (UEFI_HTTP, HTTP_FIRMWARE),
        (BIOS | ABLE_IPXE, Firmware(Platform.BIOS, ipxe=True)),
        (UEFI | ABLE_IPXE, Firmware(Platform.UEFI_X64, ipxe=True)),
        ({o.ARCHITECTURE: b"\0\x06"}, Firmware(Platform.UEFI_IA32)),
        ({o.ARCHITECTURE: b"\0\x09"}, UEFI_FIRMWARE),
        ({o.ARCHITECTURE: b"\0\x0b"}, Firmware(Platform.UEFI_ARM64)),
        ({o.ARCHITECTURE: b"\0\x13"}, Firmware(Platform.UEFI_ARM64, http=True)),
        ({o.ARCHITECTURE: b"\xff\xff"}, None),
        ({}, None),
        (INSTALLED, None),
    ],
)
def test_firmware_is_told_by_its_options(hints: dict[int, bytes], firmware: Firmware | None):
    assert firmware_of(ask(None, hints)) == firmware


def test_the_first_known_architecture_of_a_list_counts():
    assert firmware_of(ask(None, {o.ARCHITECTURE: b"\x12\x34\0\x07\0\0"})) == UEFI_FIRMWARE


def test_the_architecture_in_the_vendor_class_is_used_when_option_93_is_missing():
    assert firmware_of(ask(None, {o.VENDOR_CLASS: UEFI[o.VENDOR_CLASS]})) == UEFI_FIRMWARE
    assert firmware_of(ask(None, {o.VENDOR_CLASS: b"PXEClient"})) is None
    assert firmware_of(ask(None, {o.VENDOR_CLASS: b"PXEClient:Arch:zzzzz:UNDI"})) is None


def test_an_http_client_is_one_whatever_its_architecture_says():
    hints = {o.ARCHITECTURE: b"\0\x07", o.VENDOR_CLASS: b"HTTPClient"}
    assert firmware_of(ask(None, hints)) == HTTP_FIRMWARE


def test_an_installed_system_that_sends_an_architecture_is_not_network_booting():
    assert firmware_of(ask(None, BIOS, INSTALLED)) is None


@pytest.mark.parametrize("spelling", [b"iPXE", b"\x04iPXE", b"\x03abc\x04iPXE"])
def test_ipxe_is_told_by_its_user_class_in_both_spellings(spelling: bytes):
    firmware = firmware_of(ask(None, UEFI, {o.USER_CLASS: spelling}))
    assert firmware == Firmware(Platform.UEFI_X64, ipxe=True)


def test_ipxe_is_told_by_its_own_options_alone():
    hints = {o.IPXE_OPTIONS: ABLE_IPXE[o.IPXE_OPTIONS]}
    assert firmware_of(ask(None, BIOS, hints)) == Firmware(Platform.BIOS, ipxe=True)


def test_an_ipxe_that_cannot_fetch_by_http_is_firmware_like_any_other():
    hints = {o.USER_CLASS: b"iPXE", o.IPXE_OPTIONS: b"\xb1\x05\x01\x80\x86\x10\x0e"}
    assert firmware_of(ask(None, BIOS, hints)) == BIOS_FIRMWARE


def test_a_raspberry_pi_5_looks_like_a_bios():
    """It reports 0; it loads files by names of its own and ignores the program."""
    assert firmware_of(ask(None, BIOS)) == BIOS_FIRMWARE


@pytest.mark.parametrize(
    ("firmware", "reservation", "file"),
    [
        (BIOS_FIRMWARE, host(), "undionly.kpxe"),
        (BIOS_FIRMWARE, None, "undionly.kpxe"),
        (BIOS_FIRMWARE, host(Loader.GRUB), "undionly.kpxe"),
        (BIOS_FIRMWARE, host(Loader.PXELINUX), "pxelinux.0"),
        (Firmware(Platform.BIOS, ipxe=True), host(), SCRIPT),
        (Firmware(Platform.BIOS, ipxe=True), None, SCRIPT),
        (Firmware(Platform.BIOS, ipxe=True), host(Loader.PXELINUX), "pxelinux.0"),
        (UEFI_FIRMWARE, host(), "snponly.efi"),
        (UEFI_FIRMWARE, None, "shimx64.efi"),
        (UEFI_FIRMWARE, host(secure_boot=True), "shimx64.efi"),
        (UEFI_FIRMWARE, host(Loader.GRUB), "grubx64.efi"),
        (UEFI_FIRMWARE, host(Loader.GRUB, secure_boot=True), "shimx64.efi"),
        (UEFI_FIRMWARE, host(Loader.PXELINUX), "snponly.efi"),
        (Firmware(Platform.UEFI_X64, ipxe=True), host(), SCRIPT),
        (Firmware(Platform.UEFI_X64, ipxe=True), host(Loader.PXELINUX), SCRIPT),
        (HTTP_FIRMWARE, host(), "http://10.20.0.1/snponly.efi"),
        (HTTP_FIRMWARE, None, "http://10.20.0.1/secureboot.img"),
        (HTTP_FIRMWARE, host(Loader.GRUB), "http://10.20.0.1/secureboot.img"),
    ],
)
def test_each_firmware_gets_its_program(
    firmware: Firmware, reservation: Reservation | None, file: str
):
    assert boot_file(firmware, MAC, reservation, SETTINGS, PROGRAMS) == file


@pytest.mark.parametrize("platform", [Platform.UEFI_IA32, Platform.UEFI_ARM64])
def test_a_platform_without_a_program_gets_no_boot_offer(platform: Platform):
    answer = boot_file(Firmware(platform), MAC, None, SETTINGS, PROGRAMS)
    assert answer == NoBoot(f"there is no boot program for {platform.value}")


def test_a_program_that_is_not_installed_gets_no_boot_offer_and_is_named():
    answer = boot_file(UEFI_FIRMWARE, MAC, host(), SETTINGS, PROGRAMS - {"snponly.efi"})
    assert answer == NoBoot("snponly.efi for uefi-x64 is not installed on this server")


CAPTURED = {
    "bios-ipxe-http-ra": {"bios iPXE"},
    "bios-pxelinux-tftp-ra": set(),  # its frames with option 93 are cut in the middle
    "uefi-http-ipxe-ra": {"uefi-x64-http", "uefi-x64 iPXE"},
    "uefi-pxe-ipxe-ra": {"uefi-x64", "uefi-x64 iPXE"},
    "uefi-pxe-grub-ra": {"uefi-x64"},
    "uefi-sb-pxe-shim-ra": {"uefi-x64"},
}


@pytest.mark.parametrize(("capture", "firmware"), CAPTURED.items())
def test_captured_firmware_is_told_apart(capture: str, firmware: set[str]):
    found = set()
    for datagram in read_pcap(CAPTURES / f"{capture}.pcap"):
        if datagram.destination_port == 67:
            try:
                found.add(firmware_of(decode(datagram.payload)))
            except DecodeError:
                assert datagram.cut
    assert {str(one) for one in found if one} == firmware
