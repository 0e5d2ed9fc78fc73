"""What the rehearsal needs of the machine, and which package brings it."""

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from provision.simulation.errors import MissingTool

SYSTEM_FOLDERS = "/usr/local/sbin:/usr/sbin:/sbin:/usr/libexec"
"""Where the PATH of an ordinary user does not look."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A program or a data file, wherever a distribution keeps it."""

    names: tuple[str, ...]
    """Program names looked up in PATH, or absolute paths of files; the first found is used."""
    debian: str
    fedora: str


QEMU = Tool(
    ("qemu-system-x86_64", "qemu-kvm"), "qemu-system-x86", "qemu-system-x86-core (or qemu-kvm)"
)
UNSHARE = Tool(("unshare",), "util-linux", "util-linux")
DNSMASQ = Tool(("dnsmasq",), "dnsmasq-base", "dnsmasq")

OVMF_CODE = Tool(
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/edk2/ovmf/OVMF_CODE.fd"), "ovmf", "edk2-ovmf"
)
OVMF_VARS = Tool(
    ("/usr/share/OVMF/OVMF_VARS_4M.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"), "ovmf", "edk2-ovmf"
)
OVMF_CODE_SECURE = Tool(
    ("/usr/share/OVMF/OVMF_CODE_4M.ms.fd", "/usr/share/edk2/ovmf/OVMF_CODE.secboot.fd"),
    "ovmf",
    "edk2-ovmf",
)
OVMF_VARS_SECURE = Tool(
    ("/usr/share/OVMF/OVMF_VARS_4M.ms.fd", "/usr/share/edk2/ovmf/OVMF_VARS.secboot.fd"),
    "ovmf",
    "edk2-ovmf",
)
"""The variable store in which Microsoft's keys are enrolled and Secure Boot is on."""

GRUB_ON_DISK = Tool(
    (
        "/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed",
        "/boot/efi/EFI/fedora/grubx64.efi",
        "/boot/efi/EFI/centos/grubx64.efi",
        "/boot/efi/EFI/redhat/grubx64.efi",
    ),
    "grub-efi-amd64-signed",
    "grub2-efi-x64",
)
"""The signed GRUB that looks for its configuration on the disk it came from."""


def find(tool: Tool) -> Path:
    """Where the tool is.

    Raises MissingTool.
    """
    return find_all([tool])[tool]


def find_all(tools: Iterable[Tool]) -> Mapping[Tool, Path]:
    """Where all of them are.

    Raises MissingTool that names every missing one, with the install commands as its note.
    """
    wanted = tuple(dict.fromkeys(tools))
    found = {tool: path for tool in wanted if (path := _find(tool)) is not None}
    missing = [tool for tool in wanted if tool not in found]
    if missing:
        names = ", ".join(Path(tool.names[0]).name for tool in missing)
        error = MissingTool(f"the rehearsal needs {names}, not installed here")
        debian = " ".join(dict.fromkeys(tool.debian for tool in missing))
        fedora = " ".join(dict.fromkeys(tool.fedora for tool in missing))
        error.add_note(f"apt-get install {debian}   or   dnf install {fedora}")
        raise error
    return found


def _find(tool: Tool) -> Path | None:
    for name in tool.names:
        path = Path(name)
        if path.is_absolute():
            if path.is_file():
                return path
        elif program := shutil.which(name) or shutil.which(name, path=SYSTEM_FOLDERS):
            return Path(program)
    return None
