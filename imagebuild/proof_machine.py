"""The virtual machine in which an image proves itself: QEMU's arguments, and what it needs here."""

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from imagebuild.errors import ToolMissing
from imagebuild.running import Start

KVM = Path("/dev/kvm")
PROBE_LIMIT = 10.0
"""Seconds for firmware to start one sector; with a working KVM it takes one."""
SYSTEM_FOLDERS = "/usr/local/sbin:/usr/sbin:/sbin:/usr/libexec"
_PROGRAMS = {
    "qemu": (("qemu-system-x86_64", "qemu-kvm"), "qemu-system-x86 (qemu-kvm)"),
    "qemu-img": (("qemu-img",), "qemu-utils (qemu-img)"),
    "mformat": (("mformat",), "mtools"),
    "mcopy": (("mcopy",), "mtools"),
    "unshare": (("unshare",), "util-linux"),
}
_OVMF = (
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
)
_EXIT_VALUE = 0x31
_EXIT_STATUS = _EXIT_VALUE << 1 | 1
"""What QEMU's isa-debug-exit makes of a value."""
_SECTOR = bytes([0xB0, _EXIT_VALUE, 0xBA, 0xF4, 0x00, 0xEE, 0xF4])
"""mov al, 31h; mov dx, 0F4h; out dx, al; hlt"""


class Firmware(Enum):
    """By what a machine starts."""

    BIOS = "bios"
    UEFI = "uefi"


class Accelerator(Enum):
    """How the virtual processors run; the value is QEMU's arguments."""

    KVM = ("-accel", "kvm", "-cpu", "host")
    TCG = ("-accel", "tcg,thread=multi", "-cpu", "max")


@dataclass(frozen=True, slots=True)
class Tools:
    """Where this machine has what a proof needs."""

    qemu: Path
    ovmf_code: Path | None
    ovmf_vars: Path | None
    unshare: tuple[str, ...] = ()
    """What unshare must be told besides, to give this user a network namespace."""


@dataclass(frozen=True, slots=True)
class Guest:
    """One copy of the image and its machine."""

    name: str
    firmware: Firmware
    memory: int
    """In MiB."""
    disk: Path
    seed: Path
    console: Path
    report: Path
    """What the guest says on its second serial port."""
    variables: Path | None
    """Its own UEFI variables; None in BIOS."""


def find_tools(firmwares: Sequence[Firmware]) -> Tools:
    """Raises ToolMissing that names everything missing."""
    found = {key: _which(names) for key, (names, _) in _PROGRAMS.items()}
    lacking = [package for key, (_, package) in _PROGRAMS.items() if found[key] is None]
    pair = next((pair for pair in _OVMF if all(Path(name).is_file() for name in pair)), None)
    if Firmware.UEFI in firmwares and pair is None:
        lacking.append("ovmf (edk2-ovmf)")
    qemu = found["qemu"]
    if lacking or qemu is None:
        error = ToolMissing("the boot proof needs programs that are not installed here")
        error.add_note(f"install {', '.join(dict.fromkeys(lacking))}")
        raise error
    code, variables = (Path(name) for name in pair) if pair else (None, None)
    return Tools(qemu, code, variables, () if os.geteuid() == 0 else ("--map-current-user",))


def choose_accelerator(tools: Tools, work: Path, start: Start) -> Accelerator:
    """KVM if a machine really starts with it: that /dev/kvm exists says little."""
    if not os.access(KVM, os.R_OK | os.W_OK):
        return Accelerator.TCG
    return Accelerator.KVM if starts(Accelerator.KVM, tools, work, start) else Accelerator.TCG


def starts(accelerator: Accelerator, tools: Tools, work: Path, start: Start) -> bool:
    """Whether one sector, started by the firmware, can end the machine."""
    disk = work / "probe.disk"
    disk.write_bytes(_SECTOR.ljust(510, b"\0") + b"\x55\xaa")
    child = start(probe_argv(accelerator, tools, disk))
    status = None
    with suppress(TimeoutError):
        status = child.wait(PROBE_LIMIT)
    child.stop()
    disk.unlink()
    return status == _EXIT_STATUS


def probe_argv(accelerator: Accelerator, tools: Tools, disk: Path) -> list[str]:
    """QEMU's command line for the probe."""
    return [
        str(tools.qemu),
        *("-machine", "pc", *accelerator.value, "-m", "16"),
        *("-nodefaults", "-no-user-config", "-display", "none"),
        *("-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"),
        *("-drive", f"file={_quoted(disk)},format=raw,if=ide,snapshot=on"),
    ]


def argv(guest: Guest, tools: Tools, accelerator: Accelerator) -> list[str]:
    """QEMU's command line for a copy of the image, in a network namespace of its own.

    There QEMU's own DHCP server is all that it reaches. `restrict=on` would be shorter, but then
    that server names no DNS server, for which systemd-networkd-wait-online may wait (netplan 1.2).
    """
    return [
        *("unshare", *tools.unshare, "--net", str(tools.qemu)),
        *("-name", f"guest={guest.name}"),
        *_machine(guest, tools),
        *accelerator.value,
        *("-m", str(guest.memory), "-smp", "1"),
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *_serial("console", guest.console),
        *_serial("report", guest.report),
        *("-netdev", "user,id=network"),
        *("-device", "virtio-net-pci,netdev=network,romfile="),
        *("-drive", f"if=none,id=disk,file={_quoted(guest.disk)},format=qcow2,cache=unsafe"),
        *("-device", "virtio-blk-pci,drive=disk,bootindex=1"),
        *("-drive", f"if=none,id=seed,file={_quoted(guest.seed)},format=raw,readonly=on"),
        *("-device", "virtio-blk-pci,drive=seed"),
        *("-device", "virtio-rng-pci"),
    ]


def _machine(guest: Guest, tools: Tools) -> list[str]:
    if guest.firmware is Firmware.BIOS:
        return ["-machine", "pc,graphics=off"]
    code, variables = tools.ovmf_code, guest.variables
    if code is None or variables is None:
        raise ValueError("a UEFI guest without firmware files")
    return [
        *("-machine", "q35"),
        *("-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={_quoted(code)}"),
        *("-drive", f"if=pflash,unit=1,format=raw,file={_quoted(variables)}"),
    ]


def _serial(name: str, path: Path) -> list[str]:
    return ["-chardev", f"file,id={name},path={_quoted(path)}", "-serial", f"chardev:{name}"]


def _quoted(value: Path) -> str:
    """QEMU's option syntax: a comma in a value is written twice."""
    return str(value).replace(",", ",,")


def _which(names: Sequence[str]) -> Path | None:
    for name in names:
        if found := shutil.which(name) or shutil.which(name, path=SYSTEM_FOLDERS):
            return Path(found)
    return None
