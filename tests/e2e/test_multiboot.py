"""A hypervisor and its first guest by each loader that can start it: scripts of ours, real Xen.

    dnsmasq (DHCP, TFTP)  \\
    HTTP server of the test --- tap0 ---- QEMU: SeaBIOS with iPXE or pxelinux, OVMF with GRUB

Xen is not installed for a test: it would put itself into the machine's own boot menu. XEN names a
file, the xen-*.gz of the package xen-hypervisor-4.17-amd64 as `apt-get download` gets it.
"""

import gzip
import os
import shutil
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from provision.installing import GUEST_CONSOLES, HYPERVISOR_WORDS
from pxe.addresses import MacAddress
from pxe.boot import Loader, Multiboot
from pxe.errors import MissingProgram
from pxe.programs import find_programs
from pxe.ramdisk.build import build, find_busybox
from pxe.ramdisk.kernel import find_kernel
from pxe.script import Machine, render
from pxe.settings import Settings
from tests.lab import Lab, Namespace, wait_until
from tests.rack_server import Server
from tests.tools import missing, require_root, require_tool

MAC = "52:54:00:aa:00:0c"
ADDRESS = "10.31.0.1"
OVMF = Path("/usr/share/OVMF")
TARGET = Multiboot(
    hypervisor="artifacts/xen.gz",
    hypervisor_arguments=HYPERVISOR_WORDS,
    kernel="artifacts/vmlinuz",
    initrds=("artifacts/initrd.img",),
    arguments=(
        *GUEST_CONSOLES, "rackseed.action=inspect", f"rackseed.mac={MAC}",
        f"rackseed.report=http://{ADDRESS}/report/t", "install",
    ),
    title="installing xen01 (xcp-ng-8.3)",
)  # fmt: skip
PROGRAMS = {Loader.PXELINUX: "pxelinux.0", Loader.GRUB: "grubx64.efi"}
SCRIPTS = {
    Loader.IPXE: "boot.ipxe",
    Loader.PXELINUX: "pxelinux.cfg/default",
    Loader.GRUB: "grub/grub.cfg",
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("loader", Loader)
def test_a_hypervisor_starts_its_first_guest(loader: Loader, tmp_path: Path) -> None:
    require_root()
    files = boot_files(tmp_path, loader)
    with Lab() as lab:
        rack = lab.namespace("rack")
        rack.link("add", ifname="tap0", kind="tuntap", mode="tap")
        rack.address("tap0", f"{ADDRESS}/24")
        rack.up("tap0")
        server = Server(address=ADDRESS, port=80, host=ADDRESS)
        for path in files.rglob("*"):
            if path.is_file():
                server.files[f"/{path.relative_to(files)}"] = path.read_bytes()
        rack.call(server.start)
        start_dnsmasq(rack, files, loader)
        guest = start_guest(rack, tmp_path, uefi=loader is Loader.GRUB)
        try:
            wait_until(
                lambda: bool(server.reports) or not guest.running,
                "the report of the first guest",
                timeout=240,
            )
            assert server.reports, guest.output[-3000:]
            console = guest.output
        finally:
            server.stop()
    assert server.reports[-1]["kind"] == "inspection"
    assert "(XEN) *** Serial input to DOM0" in console


def boot_files(folder: Path, loader: Loader) -> Path:
    """All that is served, in one folder."""
    xen = os.environ.get("XEN")
    if not xen:
        pytest.skip("XEN names no file; it is in the package xen-hypervisor-4.17-amd64")
    root = folder / "served"
    (root / "artifacts").mkdir(parents=True)
    packed = Path(xen).read_bytes()
    # iPXE unpacks nothing; the other loaders take either.
    hypervisor = gzip.decompress(packed) if loader is Loader.IPXE else packed
    (root / "artifacts/xen.gz").write_bytes(hypervisor)
    try:
        build(find_kernel(), find_busybox(), root / "artifacts")
    except MissingProgram as error:
        missing(str(error))
    for name, path in find_programs().items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, root / name)
    settings = Settings("tap0", IPv4Address(ADDRESS), IPv4Network("10.31.0.0/24"))
    machine = Machine(MacAddress.parse(MAC), IPv4Address("10.31.0.50"))
    script = root / SCRIPTS[loader]
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(render(loader, TARGET, machine, settings), encoding="utf-8")
    return root


def start_dnsmasq(rack: Namespace, files: Path, loader: Loader) -> None:
    first = PROGRAMS.get(loader, f"http://{ADDRESS}/{SCRIPTS[loader]}")
    rack.start(
        [
            *(require_tool("dnsmasq"), "--conf-file=/dev/null", "--keep-in-foreground"),
            *("--port=0", "--interface=tap0", "--bind-interfaces", "--user=root"),
            f"--dhcp-leasefile={rack.folder}/leases",
            "--dhcp-range=10.31.0.50,10.31.0.60",
            f"--dhcp-boot={first}",
            *("--enable-tftp", f"--tftp-root={files}"),
        ]
    )


def start_guest(rack: Namespace, folder: Path, *, uefi: bool):
    firmware = ["-machine", "pc,graphics=off"]
    network = f"virtio-net-pci,netdev=n0,mac={MAC},bootindex=1"
    if uefi:
        code, known = OVMF / "OVMF_CODE_4M.fd", OVMF / "OVMF_VARS_4M.fd"
        if not known.exists():
            missing(f"{known} is not installed; it is in the package ovmf")
        shutil.copyfile(known, folder / "vars.fd")
        firmware = [
            *("-machine", "q35"),
            *("-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={code}"),
            *("-drive", f"if=pflash,format=raw,unit=1,file={folder}/vars.fd"),
        ]
        network += ",romfile="
    return rack.start(
        [
            require_tool("qemu-system-x86_64", package="qemu-system-x86"),
            *firmware,
            *("-accel", "tcg,thread=multi", "-cpu", "Nehalem", "-m", "1024", "-smp", "2"),
            *("-no-reboot", "-nodefaults", "-display", "none", "-serial", "stdio"),
            *("-netdev", "tap,id=n0,ifname=tap0,script=no,downscript=no"),
            *("-device", network),
        ]
    )
