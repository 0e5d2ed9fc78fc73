"""The decision which RPM each path of a tree goes into, and what the RPMs require."""

import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from tests.fixture_distribution.debian import DebianPackage, Tree
from tests.fixture_distribution.names import (
    CLAIMED,
    LEFT_OUT,
    MERGED,
    MOVED,
    NOT_REQUIRED,
    PROVIDES,
    REQUIRES,
    SETUP_OWNS,
    USERS,
    rpm_names,
)

PRUNED = re.compile(
    r"/(dev|proc|sys|run|tmp)/|/var/(lib/(dpkg|apt|pam|shells\.state|ucf)|cache/.|log/.|spool/cron)"
    r"|/etc/(apt|dpkg|rc[0-9S]\.d|init\.d|cron\.|ld\.so\.cache|resolv\.conf|hostname|machine-id)"
    r"|.*/__pycache__|/root/\.ssh|.*/deb-systemd-|/(etc|usr/lib)/os-release|/usr/share/info/|/etc/(apache2|chrony|mysql|ppp|resolvconf|network|sv|apparmor\.d)/"
    r"|/usr/(sbin/a2|lib/systemd/system/(apache|chrony|mysql|mariadb[@-]))"
)
"""What no package is to carry, whatever put it there."""


@dataclass(slots=True)
class Rpm:
    """One package to be made."""

    name: str
    version: str
    release: str
    summary: str
    files: set[str] = field(default_factory=set)
    folders: set[str] = field(default_factory=set)
    configs: set[str] = field(default_factory=set)
    provides: set[str] = field(default_factory=set)
    requires: set[str] = field(default_factory=set)
    requires_pre: set[str] = field(default_factory=set)
    """What its `%pre` needs, beside `filesystem`."""
    owners: dict[str, tuple[str, str]] = field(default_factory=dict)
    """User and group of the paths that are not root's."""
    scripts: Mapping[str, str] = field(default_factory=dict)
    """By the name of the spec's section: `post`."""


def cut(tree: Tree, dist: str) -> dict[str, Rpm]:
    """Every RPM that the tree makes, by name; each path that is not pruned is in at least one."""
    names = rpm_names()
    rpms: dict[str, Rpm] = {}
    owners: dict[str, str] = {}
    for package in tree.packages.values():
        if package.name in LEFT_OUT:
            continue
        name = names.get(package.name, package.name)
        if name not in rpms:
            rpms[name] = _start(tree, name, dist)
        _take(tree, package, rpms, name, owners)
    _take_the_rest(tree, rpms, owners)
    for name, rpm in rpms.items():
        rpm.provides |= set(PROVIDES.get(name, ()))
        rpm.requires |= set(REQUIRES.get(name, "").split())
        rpm.requires -= {name, *NOT_REQUIRED.get(name, "").split()}
        if name not in ("filesystem", "setup"):  # which come before there are accounts
            rpm.owners |= _owners(tree, rpm)
        if rpm.owners:
            rpm.requires_pre.add("setup")
    return rpms


def beyond(rpms: Mapping[str, Rpm], base: frozenset[str]) -> dict[str, Rpm]:
    """Those that no Debian package of the base has a part in."""
    names = rpm_names()
    known = {names.get(old, old) for old in base}
    return {name: rpm for name, rpm in rpms.items() if name not in known}


def _owners(tree: Tree, rpm: Rpm) -> dict[str, tuple[str, str]]:
    found = {}
    for path in rpm.files | rpm.folders:
        status = (tree.root / path.lstrip("/")).lstat()
        if status.st_uid or status.st_gid:
            user, group = tree.users[status.st_uid], tree.groups[status.st_gid]
            found[path] = (USERS.get(user, user), USERS.get(group, group))
    return found


def _start(tree: Tree, name: str, dist: str) -> Rpm:
    merged = [old for old in MERGED.get(name, name).split() if old in tree.packages]
    version, release = rpm_version(tree.packages[merged[0]].version)
    summary = f"fixture: {name}, cut from Debian's {', '.join(merged)}"
    return Rpm(name, version, release + dist, summary)


def rpm_version(debian: str) -> tuple[str, str]:
    """Version and release; the epoch is left out."""
    upstream, _, revision = debian.rpartition(":")[2].rpartition("-")
    if not upstream:
        upstream, revision = revision, "1"
    return upstream.replace("-", "_").replace(":", "_"), revision


def _take(
    tree: Tree, package: DebianPackage, rpms: dict[str, Rpm], name: str, owners: dict[str, str]
) -> None:
    """Put what the Debian package has into the RPM."""
    rpm = rpms[name]
    for spelled in package.files:
        path = tree.resolve(spelled)
        inside = tree.root / path.lstrip("/")
        if PRUNED.match(path) or not (inside.exists() or inside.is_symlink()):
            continue
        if stat.S_ISDIR(inside.lstat().st_mode):
            rpm.folders.add(path)
            owners[path] = name
            continue
        owner = rpm
        if path in MOVED:
            moved = Rpm(MOVED[path], rpm.version, rpm.release, f"{rpm.summary}, {path}")
            owner = rpms.setdefault(moved.name, moved)
        owner.files.add(path)
        owners[path] = owner.name
        if spelled in package.conffiles:
            owner.configs.add(path)
        if spelled.startswith(("/bin/", "/sbin/")):
            owner.provides.add(spelled)
    rpm.requires |= set(_requirements(tree, package))


def _requirements(tree: Tree, package: DebianPackage) -> Iterator[str]:
    names = rpm_names()
    for alternatives in package.depends:
        found = next(filter(None, (_provider(tree, wanted) for wanted in alternatives)), None)
        if found and found not in LEFT_OUT:
            yield names.get(found, found)


def _provider(tree: Tree, wanted: str) -> str | None:
    if wanted in tree.packages:
        return wanted
    return next((p.name for p in tree.packages.values() if wanted in p.provides), None)


def _take_the_rest(tree: Tree, rpms: dict[str, Rpm], owners: dict[str, str]) -> None:
    """What maintainer scripts made, and the folders that everybody needs."""
    for path, status in tree.paths():
        if PRUNED.match(path) or path in owners:
            continue
        if stat.S_ISDIR(status.st_mode):
            rpms["filesystem"].folders.add(path)
            continue
        name = _claimant(tree, path, owners)
        if name:
            rpms[name].files.add(path)
            owners[path] = name
            if name == "setup" and path.startswith("/etc/"):
                rpms[name].configs.add(path)
    shared = rpms["filesystem"].folders
    for name, rpm in rpms.items():
        if name != "filesystem":
            rpm.folders -= shared


def _claimant(tree: Tree, path: str, owners: Mapping[str, str]) -> str | None:
    """The RPM that an unlisted file belongs to, if anybody needs it."""
    if path in SETUP_OWNS:
        return "setup"
    for prefix, name in CLAIMED.items():
        if path.startswith(prefix):
            return name
    for _ in range(5):
        link = tree.root / path.lstrip("/")
        if not link.is_symlink():
            break
        path = tree.resolve(os.path.normpath(PurePosixPath(path).parent / link.readlink()))
        if path in owners:
            return owners[path]
    return None
