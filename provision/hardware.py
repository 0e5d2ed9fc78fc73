"""What a machine reported of its hardware, read with care and held against the inventory.

A report comes from a machine that anyone may have booted: any key may be absent or of a wrong
type. pxe/ramdisk/README.md describes the keys.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kickstarts.plan import Layout
from provision.inventory.model import Host, HostFirmware

DISK_POLICIES = frozenset({"smallest", "largest", "first"})
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


@dataclass(frozen=True, slots=True)
class Facts:
    """One part of a report; what is not there reads as empty."""

    values: Mapping[str, Any]

    def text(self, key: str) -> str:
        """A word or a number as text."""
        value = self.values.get(key)
        return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""

    def number(self, key: str) -> int:
        """A number that is not negative; 0 when there is none."""
        value = self.values.get(key)
        return max(value, 0) if isinstance(value, int) and not isinstance(value, bool) else 0

    def flag(self, key: str) -> bool | None:
        """Yes, no, or not told."""
        value = self.values.get(key)
        return value if isinstance(value, bool) else None

    def part(self, key: str) -> "Facts":
        """An object inside."""
        value = self.values.get(key)
        return Facts(value if isinstance(value, Mapping) else {})

    def parts(self, key: str) -> list["Facts"]:
        """A list of objects inside."""
        value = self.values.get(key)
        return (
            [Facts(v) for v in value if isinstance(v, Mapping)] if isinstance(value, list) else []
        )


def differences(host: Host, report: Facts) -> list[str]:
    """Where the machine is not as the inventory says, one sentence each."""
    return [
        *_port(host, report),
        *_firmware(host, report),
        *_passthrough(host, report),
        *_disk(host, report),
    ]


def _port(host: Host, report: Facts) -> Iterator[str]:
    present = {nic.text("mac").lower() for nic in report.parts("nics")}
    members = host.bond.members if host.bond else ()
    others = (more.mac for more in host.addresses if more.mac is not None)
    for mac in dict.fromkeys((host.mac, *members, *others)):
        if str(mac) not in present:
            yield f"no port has the MAC address {mac}"


def _firmware(host: Host, report: Facts) -> Iterator[str]:
    expected = "bios" if host.firmware is HostFirmware.BIOS else "uefi"
    found = report.text("firmware")
    if found and found != expected:
        yield f"it booted with {found}, the inventory says {host.firmware.value}"
    secure = report.flag("secure_boot")
    if secure is not None and secure is not host.secure_boot:
        on, off = ("on", "off") if secure else ("off", "on")
        yield f"Secure Boot is {on}, the inventory says {off}"


def _passthrough(host: Host, report: Facts) -> Iterator[str]:
    devices = report.parts("gpus") + report.parts("accelerators")
    present = {(d.text("vendor").lower(), d.text("product").lower()) for d in devices}
    for gpu in host.role.gpu_passthrough:
        if (gpu.vendor.lower(), gpu.product.lower()) not in present:
            yield f"no device {gpu.vendor}:{gpu.product} to pass through as {gpu.alias}"


def _disk(host: Host, report: Facts) -> Iterator[str]:
    usable = [
        disk
        for disk in report.parts("disks")
        if not disk.flag("removable") and not disk.flag("read_only")
    ]
    if not usable:
        yield "it has no disk to install on"
        return
    if host.role.layout == Layout.RAID1.value and len(usable) == 1:
        yield "it has one disk to install on, layout raid1 needs two"
    known = DISK_POLICIES | {disk.text("serial") for disk in usable}
    for wanted in filter(None, (host.role.disk, host.role.mirror)):
        # What is at a path is not reported.
        if wanted not in known and not wanted.startswith("/"):
            yield f"no disk has the serial number {wanted}"


def size(number: int) -> str:
    """Bytes for people: `93.1 GiB`."""
    value = float(number)
    for unit in _UNITS[:-1]:
        if value < 1024:
            return f"{value:.0f} {unit}" if value == int(value) else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} {_UNITS[-1]}"
