from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from provision.inventory.model import Host, HostFirmware, Install, Role
from provision.simulation import guests, tools
from provision.simulation.errors import MissingTool
from provision.simulation.guests import Accelerator
from pxe.addresses import MacAddress
from pxe.boot import Loader

FOUND = {
    tools.QEMU: Path("/usr/bin/qemu-system-x86_64"),
    tools.OVMF_CODE: Path("/firmware/CODE.fd"),
    tools.OVMF_VARS: Path("/firmware/VARS.fd"),
    tools.OVMF_CODE_SECURE: Path("/firmware/CODE.ms.fd"),
    tools.OVMF_VARS_SECURE: Path("/firmware/VARS.ms.fd"),
}


def host(
    firmware: HostFirmware = HostFirmware.BIOS,
    loader: Loader = Loader.IPXE,
    *,
    secure_boot: bool = False,
    disk: str = "smallest",
    name: str = "cmp01",
) -> Host:
    return Host(
        name=name,
        rack="r12",
        mac=MacAddress.parse("52:54:00:aa:00:01"),
        address=IPv4Address("10.20.0.11"),
        role=Role("compute", Install.IMAGE, disk=disk),
        firmware=firmware,
        secure_boot=secure_boot,
        loader=loader,
    )


PATHS = {
    "bios-ipxe": host(),
    "bios-pxelinux": host(loader=Loader.PXELINUX),
    "uefi-ipxe": host(HostFirmware.UEFI),
    "uefi-grub": host(HostFirmware.UEFI, Loader.GRUB),
    "uefi-secure-boot": host(HostFirmware.UEFI, Loader.GRUB, secure_boot=True),
    "uefi-http": host(HostFirmware.UEFI_HTTP),
    "uefi-http-secure-boot": host(HostFirmware.UEFI_HTTP, Loader.GRUB, secure_boot=True),
}


def command_line(a_host: Host, accelerator: Accelerator = Accelerator.TCG) -> list[str]:
    guest = guests.guest(a_host, 3, Path("/scratch"), Path("/logs"))
    return guests.argv(guest, FOUND, accelerator)


@pytest.mark.parametrize("name", PATHS)
def test_a_machine_has_the_firmware_of_its_host(
    name: str, golden: Callable[[str, str], None]
) -> None:
    accelerator = Accelerator.KVM if name == "uefi-ipxe" else Accelerator.TCG
    golden(
        f"provision/simulation/{name}.argv",
        "\n".join(command_line(PATHS[name], accelerator)) + "\n",
    )


def test_every_way_to_boot_has_its_own_words() -> None:
    words = [guests.firmware_path(a_host) for a_host in PATHS.values()]
    assert len(set(words)) == len(words)
    assert guests.firmware_path(PATHS["uefi-secure-boot"]) == "UEFI, Secure Boot"


def test_a_role_that_asks_for_a_serial_number_finds_a_disk_with_it() -> None:
    assert any("serial=WD-0815,bootindex=2" in word for word in command_line(host(disk="WD-0815")))


def test_a_disk_has_the_serial_of_its_host_and_never_more_than_virtio_bears() -> None:
    long = guests.guest(host(name="a" * 40), 0, Path("/s"), Path("/l"))
    assert long.disk_serial == "a" * 20


def test_a_comma_in_a_path_does_not_end_an_option() -> None:
    guest = guests.guest(host(), 0, Path("/a,b"), Path("/c,d"))
    line = " ".join(guests.argv(guest, FOUND, Accelerator.TCG))
    assert "file=/a,,b/cmp01.disk," in line
    assert "path=/c,,d/cmp01.console," in line


def test_two_machines_share_neither_tap_nor_file() -> None:
    one = guests.guest(host(HostFirmware.UEFI), 0, Path("/s"), Path("/l"))
    two = guests.guest(host(HostFirmware.UEFI, name="cmp02"), 1, Path("/s"), Path("/l"))
    for name in ("tap", "disk", "console", "variables"):
        assert getattr(one, name) != getattr(two, name)


def test_only_firmware_that_is_rehearsed_must_be_installed() -> None:
    assert guests.tools_for([host()]) == [tools.QEMU]
    secure = host(HostFirmware.UEFI, secure_boot=True)
    assert tools.OVMF_CODE_SECURE in guests.tools_for([host(), secure])


def test_everything_missing_is_named_at_once_with_its_packages() -> None:
    lacking = [
        tools.Tool(("no-such-program",), "debian-a", "fedora-a"),
        tools.Tool(("/no/such/FILE.fd", "/nor/THIS.fd"), "debian-b", "fedora-b"),
    ]
    with pytest.raises(MissingTool) as caught:
        tools.find_all(lacking)
    assert "no-such-program, FILE.fd" in str(caught.value)
    assert caught.value.__notes__ == [
        "apt-get install debian-a debian-b   or   dnf install fedora-a fedora-b"
    ]


def test_the_disk_of_a_machine_with_its_own_image_has_room_to_grow(tmp_path: Path) -> None:
    ours, own = (guests.guest(host(), 0, tmp_path, tmp_path, size) for size in (None, 2 << 30))
    assert ours.disk_bytes == guests.DISK_BYTES
    assert own.disk_bytes > 2 << 30
