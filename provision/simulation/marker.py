"""A small disk image that proves a local boot: it prints one line, in BIOS and in UEFI.

It stands for the installed system. In BIOS its boot sector prints the line; in UEFI the
distribution's own signed shim and GRUB do, so that it also starts with Secure Boot on. Then
the machine powers off.
"""

import struct
from pathlib import Path

from pxe import fat

LINE = "RACKSEED LOCAL DISK"
"""What the image prints on the screen and on the first serial port."""

SECTOR = 512
ESP_START = 2048
"""First sector of the EFI system partition, counted in sectors."""
SIGNATURE = 0x5AC5EED0
"""Of the disk, so that two builds from the same programs give the same bytes."""

CONFIGURATION_FOLDERS = ("BOOT", "debian", "ubuntu", "fedora", "centos", "redhat")
"""Where a distribution's signed GRUB looks for its configuration, below /EFI."""

CONFIGURATION = f"""\
terminal_output console
echo "{LINE}"
echo "rackseed: the rehearsed disk has started, switching the machine off"
halt
"""


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


def boot_record(sectors: int) -> bytes:
    """The first sector: boot code, one partition of type EFI system (UEFI 2.10, 5.2.1)."""
    entry = struct.pack(
        "<B3sB3sII",
        0x80,  # active: some BIOSes start only a disk that has an active partition
        b"\xfe\xff\xff",
        0xEF,
        b"\xfe\xff\xff",
        ESP_START,
        sectors,
    )
    return (
        boot_code().ljust(440, b"\0")
        + struct.pack("<IH", SIGNATURE, 0)
        + entry.ljust(64, b"\0")
        + b"\x55\xaa"
    )


def image(shim: bytes, grub: bytes) -> bytes:
    """The whole disk, up to the end of its only partition."""
    configuration = CONFIGURATION.encode("ascii")
    files = {"EFI/BOOT/BOOTX64.EFI": shim, "EFI/BOOT/GRUBX64.EFI": grub}
    files |= {f"EFI/{name}/grub.cfg": configuration for name in CONFIGURATION_FOLDERS}
    system = fat.image(files, "rehearsal")
    return boot_record(len(system) // SECTOR).ljust(ESP_START * SECTOR, b"\0") + system


def build(shim: Path, grub: Path, output: Path) -> Path:
    """Write the image; the same programs give the same bytes."""
    output.write_bytes(image(shim.read_bytes(), grub.read_bytes()))
    return output
