"""dnf's side of a build root: its configuration as text, and what its complaints mean."""

import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from rpmspecs.errors import (
    BadInput,
    DiskFull,
    MissingRequirement,
    RepositoryUnavailable,
    RpmError,
)
from rpmspecs.target import Family, Repository, Target

OFFERED_PRIORITY = 10
"""dnf takes the lowest number first and 99 where none is given: what we just built wins."""

URL = re.compile(r"(https?|ftp|file)://[A-Za-z0-9._~:/?#@!$&()*+,;=%\[\]-]+")
"""Without quotes, spaces and braces: URLs stand in INI files, in Python and in Jinja text."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]*")
"""Names of targets, repositories and architectures: they become sections and folders."""

PACKAGE = re.compile(r"@?[A-Za-z0-9][^\s'\"{}\\]*")
"""Names of packages and, with `@`, of groups."""

MACRO = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\([^()\s]*\))?")

MAIN = """\
[main]
assumeyes=1
best=1
debuglevel=2
gpgcheck=0
install_weak_deps=0
keepcache=1
metadata_expire={expire}
obsoletes=1
plugins=1
protected_packages=
reposdir=/dev/null
retries=2
skip_if_unavailable=False
syslog_device=
timeout=20
"""
"""Of dnf.conf; `expire`: seconds after which metadata is asked for again, -1: never."""


def sections(target: Target, offered: Sequence[Path] = ()) -> str:
    """The repositories as sections of dnf.conf, the offered folders before all others.

    Raises BadInput for what cannot be written there safely.
    """
    check_target(target)
    parts = [_section(repository) for repository in target.repositories]
    parts += [_offered(number, folder) for number, folder in enumerate(offered)]
    return "\n".join(parts)


def check_target(target: Target) -> None:
    """Raises BadInput for a target with characters that another program would read as its own."""
    for what, text in (
        ("the name of the target", target.name),
        ("the release", target.release),
        ("the architecture", target.arch),
    ):
        if not NAME.fullmatch(text):
            raise BadInput(f"{target.name!r}: {what} is {text!r}, expected letters and digits")
    for package in target.build_packages:
        if not PACKAGE.fullmatch(package):
            raise BadInput(f"{target.name}: {package!r} is no name of a package or @group")
    for macro, value in {**target.macros, "dist": target.dist}.items():
        if not MACRO.fullmatch(macro):
            raise BadInput(f"{target.name}: {macro!r} is no name of a macro")
        if not value.isprintable() or "{{" in value or "{%" in value or "{#" in value:
            raise BadInput(
                f"{target.name}: the macro {macro} is {value!r}, expected one line without "
                "{{, {% and {#"
            )


def platform(target: Target) -> str:
    """dnf's platform id, by which it chooses streams of modules: `platform:el9`."""
    letters = "f" if target.family is Family.FEDORA else "el"
    return f"platform:{letters}{re.split(r'[-.]', target.release)[0]}"


def check_url(what: str, url: str | None) -> None:
    """Raises BadInput for a URL with quotes, spaces, braces or line breaks."""
    if url is not None and not URL.fullmatch(url):
        raise BadInput(
            f"{what} is {url!r}, expected a URL (http, https, ftp, file) without quotes, spaces "
            "and braces"
        )


def complaint(text: str, name: str) -> RpmError | None:
    """What dnf's output says of `name`'s build root, as one of our errors; None: nothing known.

    The wordings are those of dnf 4, dnf 5 and librepo.
    """
    for pattern in _FULL:
        if found := pattern.search(text):
            return DiskFull(f"{name}: no space left for the build root: {found.group().strip()}")
    for pattern, status in _UNREACHABLE:
        if found := pattern.search(text):
            return RepositoryUnavailable(
                f"{name}: {found.group('url')} does not answer as a repository: "
                + status.format(**found.groupdict())
            )
    if found := _UNREADABLE.search(text):
        return RepositoryUnavailable(
            f"{name}: the repository {found['repository']} gives no metadata that can be read: "
            + found["why"].strip()
        )
    missing = sorted(
        {" ".join(m.group("what").split()) for p in _MISSING for m in p.finditer(text)}
    )
    if missing:
        return MissingRequirement(
            f"{name} needs {', '.join(missing)}, which no repository of the target provides"
        )
    if found := _UNSOLVED.search(text):
        why = " ".join(line.strip(" -") for line in found["what"].splitlines())
        return MissingRequirement(f"{name}: what it needs cannot be installed together: {why}")
    return None


_FULL = (
    re.compile(r"^.*No space left on device.*$", re.MULTILINE),
    re.compile(r"^.*more space (?:needed )?on the .* filesystem.*$", re.MULTILINE),
    re.compile(r"^.*disk requirements:?\n.*$", re.MULTILINE | re.IGNORECASE),
)
_UNREACHABLE = (
    (re.compile(r"Status code: (?P<code>\d+) for (?P<url>\S+)"), "status {code}"),
    (
        re.compile(
            r"Curl error \(\d+\): (?P<why>.*?) for (?P<url>(?:https?|ftp|file)://\S+)"
            r"(?: \[(?P<more>[^]\n]*)\])?"
        ),
        "{why}: {more}",
    ),
    (
        re.compile(r"^(?:Error: )?(?P<why>repomd.xml [^\n]*|GPG [^\n]*) (?P<url>\S+://\S+)", re.M),
        "{why}",
    ),
)
_UNREADABLE = re.compile(
    r"Failed to download metadata for repo '(?P<repository>[^'\n]+)': (?P<why>[^\n]+)"
)
_UNSOLVED = re.compile(r"^ *Problem(?: \d+)?: (?P<what>.*(?:\n +- .*)*)", re.MULTILINE)
_MISSING = (
    re.compile(r"No matching package to install: '(?P<what>[^'\n]+)'"),
    re.compile(r"No match for argument: (?P<what>[^\n]+)"),
    re.compile(r"Unable to find a match: (?P<what>[^\n]+)"),
    re.compile(r"nothing provides (?:requested )?(?P<what>[^\n]+?)(?: needed by [^\n]*)?$", re.M),
)


def _section(repository: Repository) -> str:
    what = f"the repository {repository.name}"
    if not NAME.fullmatch(repository.name) or repository.name == "main":
        raise BadInput(f"{what!r}: expected a name of letters and digits")
    check_url(f"{what}: its baseurl", repository.baseurl)
    for key in repository.gpgkeys:
        check_url(f"{what}: its gpgkey", key)
    for exclude in repository.excludes:
        if not PACKAGE.fullmatch(exclude.lstrip("*")) or "," in exclude:
            raise BadInput(f"{what}: {exclude!r} is no name of packages to exclude")
    lines = [
        f"[{repository.name}]",
        f"name={repository.name}",
        f"baseurl={repository.baseurl}",
        f"gpgcheck={int(repository.gpgcheck)}",
        f"repo_gpgcheck={int(repository.repo_gpgcheck)}",
    ]
    if repository.gpgkeys:
        lines.append("gpgkey=" + " ".join(repository.gpgkeys))
    if repository.excludes:
        lines.append("excludepkgs=" + ",".join(repository.excludes))
    return "\n".join([*lines, ""])


def _offered(number: int, folder: Path) -> str:
    url = "file://" + quote(str(folder.absolute()))
    check_url("the folder of packages", url)
    return (
        f"[offered-{number}]\nname=packages built before, folder {number + 1}\nbaseurl={url}\n"
        f"gpgcheck=0\nmetadata_expire=0\npriority={OFFERED_PRIORITY}\n"
    )
