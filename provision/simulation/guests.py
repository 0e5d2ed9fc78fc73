"""From a host of the inventory to the command line of its virtual machine: no effects here."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from provision.inventory.model import Host, HostFirmware
from provision.simulation.tools import (
    OVMF_CODE,
    OVMF_CODE_SECURE,
    OVMF_VARS,
    OVMF_VARS_SECURE,
    QEMU,
    Tool,
)
from pxe.boot import Loader

GUEST_MEMORY_MIB = 768
"""Enough for UEFI, the kernel and the unpacked ramdisk, with the packed one beside it."""
DISK_BYTES = 64 << 20
ROOM_TO_GROW = 512 << 20
"""Bytes that the disk of a machine has beyond its own image; they take no room on ours."""
SERIAL_LIMIT = 20
"""Characters of a virtio disk's serial number (VIRTIO 1.2, 5.2.6.2)."""

_LOADERS: Mapping[Loader, str] = {
    Loader.IPXE: "iPXE",
    Loader.GRUB: "GRUB",
    Loader.PXELINUX: "pxelinux",
}
_POLICIES = frozenset({"smallest", "largest", "first"})


class Accelerator(Enum):
    """How the virtual processors run; the value is QEMU's arguments."""

    KVM = ("-accel", "kvm", "-cpu", "max")
    TCG = ("-accel", "tcg,thread=multi", "-cpu", "max")


@dataclass(frozen=True, slots=True)
class Guest:
    """One host's virtual machine and where its files are."""

    host: Host
    tap: str
    disk: Path
    console: Path
    variables: Path | None
    """Its own copy of the UEFI variables; None in BIOS."""
    disk_serial: str
    disk_bytes: int = DISK_BYTES


def firmware_path(host: Host) -> str:
    """The way from power-on to the kernel, in words."""
    loader = "Secure Boot" if host.secure_boot else _LOADERS[host.loader]
    match host.firmware:
        case HostFirmware.BIOS:
            return f"BIOS, {loader}"
        case HostFirmware.UEFI:
            return f"UEFI, {loader}"
        case HostFirmware.UEFI_HTTP:
            return f"UEFI HTTP, {loader}"


def firmware_files(host: Host) -> tuple[Tool, Tool] | None:
    """The UEFI code and the template of its variables; None in BIOS."""
    if host.firmware is HostFirmware.BIOS:
        return None
    return (OVMF_CODE_SECURE, OVMF_VARS_SECURE) if host.secure_boot else (OVMF_CODE, OVMF_VARS)


def tools_for(hosts: Sequence[Host]) -> list[Tool]:
    """What must be installed to run these hosts."""
    files = [file for host in hosts for file in firmware_files(host) or ()]
    return [QEMU, *dict.fromkeys(files)]


def guest(
    host: Host, number: int, folder: Path, logs: Path, image_bytes: int | None = None
) -> Guest:
    """Name the files of a host's virtual machine; none is made.

    `image_bytes` is what the host's own image needs; None: the marker is written.
    """
    uefi = host.firmware is not HostFirmware.BIOS
    wanted = host.role.disk
    return Guest(
        host=host,
        tap=f"tap{number}",
        disk=folder / f"{host.name}.disk",
        console=logs / f"{host.name}.console",
        variables=folder / f"{host.name}.vars" if uefi else None,
        disk_serial=(host.name if _is_free(wanted) else wanted)[:SERIAL_LIMIT],
        disk_bytes=DISK_BYTES if image_bytes is None else image_bytes + ROOM_TO_GROW,
    )


def _is_free(disk: str) -> bool:
    """Whether the disk is chosen otherwise than by its serial number."""
    return disk in _POLICIES or disk.startswith("/")


def argv(guest: Guest, tools: Mapping[Tool, Path], accelerator: Accelerator) -> list[str]:
    """QEMU's command line."""
    host = guest.host
    identity = uuid.uuid5(uuid.NAMESPACE_OID, str(host.mac))
    disk = f"file={_quoted(guest.disk)},format=raw,cache=unsafe,discard=unmap"
    return [
        str(tools[QEMU]),
        *("-name", f"guest={host.name}", "-uuid", str(identity)),
        *_machine(guest, tools),
        *accelerator.value,
        *("-m", str(GUEST_MEMORY_MIB), "-smp", "1"),
        *("-nodefaults", "-no-user-config", "-display", "none"),
        *("-chardev", f"file,id=console,path={_quoted(guest.console)},append=on"),
        *("-serial", "chardev:console"),
        *("-netdev", f"tap,id=network,ifname={guest.tap},script=no,downscript=no"),
        *("-device", _network_card(host)),
        *("-drive", f"if=none,id=disk,{disk}"),
        *("-device", f"virtio-blk-pci,drive=disk,serial={_quoted(guest.disk_serial)},bootindex=2"),
        # Newer UEFI refuses to use the network without a source of random numbers.
        *("-device", "virtio-rng-pci"),
    ]


def _machine(guest: Guest, tools: Mapping[Tool, Path]) -> list[str]:
    files = firmware_files(guest.host)
    if files is None or guest.variables is None:
        # Without a screen SeaBIOS and what it starts write to the serial port; like many a
        # server, a machine that found nothing to boot begins again.
        return ["-machine", "pc,graphics=off", "-boot", "strict=on,reboot-timeout=5000"]
    code, _ = files
    flash = [
        "-drive",
        f"if=pflash,unit=0,format=raw,readonly=on,file={_quoted(tools[code])}",
        "-drive",
        f"if=pflash,unit=1,format=raw,file={_quoted(guest.variables)}",
    ]
    if guest.host.secure_boot:
        # The variables are written in system management mode only, or the keys could be changed.
        return [
            *("-machine", "q35,smm=on"),
            *("-global", "driver=cfi.pflash01,property=secure,value=on"),
            *("-global", "ICH9-LPC.disable_s3=1"),
            *flash,
            *_network_boot(guest.host),
        ]
    return ["-machine", "q35", *flash, *_network_boot(guest.host)]


def _network_boot(host: Host) -> list[str]:
    """Which of the firmware's own ways are switched off.

    PXE over IPv6 is, because nobody serves it and each try costs a minute; and for UEFI HTTP
    Boot all of PXE, so that the firmware has no other way.
    """
    off = ["IPv6PXESupport"]
    if host.firmware is HostFirmware.UEFI_HTTP:
        off.append("IPv4PXESupport")
    return [word for name in off for word in ("-fw_cfg", f"name=opt/org.tianocore/{name},string=n")]


def _network_card(host: Host) -> str:
    card = f"virtio-net-pci,netdev=network,mac={host.mac},bootindex=1"
    # In UEFI the firmware's own driver is to boot, not the iPXE in the card's ROM.
    return card if host.firmware is HostFirmware.BIOS else f"{card},romfile="


def _quoted(value: Path | str) -> str:
    """QEMU's option syntax: a comma in a value is written twice."""
    return str(value).replace(",", ",,")
