"""A small disk image that proves a local boot: it prints one line, in BIOS and in UEFI.

It stands for the installed system. In BIOS its boot sector prints the line; in UEFI the
distribution's own signed shim and GRUB do, so that it also starts with Secure Boot on. Then
the machine powers off.
"""

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LINE = "RACKSEED LOCAL DISK"
"""What the image prints on the screen and on the first serial port."""

SECTOR = 512
SIZE = 16 << 20
ESP_START = 2048
"""First sector of the EFI system partition, counted in sectors."""
ESP_SECTORS = SIZE // SECTOR - ESP_START
SERIAL_NUMBER = "5ac5eed0"
"""Of the file system, so that two builds from the same programs give the same bytes."""

CONFIGURATION_FOLDERS = ("BOOT", "debian", "ubuntu", "fedora", "centos", "redhat")
"""Where a distribution's signed GRUB looks for its configuration, below /EFI."""

CONFIGURATION = f"""\
terminal_output console
echo "{LINE}"
echo "rackseed: the rehearsed disk has started, switching the machine off"
halt
"""


@dataclass(frozen=True, slots=True)
class Programs:
    """What the image is made of and with."""

    shim: Path
    grub: Path
    mformat: Path
    mmd: Path
    mcopy: Path


Run = Callable[[Sequence[str], Mapping[str, str]], object]
"""Runs one program to its end, with additions to the environment."""


def boot_code(line: str = LINE) -> bytes:
    """The boot sector's program, at most 440 bytes of 16-bit machine code.

    The BIOS loads it at 0x7c00. It drives the serial port by its registers, because what the
    BIOS interrupt for it does depends on where the screen goes. It cuts the power through the
    ACPI control register that QEMU's machines have; a machine without one stays halted.
    """
    code = bytes.fromhex(
        "fa"  # 00 cli
        "31c0"  # 01 xor ax, ax
        "8ed8"  # 03 mov ds, ax
        "fc"  # 05 cld
        "be297c"  # 06 mov si, 0x7c29: the text, behind the code
        "ac"  # 09 next: lodsb
        "84c0"  # 0a test al, al
        "7411"  # 0c jz done
        "88c3"  # 0e mov bl, al
        "bafd03"  # 10 mov dx, 0x3fd: line status of the first serial port (16550)
        "ec"  # 13 wait: in al, dx
        "a820"  # 14 test al, 0x20: the transmitter is empty
        "74fb"  # 16 jz wait
        "b2f8"  # 18 mov dl, 0xf8: the data register, 0x3f8
        "88d8"  # 1a mov al, bl
        "ee"  # 1c out dx, al
        "ebea"  # 1d jmp next
        "ba0406"  # 1f done: mov dx, 0x604: PM1a control of QEMU's pc and q35 (ACPI 6.4, 4.8.3.2)
        "b80020"  # 22 mov ax, 0x2000: sleep enable, type 0, which is soft off there
        "ef"  # 25 out dx, ax
        "f4"  # 26 halt: hlt
        "ebfd"  # 27 jmp halt
    )
    return code + f"\r\n{line}\r\n".encode("ascii") + b"\0"


def boot_record() -> bytes:
    """The first sector: boot code, one partition of type EFI system (UEFI 2.10, 5.2.1)."""
    entry = struct.pack(
        "<B3sB3sII",
        0x80,  # active: some BIOSes start only a disk that has an active partition
        b"\xfe\xff\xff",
        0xEF,
        b"\xfe\xff\xff",
        ESP_START,
        ESP_SECTORS,
    )
    signature = int(SERIAL_NUMBER, 16)
    return (
        boot_code().ljust(440, b"\0")
        + struct.pack("<IH", signature, 0)
        + entry.ljust(64, b"\0")
        + b"\x55\xaa"
    )


def build(programs: Programs, image: Path, run: Run) -> Path:
    """Write the image; the same programs give the same bytes. No root is needed."""
    with image.open("wb") as disk:
        disk.write(boot_record())
        disk.truncate(SIZE)
    configuration = image.with_suffix(".cfg")
    configuration.write_text(CONFIGURATION, encoding="ascii")
    volume = f"{image}@@{ESP_START * SECTOR}"
    steady = {"SOURCE_DATE_EPOCH": "315532800", "MTOOLS_SKIP_CHECK": "1"}  # 1980, where FAT begins
    for argv in _plan(programs, volume, configuration):
        run(argv, steady)
    configuration.unlink()
    return image


def _plan(programs: Programs, volume: str, configuration: Path) -> list[list[str]]:
    folders = [f"::/EFI/{name}" for name in CONFIGURATION_FOLDERS]
    geometry = ["-h", "16", "-s", "63", "-H", str(ESP_START), "-T", str(ESP_SECTORS)]
    copies = [
        (programs.shim, "::/EFI/BOOT/BOOTX64.EFI"),
        (programs.grub, "::/EFI/BOOT/grubx64.efi"),
        *((configuration, f"{folder}/grub.cfg") for folder in folders),
    ]
    return [
        [str(programs.mformat), "-i", volume, *geometry, "-N", SERIAL_NUMBER, "-v", "REHEARSAL"],
        [str(programs.mmd), "-i", volume, "::/EFI", *folders],
        *([str(programs.mcopy), "-i", volume, str(file), name] for file, name in copies),
    ]
