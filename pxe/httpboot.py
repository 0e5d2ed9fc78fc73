"""The RAM disk that takes UEFI HTTP Boot under Secure Boot to our GRUB configuration.

Debian's signed GRUB has no `http` module and, under Secure Boot, loads none; started by HTTP it
can ask for nothing. Inside a RAM disk (UEFI 2.10, 24.7.3.5) its device is the disk: it reads its
configuration there, which opens the network and asks for the host's own over TFTP. The evidence
is in docs/decisions/0010-secure-http-boot-through-a-ram-disk.md.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from pxe import fat
from pxe.errors import MissingProgram

NAME = "secureboot.img"
"""Its name in the catalog; firmware that is told no content type goes by the suffix."""

CONTENT_TYPE = "application/vnd.efi-img"
"""Tells the firmware that this is a disk to boot from, not a program (IANA registry)."""

_FIRMWARE_STARTS = "EFI/BOOT/BOOTX64.EFI"
"""What firmware starts from a removable disk (UEFI 2.10, 3.5.1.1): shim."""
_SHIM_STARTS = "EFI/BOOT/GRUBX64.EFI"

# GRUB's module area, as grub/kernel.h lays it out: a header, then objects of a type and a size.
_AREA = b"mimg\0\0\0\0" + struct.pack("<Q", 24)
_ELF, _PREFIX = 0, 3
_SECTION_TABLE, _SECTION_COUNTS = 0x28, 0x3A
"""Where a 64-bit ELF header says where its sections are, and how many (ELF specification)."""

_CONFIGURATION = """\
set timeout=0
for attempt in 1 2 3 4 5; do
  echo "rackseed: asking for an address, attempt $attempt of 5"
  if net_dhcp; then
    set net_default_server={server}
    configfile ({protocol},{server})/grub/grub.cfg
  fi
  sleep 5
done
echo 'rackseed: {server} gave no configuration, leaving GRUB'
exit 1
"""


@dataclass(frozen=True, slots=True)
class GrubImage:
    """What a GRUB program was built with; it is signed, so this is all it can ever do."""

    modules: frozenset[str]
    prefix: str
    """The folder of its configuration, such as `/grub`."""

    def protocol(self, http_port: int) -> str | None:
        """`http` or `tftp`, whichever it can use; None when neither.

        GRUB before 2.12 reads a port as part of the server's name: HTTP on port 80 only.
        """
        if "http" in self.modules and http_port == 80:
            return "http"
        return "tftp" if "tftp" in self.modules else None


def read_grub(program: bytes) -> GrubImage:
    """Read the modules and the prefix that are built into a GRUB EFI program.

    Raises MissingProgram when it is none.
    """
    start = program.find(_AREA)
    if start < 0:
        raise MissingProgram("the file is not a GRUB EFI program: it has no module area")
    names: set[str] = set()
    prefix = ""
    try:
        for kind, content in _objects(program, start):
            if kind == _ELF:
                names.add(_text(_section(content, b".modname")))
            elif kind == _PREFIX:
                prefix = _text(content)
    except (struct.error, ValueError) as damaged:
        raise MissingProgram("the file is a damaged GRUB EFI program") from damaged
    return GrubImage(frozenset(names), prefix.rpartition(")")[2])


def image(shim: bytes, grub: bytes, server: IPv4Address, http_port: int) -> bytes:
    """The RAM disk: shim, GRUB, and a configuration that asks `server`.

    The GRUB must be the one made for booting over the network, `grubx64.efi` of the catalog.
    Raises MissingProgram when it has no network, or a prefix that cannot be a FAT name.
    """
    able = read_grub(grub)
    protocol = able.protocol(http_port) if "efinet" in able.modules else None
    if protocol is None:
        raise _unfit("has no network", "expected the modules efinet and tftp")
    text = _CONFIGURATION.format(server=server, protocol=protocol).encode()
    files = {_FIRMWARE_STARTS: shim, _SHIM_STARTS: grub}
    files |= {f"{place}/grub.cfg": text for place in {able.prefix.strip("/"), "EFI/BOOT"}}
    try:
        return fat.image(files, "rackseed")
    except ValueError as refused:
        raise _unfit("does not fit", str(refused)) from refused


def build(shim: Path, grub: Path, server: IPv4Address, http_port: int, output: Path) -> Path:
    """Write the RAM disk into the folder `output`, whole or not at all; returns its path.

    Raises MissingProgram as `image` does.
    """
    data = image(shim.read_bytes(), grub.read_bytes(), server, http_port)
    output.mkdir(parents=True, exist_ok=True)
    path = output / NAME
    if not path.exists() or path.read_bytes() != data:
        temporary = path.with_name(f".{NAME}.{os.getpid()}")
        temporary.write_bytes(data)
        temporary.replace(path)
    return path


def _objects(program: bytes, start: int) -> Iterator[tuple[int, bytes]]:
    first, size = struct.unpack_from("<QQ", program, start + 8)
    place, end = start + first, start + size
    while place + 8 <= end:
        kind, length = struct.unpack_from("<II", program, place)
        if length < 8:
            raise ValueError("an object shorter than its header")
        yield kind, program[place + 8 : place + length]
        place += length


def _section(module: bytes, name: bytes) -> bytes:
    (table,) = struct.unpack_from("<Q", module, _SECTION_TABLE)
    width, count, names = struct.unpack_from("<HHH", module, _SECTION_COUNTS)
    (strings,) = struct.unpack_from("<Q", module, table + names * width + 24)
    for number in range(count):
        header = table + number * width
        (at,) = struct.unpack_from("<I", module, header)
        if module.startswith(name + b"\0", strings + at):
            offset, size = struct.unpack_from("<QQ", module, header + 24)
            return module[offset : offset + size]
    raise ValueError(f"no section {name.decode()}")


def _text(data: bytes) -> str:
    return data.partition(b"\0")[0].decode("ascii")


def _unfit(what: str, why: str) -> MissingProgram:
    error = MissingProgram(f"the signed GRUB {what}: {why}")
    error.add_note("HTTP Boot with Secure Boot needs the one of grub-efi-amd64-signed")
    return error
