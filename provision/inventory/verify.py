"""What an inventory names outside of itself: files, programs, the interface."""

from collections.abc import Sequence
from pathlib import Path

import jinja2

from provision.inventory import views
from provision.inventory.model import Inventory, Place
from provision.inventory.problems import Problem, suggestion
from pxe.boot import Loader

GRUB_PORT = 80
"""The only HTTP port that GRUB before 2.12 can reach."""


def verify_files(inventory: Inventory) -> list[Problem]:
    """Every file that a boot needs is there."""
    problems = []
    for path, need in views.artifact_needs(inventory).items():
        if trouble := file_trouble(inventory.artifacts, path):
            hint = _near_file(inventory.artifacts, path)
            problems.append(Problem(need.place, need.key, trouble, hint))
    for answer, (place, key) in _answers(inventory).items():
        problems += verify_template(answer, place, key)
    return problems


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


def _near_file(folder: Path, path: str) -> str:
    """The nearest file that is there, else where to put it."""
    beside = (folder / path).parent
    names = [file.name for file in beside.iterdir()] if beside.is_dir() else []
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


def warn(inventory: Inventory, interfaces: Sequence[str]) -> list[Problem]:
    """What may be right on another machine, or with other firmware, but is wrong on most."""
    network = inventory.network
    top = Place(inventory.path, 1)
    warnings = []
    if network.interface not in interfaces:
        message = f"there is no interface {network.interface} on this machine"
        hint = suggestion(network.interface, sorted(set(interfaces) - {"lo"}))
        warnings.append(Problem(network.place or top, "network.interface", message, hint))
    for host in inventory.hosts.values():
        grub = host.secure_boot or host.loader is Loader.GRUB
        if grub and network.http_port != GRUB_PORT:
            message = f"GRUB before 2.12 cannot fetch from port {network.http_port}"
            hint = f"GRUB falls back to TFTP, which is slower; or set http_port: {GRUB_PORT}"
            key = f"racks.{host.rack}.{host.name}"
            warnings.append(Problem(host.place or top, key, message, hint))
    return warnings
