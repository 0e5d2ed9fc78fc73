"""The RAM disk for HTTP Boot under Secure Boot."""

import struct
import subprocess
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from pxe import httpboot
from pxe.errors import MissingProgram
from pxe.programs import find_programs
from tests.tools import missing, require_tool

SERVER = IPv4Address("10.20.0.1")


def module(name: str) -> bytes:
    """A 64-bit ELF file of three sections, the last two `.modname` and the section names."""
    strings = b"\0.modname\0"
    body = strings + name.encode() + b"\0"
    table = 64 + len(body)
    header = struct.pack("<40xQ10xHHH", table, 64, 3, 2).ljust(64, b"\0")

    def section(at: int, offset: int, size: int) -> bytes:
        return struct.pack("<I20xQQ", at, offset, size).ljust(64, b"\0")

    sections = section(0, 0, 0) + section(1, 64 + len(strings), len(name) + 1)
    return header + body + sections + section(0, 64, len(strings))


def grub(*names: str, prefix: str = "/grub") -> bytes:
    parts = [(0, module(name)) for name in names] + [(3, prefix.encode() + b"\0")]
    area = b"".join(struct.pack("<II", kind, 8 + len(data)) + data for kind, data in parts)
    return b"MZ..code..mimg!" + struct.pack("<4sIQQ", b"mimg", 0, 24, 24 + len(area)) + area


def test_modules_and_prefix_are_read_from_the_program() -> None:
    found = httpboot.read_grub(grub("efinet", "tftp", prefix="(,gpt2)/EFI/fedora"))
    assert found == httpboot.GrubImage(frozenset({"efinet", "tftp"}), "/EFI/fedora")


@pytest.mark.parametrize(
    ("modules", "port", "protocol"),
    [
        ({"tftp"}, 80, "tftp"),
        ({"tftp", "http"}, 80, "http"),
        ({"tftp", "http"}, 8080, "tftp"),
        ({"http"}, 8080, None),
        (set(), 80, None),
    ],
)
def test_grub_uses_what_it_has(modules: set[str], port: int, protocol: str | None) -> None:
    assert httpboot.GrubImage(frozenset(modules), "/grub").protocol(port) == protocol


def test_the_disk_holds_shim_grub_and_a_configuration_where_grub_looks(tmp_path: Path) -> None:
    mcopy = require_tool("mcopy", package="mtools")
    program = grub("efinet", "tftp")
    (tmp_path / "shim").write_bytes(b"shim")
    (tmp_path / "grub").write_bytes(program)
    path = httpboot.build(tmp_path / "shim", tmp_path / "grub", SERVER, 80, tmp_path / "out")

    def read(name: str) -> bytes:
        argv = [str(mcopy), "-n", "-i", str(path), f"::{name}", "-"]
        return subprocess.run(argv, capture_output=True, check=True).stdout

    assert path.name == "secureboot.img"
    assert read("EFI/BOOT/BOOTX64.EFI") == b"shim"
    assert read("EFI/BOOT/GRUBX64.EFI") == program
    assert b"configfile (tftp,10.20.0.1)/grub/grub.cfg\n" in read("grub/grub.cfg")
    assert list((tmp_path / "out").iterdir()) == [path]


@pytest.mark.parametrize(
    ("program", "says"),
    [
        (b"MZ nothing", "not a GRUB"),
        (grub("efinet", "tftp")[:-40], "damaged"),
        (grub("efinet"), "no network"),
        (grub("tftp"), "no network"),
        (grub("efinet", "tftp", prefix="/EFI/alma+linux"), "does not fit"),
    ],
)
def test_a_grub_that_cannot_do_it_is_refused(program: bytes, says: str) -> None:
    with pytest.raises(MissingProgram, match=says):
        httpboot.image(b"shim", program, SERVER, 80)


def test_the_installed_signed_grub_can_do_it() -> None:
    """Also the fact on which the decision rests: Debian's has tftp and no http."""
    path = find_programs().get("grubx64.efi")
    if path is None:
        missing("grub-efi-amd64-signed is not installed")
    able = httpboot.read_grub(path.read_bytes())
    assert {"efinet", "net", "normal", "linux"} <= able.modules
    assert able.protocol(80) is not None
    assert able.prefix.startswith("/")
