"""The boot programs we serve, and where the distribution's packages put them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from pxe.errors import MissingProgram


class Family(Enum):
    """Distributions that agree on package names; the value is the install command."""

    DEBIAN = "apt-get install"
    FEDORA = "dnf install"


@dataclass(frozen=True, slots=True)
class Source:
    """Where one family keeps a program."""

    package: str
    paths: tuple[str, ...]
    """Glob patterns below `/`, the first that matches is used."""


def _syslinux(name: str) -> Mapping[Family, Source]:
    return {
        Family.DEBIAN: Source("syslinux-common", (f"usr/lib/syslinux/modules/bios/{name}",)),
        Family.FEDORA: Source("syslinux", (f"usr/share/syslinux/{name}",)),
    }


def _ipxe(name: str, fedora_name: str) -> Mapping[Family, Source]:
    return {
        Family.DEBIAN: Source("ipxe", (f"usr/lib/ipxe/{name}",)),
        Family.FEDORA: Source("ipxe-bootimgs-x86", (f"usr/share/ipxe/{fedora_name}",)),
    }


def _efi_vendor(package: str, folder: str, name: str) -> Source:
    """Signed programs in Fedora's family lie on the EFI system partition, per vendor."""
    return Source(package, (f"boot/efi/EFI/[a-z]*/{name}", f"usr/lib/efi/{folder}/*/EFI/*/{name}"))


GRUB_MULTIBOOT = tuple(
    f"grub/x86_64-efi/{name}.mod"
    for name in ("multiboot2", "relocator", "video", "acpi", "mmap", "net")
)
"""What a signed GRUB loads beside its configuration to start a hypervisor, and only where Secure
Boot is off: of the same build as the signed image, or it does not fit."""


def _grub_module(name: str) -> Mapping[Family, Source]:
    path = f"usr/lib/grub/x86_64-efi/{name}"
    return {
        Family.DEBIAN: Source("grub-efi-amd64-bin", (path,)),
        Family.FEDORA: Source("grub2-efi-x64-modules", (path,)),
    }


PROGRAMS: Mapping[str, Mapping[Family, Source]] = {
    "undionly.kpxe": _ipxe("undionly.kpxe", "undionly.kpxe"),
    "ipxe.efi": _ipxe("ipxe.efi", "ipxe-x86_64.efi"),
    "snponly.efi": _ipxe("snponly.efi", "ipxe-snponly-x86_64.efi"),
    "shimx64.efi": {
        Family.DEBIAN: Source("shim-signed", ("usr/lib/shim/shimx64.efi.signed",)),
        Family.FEDORA: _efi_vendor("shim-x64", "shim", "shimx64.efi"),
    },
    "mmx64.efi": {
        # Debian signs it in its own package, Ubuntu ships it signed under the plain name.
        Family.DEBIAN: Source(
            "shim-helpers-amd64-signed", ("usr/lib/shim/mmx64.efi.signed", "usr/lib/shim/mmx64.efi")
        ),
        Family.FEDORA: _efi_vendor("shim-x64", "shim", "mmx64.efi"),
    },
    "grubx64.efi": {
        # The netboot image looks for its configuration in /grub of the server it came from.
        Family.DEBIAN: Source(
            "grub-efi-amd64-signed", ("usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed",)
        ),
        Family.FEDORA: _efi_vendor("grub2-efi-x64", "grub2", "grubx64.efi"),
    },
    "pxelinux.0": {
        Family.DEBIAN: Source("pxelinux", ("usr/lib/PXELINUX/pxelinux.0",)),
        Family.FEDORA: Source("syslinux-nonlinux", ("usr/share/syslinux/pxelinux.0",)),
    },
    "ldlinux.c32": _syslinux("ldlinux.c32"),
    "chain.c32": _syslinux("chain.c32"),
    "libcom32.c32": _syslinux("libcom32.c32"),
    "libutil.c32": _syslinux("libutil.c32"),
    "mboot.c32": _syslinux("mboot.c32"),
    **{name: _grub_module(name.rpartition("/")[2]) for name in GRUB_MULTIBOOT},
}
"""Served name -> where each family keeps it.

Debian's paths were seen on an installed system, Fedora's are from its documentation.
"""


def find_programs(root: Path = Path("/")) -> Mapping[str, Path]:
    """The programs that are installed, by the name they are served under."""
    return {name: path for name in PROGRAMS if (path := _find(name, root)) is not None}


def require(names: Iterable[str], root: Path = Path("/")) -> Mapping[str, Path]:
    """The given programs.

    Raises MissingProgram when any is not installed: one sentence per program, and the install
    command of this distribution as the note.
    """
    names = tuple(names)
    found = find_programs(root)
    missing = [name for name in names if name not in found]
    if not missing:
        return {name: found[name] for name in names}
    families = _families(root)
    error = MissingProgram("; ".join(_sentence(name, families) for name in missing))
    for family in families:
        packages = sorted({PROGRAMS[name][family].package for name in missing})
        error.add_note(f"{family.value} {' '.join(packages)}")
    raise error


def _find(name: str, root: Path) -> Path | None:
    for source in PROGRAMS[name].values():
        for pattern in source.paths:
            for path in sorted(root.glob(pattern)):
                if path.is_file():
                    return path
    return None


def _sentence(name: str, families: Iterable[Family]) -> str:
    places = " or ".join(
        f"/{source.paths[0]} of package {source.package}"
        for source in (PROGRAMS[name][family] for family in families)
    )
    return f"boot program {name} is not installed, expected {places}"


def _families(root: Path) -> tuple[Family, ...]:
    """This distribution's family from os-release(5); both when it tells of neither."""
    words: set[str] = set()
    for path in (root / "etc/os-release", root / "usr/lib/os-release"):
        if path.is_file():
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                key, _, value = line.partition("=")
                if key in ("ID", "ID_LIKE"):
                    words.update(value.strip("\"'").split())
            break
    if words & {"debian", "ubuntu"}:
        return (Family.DEBIAN,)
    if words & {"fedora", "rhel", "centos"}:
        return (Family.FEDORA,)
    return tuple(Family)
