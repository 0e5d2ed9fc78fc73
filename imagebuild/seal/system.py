"""Which system an image holds, by what is in it and not by what a recipe says."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from imagebuild.inside.image import OS_RELEASE
from imagebuild.inside.tree import Tree

_SHARED = re.compile(r"libsystemd-shared-(\d+)")
"""systemd's own library has its version in its name since 231."""
_SHARED_FOLDERS = ("usr/lib/systemd", "lib/systemd", "usr/lib/*/systemd", "lib/*/systemd")
UNINITIALIZED_SINCE = 247
"""The first systemd that takes the word for an empty machine-id (its NEWS)."""
OLD_SYSTEMD = 219
"""What EL7 has; no library with a number in its name."""


class Family(Enum):
    """Systems that keep their files alike, by their package database."""

    DEB = "deb"
    RPM = "rpm"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class System:
    """What the rules of the seal ask of a system."""

    id: str
    """ID of os-release(5)."""
    version: str
    name: str
    """As people call it."""
    family: Family
    systemd: int | None
    """Its version, 219 for all older than 231; None where there is no systemd."""


def identify(tree: Tree) -> System:
    """Read the system's name, its package database's kind and systemd's version."""
    text = next((text for name in OS_RELEASE if (text := tree.text(name)) is not None), "")
    values = os_release(text)
    return System(
        id=values.get("ID", "linux"),
        version=values.get("VERSION_ID", ""),
        name=values.get("PRETTY_NAME", values.get("ID", "a system without a name")),
        family=_family(tree),
        systemd=_systemd(tree),
    )


def os_release(text: str) -> Mapping[str, str]:
    """The variables of an os-release file."""
    pairs = (line.strip().partition("=") for line in text.splitlines() if "=" in line)
    return {name: value.strip("\"'") for name, _, value in pairs if not name.startswith("#")}


def _family(tree: Tree) -> Family:
    if tree.exists("var/lib/dpkg"):
        return Family.DEB
    if tree.exists("var/lib/rpm") or tree.exists("usr/lib/sysimage/rpm"):
        return Family.RPM
    return Family.OTHER


def _systemd(tree: Tree) -> int | None:
    for folder in _SHARED_FOLDERS:
        for path in tree.glob(f"{folder}/libsystemd-shared-*"):
            if found := _SHARED.search(path):
                return int(found[1])
    present = tree.exists("usr/lib/systemd/systemd") or tree.exists("lib/systemd/systemd")
    return OLD_SYSTEMD if present else None
