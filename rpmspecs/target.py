"""Targets: the systems that packages are built for, each a YAML file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class Family(Enum):
    """Which conventions a target follows."""

    FEDORA = "fedora"
    EL = "el"


class ServicePackages(Enum):
    """Where a target gets its OpenStack service packages from."""

    OWN = "own"
    """From the specs of this package: no distribution has any."""
    RDO = "rdo"


@dataclass(frozen=True, slots=True)
class Repository:
    """One package repository that builds install from."""

    name: str
    baseurl: str
    """With dnf's `$releasever` and `$basearch`; `file://` too."""
    gpgkeys: tuple[str, ...] = ()
    """URLs, `file://` too."""
    gpgcheck: bool = True
    repo_gpgcheck: bool = False
    excludes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Target:
    """A system to build for."""

    name: str
    """As users write it: `fedora-43`, `centos-stream-10`."""
    family: Family
    release: str
    """dnf's releasever: `43`, `10-stream`, `7`."""
    dist: str
    """The macro `%dist`: `.fc43`, `.el10`."""
    arch: str
    repositories: tuple[Repository, ...]
    build_packages: tuple[str, ...]
    """What a build root holds before BuildRequires: `@buildsys-build`, or names."""
    services: ServicePackages
    python: str = "3.12"
    """Version of the interpreter that our service packages run on."""
    package_manager: str = "dnf4"
    """As mock calls it: `dnf5`, `dnf4`, `yum`."""
    macros: Mapping[str, str] = field(default_factory=dict)
    """RPM macros without `%`, beyond `dist`."""
