"""The command lines by which a build gets a root of its own: unshare, enter.sh, bubblewrap."""

from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path

ENTER = Path(__file__).with_name("enter.sh")

BUILDER = 1000
"""User and group number inside the sandbox; outside it is the one who builds."""

HOME = "/builddir"
"""Home of the builder in the sandbox, where mock has it too."""

ENVIRONMENT = {
    "HOME": HOME,
    "HOSTNAME": "localhost",
    "LANG": "C.UTF-8",
    "LOGNAME": "builder",
    "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
    "SHELL": "/bin/bash",
    "TERM": "vt100",
    "USER": "builder",
}


class Identity(Enum):
    """Who root of the build root is, outside."""

    ROOT = "root"
    """Root itself."""
    SUBORDINATE = "subordinate"
    """An ordinary user; all other owners are his subordinate ids (/etc/subuid)."""
    SINGLE = "single"
    """An ordinary user without subordinate ids: every file belongs to him."""


UNSHARE = {
    Identity.ROOT: ["unshare", "--mount"],
    Identity.SUBORDINATE: ["unshare", "--mount", "--map-root-user", "--map-auto"],
    Identity.SINGLE: ["unshare", "--mount", "--map-root-user"],
}


def identity(uid: int, user: str, subuid: str, can_map: bool) -> Identity:
    """Who builds. `subuid` is the text of /etc/subuid; `can_map`: newuidmap and unshare map it."""
    if uid == 0:
        return Identity.ROOT
    owners = {line.partition(":")[0] for line in subuid.splitlines()}
    if can_map and owners & {user, str(uid)}:
        return Identity.SUBORDINATE
    return Identity.SINGLE


def entered(
    who: Identity,
    folder: Path,
    argv: Sequence[str],
    *,
    layers: Sequence[str] = (),
    cache: Path | None = None,
) -> list[str]:
    """`argv` run in `folder`, where `root` is put together from `layers`, the uppermost first.

    `cache` is dnf's; with it, the root has what package scripts want (/dev, /proc, /sys).
    """
    options = "" if who is Identity.ROOT else ",userxattr"  # trusted.* belongs to real root
    enter = ["/bin/sh", str(ENTER), str(folder), ":".join(layers), options, str(cache or "")]
    return [*UNSHARE[who], "--", *enter, *argv]


def sandboxed(
    root: str,
    argv: Sequence[str],
    *,
    writable: Mapping[str, str],
    readable: Mapping[str, str] | None = None,
) -> list[str]:
    """`argv` in bubblewrap: no network, processes of its own, `root` read-only.

    `writable` and `readable` are folders and files by their path inside.
    """
    binds: list[str] = []
    for inside, outside in writable.items():
        binds += ["--bind", outside, inside]
    for inside, outside in (readable or {}).items():
        binds += ["--ro-bind", outside, inside]
    environment: list[str] = []
    for name, value in ENVIRONMENT.items():
        environment += ["--setenv", name, value]
    who = ["--uid", str(BUILDER), "--gid", str(BUILDER), "--hostname", "localhost"]
    return [
        *("bwrap", "--unshare-all", "--unshare-user", "--die-with-parent", "--new-session", *who),
        *("--ro-bind", root, "/", "--dev", "/dev", "--proc", "/proc", "--clearenv"),
        *environment,
        *binds,
        *("--chdir", HOME, "--"),
        *argv,
    ]
