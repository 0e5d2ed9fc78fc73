"""A Debian tree: grown by mmdebstrap from the host's own mirrors, read by dpkg's records."""

import os
import re
import stat
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

UNWANTED = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/info/*")
"""Never unpacked: nothing runs them, and they are half of the size."""

UNCOUNTED = ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")
"""Relations that make nothing be installed."""

DAY = 20000
"""Since 1970 began (shadow(5)): the same tree has the same accounts on every day."""


@dataclass(frozen=True, slots=True)
class DebianPackage:
    """What dpkg knows about one installed package."""

    name: str
    version: str
    provides: tuple[str, ...]
    depends: tuple[tuple[str, ...], ...]
    """Each with its alternatives, by name alone."""
    files: tuple[str, ...]
    """As the package spells them: `/bin/bash` also where `/bin` is a link."""
    conffiles: frozenset[str]


@dataclass(frozen=True, slots=True)
class Tree:
    """An installed Debian tree."""

    root: Path
    packages: Mapping[str, DebianPackage]
    users: Mapping[int, str]
    groups: Mapping[int, str]

    def paths(self) -> Iterator[tuple[str, os.stat_result]]:
        """Every path below the root with its status, in order."""
        pending = [self.root]
        while pending:
            for entry in sorted(pending.pop().iterdir()):
                status = entry.lstat()
                yield f"/{entry.relative_to(self.root)}", status
                if stat.S_ISDIR(status.st_mode):
                    pending.append(entry)

    def resolve(self, path: str, hops: int = 0) -> str:
        """The path with every link in its folders followed, inside this tree."""
        resolved = PurePosixPath("/")
        parts = PurePosixPath(path).parts[1:]
        for index, part in enumerate(parts):
            resolved = resolved / part
            last = index == len(parts) - 1
            inside = self.root / str(resolved).lstrip("/")
            if last or not inside.is_symlink() or hops > 40:
                continue
            target = PurePosixPath("/", *resolved.parent.parts[1:], inside.readlink())
            resolved = PurePosixPath(self.resolve(os.path.normpath(target), hops + 1))
        return str(resolved)


def codename() -> str:
    """The suite that this machine runs."""
    for line in Path("/etc/os-release").read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition("=")
        if key == "VERSION_CODENAME":
            return value.strip('"')
    raise LookupError("/etc/os-release names no VERSION_CODENAME")


def sources(suite: str) -> list[str]:
    """The `deb` lines by which this machine gets its own packages."""
    wanted = "deb $(REPO_URI) $(RELEASE) $(COMPONENT)"
    listed = _output(["apt-get", "indextargets", "--format", wanted, "Created-By: Packages"])
    lines = sorted(set(listed.splitlines()))
    return [line for line in lines if line.split()[2].split("-")[0] == suite]


def closure(wanted: Sequence[str]) -> str:
    """What this machine's lists know of `wanted` and all that they may depend on."""
    if not wanted:
        return ""
    lacking = [f"--no-{kind}" for kind in UNCOUNTED]
    named = _output(["apt-cache", "depends", "--recurse", *lacking, *wanted]).splitlines()
    names = sorted({line for line in named if not line.startswith((" ", "<", "|"))})
    shown = _output(["apt-cache", "show", "--no-all-versions", *names])
    kept = ("Package:", "Version:", "SHA256:")
    return "\n".join(line for line in shown.splitlines() if line.startswith(kept))


def grow(root: Path, wanted: Sequence[str]) -> None:
    """Install `wanted` and what they depend on at `root`; needs root."""
    suite = codename()
    _output(
        [
            "mmdebstrap",
            "--quiet",
            "--variant=minbase",
            "--mode=root",
            f"--include={','.join(wanted)}",
            *(f"--dpkgopt=path-exclude={pattern}" for pattern in UNWANTED),
            suite,
            str(root),
            *sources(suite),
        ]
    )
    shadow = root / "etc/shadow"
    text = shadow.read_text(encoding="utf-8")
    # When passwords were changed, which is today for all of them.
    shadow.write_text(re.sub(r"(?m)^([^:]*:[^:]*):\d+:", rf"\1:{DAY}:", text), encoding="utf-8")


def read(root: Path) -> Tree:
    """The tree at `root` with what dpkg recorded."""
    records = (root / "var/lib/dpkg/status").read_text(encoding="utf-8").split("\n\n")
    packages = (_package(root, _fields(record)) for record in records if record.strip())
    return Tree(
        root,
        {package.name: package for package in packages},
        users=_numbered(root / "etc/passwd"),
        groups=_numbered(root / "etc/group"),
    )


def _numbered(accounts: Path) -> dict[int, str]:
    lines = [line.split(":") for line in accounts.read_text(encoding="utf-8").splitlines()]
    return {int(number): name for name, _, number, *_ in lines}


def _package(root: Path, fields: Mapping[str, str]) -> DebianPackage:
    name = fields["Package"]
    info = root / "var/lib/dpkg/info"
    listing = info / f"{name}.list"
    if not listing.exists():
        listing = info / f"{name}:{fields['Architecture']}.list"
    return DebianPackage(
        name=name,
        version=fields["Version"],
        provides=tuple(_names(fields.get("Provides", ""), ",")),
        depends=tuple(
            tuple(_names(clause, "|"))
            for key in ("Pre-Depends", "Depends")
            for clause in fields.get(key, "").split(",")
            if clause.strip()
        ),
        files=tuple(
            path for path in listing.read_text(encoding="utf-8").splitlines() if len(path) > 2
        ),
        conffiles=frozenset(
            line.split()[0] for line in fields.get("Conffiles", "").splitlines() if line.strip()
        ),
    )


def _fields(record: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    key = ""
    for line in record.splitlines():
        if line.startswith(" "):
            fields[key] += "\n" + line
        else:
            key, _, value = line.partition(":")
            fields[key] = value.strip()
    return fields


def _names(text: str, separator: str) -> Iterator[str]:
    """Package names without versions and architectures."""
    for word in text.split(separator):
        if word.strip():
            yield word.split()[0].partition(":")[0]


def _output(argv: Sequence[str]) -> str:
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{argv[0]} failed:\n{done.stderr[-3000:]}")
    return done.stdout
