"""Boot programs are found where packages put them, and named when they are not."""

from pathlib import Path

import pytest

from pxe.errors import MissingProgram
from pxe.programs import PROGRAMS, find_programs, require


def put(root: Path, name: str, text: str = "x") -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("served", "installed"),
    [
        ("undionly.kpxe", "usr/lib/ipxe/undionly.kpxe"),
        ("snponly.efi", "usr/share/ipxe/ipxe-snponly-x86_64.efi"),
        ("shimx64.efi", "usr/lib/shim/shimx64.efi.signed"),
        ("shimx64.efi", "boot/efi/EFI/rocky/shimx64.efi"),
        ("grubx64.efi", "usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed"),
        ("ldlinux.c32", "usr/lib/syslinux/modules/bios/ldlinux.c32"),
        ("pxelinux.0", "usr/share/syslinux/pxelinux.0"),
    ],
)
def test_a_program_is_found_under_its_served_name(tmp_path: Path, served: str, installed: str):
    path = put(tmp_path, installed)
    assert find_programs(tmp_path) == {served: path}
    assert require([served], tmp_path) == {served: path}


def test_a_signed_program_is_preferred(tmp_path: Path):
    put(tmp_path, "usr/lib/shim/mmx64.efi")
    signed = put(tmp_path, "usr/lib/shim/mmx64.efi.signed")
    assert find_programs(tmp_path)["mmx64.efi"] == signed


@pytest.mark.parametrize(
    ("os_release", "hints"),
    [
        ("ID=debian\n", ["apt-get install pxelinux shim-signed"]),
        ('ID=linuxmint\nID_LIKE="ubuntu debian"\n', ["apt-get install pxelinux shim-signed"]),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\n', ["dnf install shim-x64 syslinux-nonlinux"]),
        (
            "ID=nixos\n",
            [
                "apt-get install pxelinux shim-signed",
                "dnf install shim-x64 syslinux-nonlinux",
            ],
        ),
    ],
)
def test_all_missing_programs_are_named_at_once_with_the_command_that_installs_them(
    tmp_path: Path, os_release: str, hints: list[str]
):
    put(tmp_path, "etc/os-release", os_release)
    put(tmp_path, "usr/lib/ipxe/undionly.kpxe")
    with pytest.raises(MissingProgram) as missing:
        require(["undionly.kpxe", "shimx64.efi", "pxelinux.0"], tmp_path)
    assert "shimx64.efi is not installed" in str(missing.value)
    assert "pxelinux.0 is not installed" in str(missing.value)
    assert "undionly" not in str(missing.value)
    assert missing.value.__notes__ == hints


def test_every_program_has_a_source_in_every_family():
    assert all(len(sources) == 2 for sources in PROGRAMS.values())
