"""Targets: the systems that packages are built for, each a YAML file."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import Enum
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from rpmspecs.errors import BadInput
from rpmspecs.yamlfile import Section, read_yaml, unknown

FOLDER = Path(__file__).with_name("targets")
"""Our own targets."""

BASE_ARCHES: Mapping[str, str] = {"i586": "i386", "i686": "i386", "x86_64_v2": "x86_64"}
"""dnf's `$basearch` where it is not the architecture itself."""


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


def targets() -> list[str]:
    """The names of our own targets, in their natural order."""
    names = (path.stem for path in FOLDER.glob("*.yaml"))
    return sorted(names, key=lambda name: re.sub(r"\d+", lambda n: n[0].zfill(4), name))


def load_target(name: str | Path) -> Target:
    """One of ours by its name, or a person's own by the path of its YAML file.

    Raises BadInput with every problem of the file.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
        return read_target(path)
    known = targets()
    if str(name) in known:
        return read_target(FOLDER / f"{name}.yaml")
    error = BadInput(unknown("target", str(name), known))
    error.add_note("a target of your own is named by the path of its YAML file")
    raise error


def macros_of(target: Target) -> Mapping[str, str]:
    """Every RPM macro, without `%`, that a spec is read and built with for a target.

    `fedora` and `rhel` are what the target's own release package says; given here too, so that
    a spec reads the same on a host of any kind.
    """
    number = re.match(r"\d+", target.release)
    return {
        "dist": target.dist,
        MAIN_MACRO[target.family]: number[0] if number else target.release,
        "rackseed_services": target.services.value,
        "openstack_python": target.python,
        **target.macros,
    }


def has_rich_dependencies(target: Target) -> bool:
    """Whether its RPM knows `(a or b)`; EL7's 4.11 does not, nor weak dependencies."""
    return target.family is not Family.EL or target.release.split("-")[0] != "7"


MAIN_MACRO: Mapping[Family, str] = {Family.FEDORA: "fedora", Family.EL: "rhel"}


def with_mirror(target: Target, mirror: str) -> Target:
    """The target with its repositories on another server, under the same paths.

    `mirror` takes the place of scheme and host; keys stay where they are, for a mirror cannot
    vouch for itself. Repositories in folders (`file:`) stay too.

    Raises BadInput when `mirror` is no URL.
    """
    new = urlsplit(mirror)
    if new.scheme not in ("http", "https", "ftp", "file") or (
        not new.netloc and new.scheme != "file"
    ):
        raise BadInput(f"--mirror: found {mirror!r}, expected a URL such as http://mirror.lan/")

    def moved(url: str) -> str:
        old = urlsplit(url)
        if old.scheme == "file":
            return url
        path = f"{new.path.rstrip('/')}/{old.path.lstrip('/')}"
        return urlunsplit((new.scheme, new.netloc, path, old.query, ""))

    repositories = tuple(replace(r, baseurl=moved(r.baseurl)) for r in target.repositories)
    return replace(target, repositories=repositories)


def expanded(target: Target, url: str) -> str:
    """A repository's URL with dnf's variables filled in."""
    values = {"releasever": target.release, "basearch": BASE_ARCHES.get(target.arch, target.arch)}
    return re.sub(r"\$(?:(\w+)|\{(\w+)\})", lambda m: values.get(m[1] or m[2], m[0]), url)


URL = r"(?:https?|ftp)://[^\s/]\S*|file:///\S*"
KEYS = tuple(item.name for item in fields(Target) if item.name != "name")
REPOSITORY_KEYS = tuple(item.name for item in fields(Repository) if item.name != "name")


def read_target(path: Path) -> Target:
    """A target from its file; the file's name is its name. Raises BadInput."""
    top, problems = read_yaml(path, KEYS)
    family = top.choice("family", Family)
    services = top.choice("services", ServicePackages, ServicePackages.OWN)
    target = Target(
        name=path.stem,
        family=family or Family.EL,
        release=top.text("release", "dnf's releasever, such as 43", form=r"[\w.-]+"),
        dist=top.text("dist", "the macro %dist, such as .fc43", form=r"\.\w[\w.]*"),
        arch=top.text("arch", "an architecture such as x86_64", "x86_64", form=r"\w+"),
        repositories=read_repositories(top),
        build_packages=top.texts("build_packages", "package names and @groups", None),
        services=services or ServicePackages.OWN,
        python=top.text("python", "a version such as 3.12", "3.12", form=r"3\.\d+"),
        package_manager=top.text(
            "package_manager", "dnf5, dnf4 or yum", "dnf4", form="dnf5|dnf4|yum"
        ),
        macros=top.pairs("macros"),
    )
    if not target.repositories:
        top.wrong("repositories", "none is given, expected at least one with a baseurl")
    problems.raise_any()
    return target


def read_repositories(top: Section) -> tuple[Repository, ...]:
    """The repositories, named by their keys."""
    found = []
    for name, section in top.sections("repositories", REPOSITORY_KEYS):
        repository = Repository(
            name=name,
            baseurl=section.text("baseurl", "a URL of http, https, ftp or file", form=URL),
            gpgkeys=section.texts("gpgkeys", "a URL of http, https, ftp or file", form=URL),
            gpgcheck=section.flag("gpgcheck", default=True),
            repo_gpgcheck=section.flag("repo_gpgcheck", default=False),
            excludes=section.texts("excludes", "package names"),
        )
        if not re.fullmatch(r"[\w.:-]+", name):
            section.wrong("", f"{name!r} cannot name a repository, expected letters, digits, -")
        if name == "main":
            section.wrong("", "'main' is dnf's own section, expected another name")
        if (repository.gpgcheck or repository.repo_gpgcheck) and not repository.gpgkeys:
            section.wrong("gpgkeys", "missing, expected the keys to check with, or gpgcheck: false")
        found.append(repository)
    return tuple(found)


def described(target: Target) -> Mapping[str, object]:
    """A target as plain values, for records and for telling two apart."""
    return {
        "name": target.name,
        "family": target.family.value,
        "release": target.release,
        "arch": target.arch,
        "package_manager": target.package_manager,
        "build_packages": list(target.build_packages),
        "repositories": [expanded(target, r.baseurl) for r in target.repositories],
        "macros": dict(macros_of(target)),
    }
