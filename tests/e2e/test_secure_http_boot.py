"""UEFI HTTP Boot under Secure Boot: firmware, RAM disk, shim, GRUB, kernel, in one QEMU guest.

    dnsmasq (DHCP, TFTP)  \\
    HTTP server of the test --- tap0 ---- QEMU with OVMF's Secure Boot keys, PXE switched off
"""

import shutil
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from pxe import httpboot
from pxe.errors import MissingProgram
from pxe.programs import require
from pxe.ramdisk.build import build, find_busybox
from pxe.ramdisk.kernel import find_kernel
from tests.lab import Lab, Namespace, wait_until
from tests.rack_server import Server
from tests.tools import missing, require_root, require_tool

MAC = "52:54:00:aa:00:0b"
ADDRESS = "10.30.0.1"
OVMF = Path("/usr/share/OVMF")
NO_PXE = [
    word
    for version in ("IPv4", "IPv6")
    for word in ("-fw_cfg", f"name=opt/org.tianocore/{version}PXESupport,string=n")
]
CONFIGURATION = f"""\
echo "root=$root"
linux (tftp,{ADDRESS})/vmlinuz console=ttyS0,115200 rackseed.mac={MAC} rackseed.action=inspect \\
  rackseed.report=http://{ADDRESS}/report/t
initrd (tftp,{ADDRESS})/initrd.img
boot
"""


@pytest.mark.timeout(240)
def test_a_machine_with_secure_boot_boots_by_http_and_says_so(tmp_path: Path) -> None:
    require_root()
    files = boot_files(tmp_path)
    with Lab() as lab:
        rack = lab.namespace("rack")
        rack.link("add", ifname="tap0", kind="tuntap", mode="tap")
        rack.address("tap0", f"{ADDRESS}/24")
        rack.up("tap0")
        server = Server(address=ADDRESS, port=80, host=ADDRESS)
        server.files[f"/{httpboot.NAME}"] = (files / httpboot.NAME).read_bytes()
        rack.call(server.start)
        start_dnsmasq(rack, files)
        guest = start_guest(rack, tmp_path)
        try:
            wait_until(
                lambda: bool(server.reports) or not guest.running,
                "the report of the ramdisk",
                timeout=180,
            )
            assert guest.running or server.reports, guest.output[-3000:]
            console = guest.output
        finally:
            server.stop()
    (report,) = server.reports
    assert report["data"]["secure_boot"] is True
    assert report["data"]["lockdown"] == "integrity"
    assert "root=hd0" in console


def boot_files(folder: Path) -> Path:
    """All that is served, in one folder; also what GRUB then finds over TFTP."""
    root = folder / "tftp"
    try:
        programs = require(["shimx64.efi", "grubx64.efi"])
        build(find_kernel(), find_busybox(), root)
        shim, grub = programs["shimx64.efi"], programs["grubx64.efi"]
        httpboot.build(shim, grub, IPv4Address(ADDRESS), 80, root)
    except MissingProgram as error:
        missing(str(error))
    (root / "grub").mkdir()
    (root / "grub/grub.cfg").write_text(CONFIGURATION)
    return root


def start_dnsmasq(rack: Namespace, files: Path) -> None:
    url = f"http://{ADDRESS}/{httpboot.NAME}"
    rack.start(
        [
            *(require_tool("dnsmasq"), "--conf-file=/dev/null", "--keep-in-foreground"),
            *("--port=0", "--interface=tap0", "--bind-interfaces", "--user=root"),
            f"--dhcp-leasefile={rack.folder}/leases",
            "--dhcp-range=10.30.0.50,10.30.0.60",
            "--dhcp-vendorclass=set:http,HTTPClient",
            f"--dhcp-boot=tag:http,{url}",
            "--dhcp-option-force=tag:http,60,HTTPClient",
            *("--enable-tftp", f"--tftp-root={files}"),
        ]
    )


def start_guest(rack: Namespace, folder: Path):
    code, known = OVMF / "OVMF_CODE_4M.ms.fd", OVMF / "OVMF_VARS_4M.ms.fd"
    if not known.exists():
        missing(f"{known} is not installed; it is in the package ovmf")
    shutil.copyfile(known, folder / "vars.fd")
    return rack.start(
        [
            require_tool("qemu-system-x86_64", package="qemu-system-x86"),
            *("-machine", "q35,smm=on", "-accel", "tcg,thread=multi", "-cpu", "max"),
            *("-global", "driver=cfi.pflash01,property=secure,value=on"),
            *("-global", "ICH9-LPC.disable_s3=1", "-m", "512", "-smp", "2", "-no-reboot"),
            *("-nodefaults", "-display", "none", "-serial", "stdio", *NO_PXE),
            *("-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={code}"),
            *("-drive", f"if=pflash,format=raw,unit=1,file={folder}/vars.fd"),
            *("-netdev", "tap,id=n0,ifname=tap0,script=no,downscript=no"),
            *("-device", f"virtio-net-pci,netdev=n0,mac={MAC},bootindex=1,romfile="),
        ]
    )
