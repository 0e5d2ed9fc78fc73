"""What an inventory names outside of itself: files, programs, the interface."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import jinja2

from kickstarts.systems import SYSTEMS
from provision.installing import SECOND_STAGE, has_rest
from provision.inventory import views
from provision.inventory.model import Install, Inventory, Place, Role, System
from provision.inventory.problems import Problem, suggestion
from pxe.boot import Loader

GRUB_PORT = 80
"""The only HTTP port that GRUB before 2.12 can reach."""

GZIP = b"\x1f\x8b"
PACKED: Mapping[bytes, tuple[str, str]] = {
    GZIP: ("gzip", ".gz"),
    b"\xfd7zXZ\0": ("xz", ".xz"),
    b"\x28\xb5\x2f\xfd": ("zstd", ".zst"),
}
"""How a file begins that the ramdisk can unpack, its format, and the suffix that tells it so."""

NOT_RAW: Mapping[bytes, str] = {
    b"QFI\xfb": "qcow2",
    b"KDMV": "VMDK",
    b"vhdxfile": "VHDX",
    b"conec" + b"tix": "VHD",  # two parts: no misspelling
    b"BZh": "bzip2",
    b"\x04\x22\x4d\x18": "lz4",
    b"hsqs": "squashfs",
    b"PK\x03\x04": "zip",
}
"""How files begin that would be written to the disk as they are and never boot."""
CONVERTIBLE = ("qcow2", "VMDK", "VHDX", "VHD")


def verify_files(inventory: Inventory) -> list[Problem]:
    """Every file that a boot needs is there."""
    problems = []
    for path, need in views.artifact_needs(inventory).items():
        if trouble := file_trouble(inventory.artifacts, path):
            hint = _near_file(inventory.artifacts, path)
            problems.append(Problem(need.place, need.key, trouble, hint))
        elif need.key.endswith(".image"):
            problems += verify_image(inventory.artifacts / path, need.place, need.key)
    problems += verify_hypervisors(inventory)
    for answer, (place, key) in _answers(inventory).items():
        problems += verify_template(answer, place, key)
    return problems


def verify_hypervisors(inventory: Inventory) -> list[Problem]:
    """What iPXE starts is not packed: on BIOS it unpacks nothing, as GRUB and mboot.c32 do."""
    problems: dict[str, Problem] = {}
    for host in inventory.hosts.values():
        system = views.system_of(host.role, inventory)
        if system is None or system.hypervisor is None or host.loader is not Loader.IPXE:
            continue
        path = inventory.artifacts / system.hypervisor
        if file_trouble(inventory.artifacts, system.hypervisor) or not _is_gzip(path):
            continue  # told already, or sound
        message = f"{path} is packed, expected it unpacked: {host.name} boots by iPXE"
        hint = f"gunzip --keep {path}, then  hypervisor: {system.hypervisor.removesuffix('.gz')}"
        key = f"systems.{system.name}.hypervisor"
        problem = Problem(system.place or Place(inventory.path, 1), key, message, hint)
        problems.setdefault(system.name, problem)
    return list(problems.values())


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == GZIP


def file_trouble(folder: Path, path: str) -> str | None:
    """Why a file cannot be served, or None."""
    try:
        real = (folder / path).resolve(strict=True)
        if not real.is_relative_to(folder.resolve()):
            return f"{folder / path} leads out of {folder}, expected a file below it"
        if not real.is_file():
            return f"{folder / path} is not a file, expected one"
        with real.open("rb") as file:
            return None if file.read(1) else f"{folder / path} is empty, expected a file"
    except FileNotFoundError:
        return f"{folder / path} does not exist, expected a file"
    except RuntimeError:  # Python before 3.13
        return f"{folder / path} cannot be read (a loop of symbolic links), expected a file"
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        return f"{folder / path} cannot be read ({why}), expected a readable file"


def verify_image(path: Path, place: Place, key: str) -> list[Problem]:
    """An image is what its name says: raw, or raw and packed in a way that the ramdisk knows."""
    with path.open("rb") as file:
        begin = file.read(8)
    for magic, kind in NOT_RAW.items():
        if begin.startswith(magic):
            message = f"{path} is {kind}, expected a raw disk image"
            hint = f"rackseed image stage {path} {path.parent}, and name {path.stem}.raw.zst"
            return [Problem(place, key, message, hint if kind in CONVERTIBLE else None)]
    kind, suffix = next((PACKED[magic] for magic in PACKED if begin.startswith(magic)), ("raw", ""))
    expected = next((kind for kind, known in PACKED.values() if path.suffix == known), "raw")
    if kind == expected:
        return []
    message = f"{path} is {kind} by its content and {expected} by its name, expected one of both"
    return [Problem(place, key, message, f"rename it to end in {suffix}" if suffix else None)]


def _near_file(folder: Path, path: str) -> str:
    """The nearest file that is there, else where to put it."""
    beside = (folder / path).parent
    own = Path(path).name
    names = [each.name for each in beside.iterdir()] if beside.is_dir() else []
    if own in names:
        return f"{beside / own} is there and of no use: put the right one in its place"
    return suggestion(Path(path).name, names) if names else f"the folder for it is {beside}"


def _answers(inventory: Inventory) -> dict[Path, tuple[Place, str]]:
    """Every answer template that a host needs, with the first role that names it."""
    found: dict[Path, tuple[Place, str]] = {}
    for host in inventory.hosts.values():
        role = host.role
        if role.answer is not None:
            place = role.place or Place(inventory.path, 1)
            found.setdefault(role.answer, (place, f"roles.{role.name}.answer"))
    return found


def verify_template(path: Path, place: Place, key: str) -> list[Problem]:
    """A template can be read and parsed; a syntax error is placed in the template itself."""
    try:
        text = path.read_text(encoding="utf-8")
        jinja2.Environment(autoescape=False).parse(text)
    except jinja2.TemplateSyntaxError as error:
        message = f"not a Jinja2 template: {error.message}"
        return [Problem(Place(path, error.lineno), "", message, f"named by {place}: {key}")]
    except UnicodeDecodeError:
        return [Problem(place, key, f"{path} is not UTF-8 text, expected a template")]
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        return [Problem(place, key, f"{path} cannot be read ({why}), expected a template")]
    return []


def _is_alone(role: Role, system: System) -> bool:
    """Whether nothing leads an installer from its initrd to the rest of itself.

    Anaconda finds it by a URL in its kickstart too, but not by a list of mirrors.
    """
    if not views.answered_by_us(role) or has_rest(role.install, system):
        return False
    if role.install is not Install.KICKSTART:
        return True
    by_url = system.name in SYSTEMS and SYSTEMS[system.name].tree.url is not None
    return system.tree is None and not by_url


def warn(inventory: Inventory, interfaces: Sequence[str]) -> list[Problem]:
    """What may be right on another machine, or with other firmware, but is wrong on most."""
    network = inventory.network
    top = Place(inventory.path, 1)
    warnings = []
    if network.interface not in interfaces:
        message = f"there is no interface {network.interface} on this machine"
        hint = suggestion(network.interface, sorted(set(interfaces) - {"lo"}))
        warnings.append(Problem(network.place or top, "network.interface", message, hint))
    for role in inventory.roles.values():
        system = views.system_of(role, inventory)
        if system is not None and _is_alone(role, system):
            message = f"nothing says where the rest of {system.name}'s installer is"
            word = SECOND_STAGE[role.install][0]
            hint = f"add  tree: URL, or an argument  {word}URL"
            if role.install is not Install.KICKSTART:
                hint = f"add an argument  {word}URL"
            key = f"systems.{system.name}"
            place = system.place or top
            if not any(warning.key == key for warning in warnings):
                warnings.append(Problem(place, key, message, hint))
        if ("migration", "tcp") in role.options:
            message = "with migration: tcp every machine that reaches port 16509 owns the guests"
            hint = "take it out: without it guests move by ssh"
            key = f"roles.{role.name}.options"
            warnings.append(Problem(role.place or top, key, message, hint))
    for host in inventory.hosts.values():
        grub = host.secure_boot or host.loader is Loader.GRUB
        if grub and network.http_port != GRUB_PORT:
            message = f"GRUB before 2.12 cannot fetch from port {network.http_port}"
            hint = f"GRUB falls back to TFTP, which is slower; or set http_port: {GRUB_PORT}"
            key = f"racks.{host.rack}.{host.name}"
            warnings.append(Problem(host.place or top, key, message, hint))
    return warnings
