"""Builds where mock is not packaged: dnf makes the build root, rpmbuild runs in bubblewrap."""

import os
import pwd
import re
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from rpmspecs.buildlog import failing_lines
from rpmspecs.buildroot import BuildRoot, BuildRoots
from rpmspecs.builds import Build, Builds
from rpmspecs.dnf import check_target
from rpmspecs.errors import BadInput, BuildFailed, MissingRequirement, ToolMissing
from rpmspecs.folders import full, is_full
from rpmspecs.macros import macros
from rpmspecs.namespaces import HOME, Identity, identity
from rpmspecs.running import Programs
from rpmspecs.settings import BuildSettings
from rpmspecs.target import Target

TOOLS = {
    "bwrap": "bubblewrap",
    "dnf": "dnf",
    "rpm": "rpm",
    "unshare": "util-linux",
}
"""Programs of the host, and the package that has each on Debian and Fedora."""

ROUNDS = 10
"""How often a build may ask for more requirements (%generate_buildrequires)."""

TOP = f"{HOME}/build"

UNMET = re.compile(r"^error: Failed build dependencies:\n((?:[ \t]+.*\n?)+)", re.MULTILINE)
NEEDED = re.compile(r"^[ \t]+(.+) is needed by [^\s]+$", re.MULTILINE)

MAKE_SRPM = 'exec rpmbuild -bs --nodeps --target "$1" "$2"'
UNPACK = 'rpm -i --nodeps "$2" && rpmbuild -bs --nodeps --target "$1" build/SPECS/*.spec'
BUILD = 'exec rpmbuild -bb $2 --target "$1" build/SPECS/*.spec'


class ChrootBackend:
    """The protocol `Backend`, by dnf, rpmbuild and bubblewrap; needs no root."""

    name = "chroot"

    def __init__(self, programs: Programs, settings: BuildSettings, cache: Path) -> None:
        """`cache` keeps build roots and downloads; it is made, and belongs to the caller."""
        self._programs = programs
        self._settings = settings
        self._cache = cache
        self._builds = Builds(programs.start)
        self._begun = threading.Lock()
        self._made: BuildRoots | None = None

    def build_srpm(self, spec: Path, sources: Path, target: Target, result: Path) -> Path:
        """See Backend."""
        with self._build(spec.stem, target, result) as (build, roots):
            root_log = result / "root.log"
            with (
                roots.base(target, build, root_log) as base,
                roots.root(base, target, (), build) as root,
            ):
                roots.installed(root, build, result)
                self._prepare_home(root, target)
                inside = f"{TOP}/SPECS/{spec.name}"
                status = roots.run(
                    root,
                    _shell(MAKE_SRPM, target.arch, inside),
                    build,
                    result / "build.log",
                    readable={
                        f"{TOP}/SOURCES": str(sources.absolute()),
                        inside: str(spec.absolute()),
                    },
                )
                if status:
                    raise self._failure(build, root, result)
                return _collect(root, "SRPMS/*.src.rpm", result)[0]

    def build_rpms(
        self, srpm: Path, target: Target, offered: Sequence[Path], result: Path
    ) -> Sequence[Path]:
        """See Backend."""
        name = srpm.name.removesuffix(".src.rpm")
        with self._build(name, target, result) as (build, roots):
            root_log = result / "root.log"
            with (
                roots.base(target, build, root_log) as base,
                roots.root(base, target, offered, build) as root,
            ):
                self._prepare_home(root, target)
                self._build_until_satisfied(srpm, root, target, build, roots, result)
                _collect(root, "SRPMS/*.src.rpm", result)
                return _collect(root, "RPMS/**/*.rpm", result)

    def stop(self) -> None:
        """See Backend."""
        self._builds.stop()

    def _build_until_satisfied(
        self,
        srpm: Path,
        root: BuildRoot,
        target: Target,
        build: Build,
        roots: BuildRoots,
        result: Path,
    ) -> None:
        """rpmbuild says what is missing, dnf installs it, as often as that gives something new."""
        build_log = result / "build.log"
        inside = f"{HOME}/{srpm.name}"
        unpack = _shell(UNPACK, target.arch, inside)
        if roots.run(root, unpack, build, build_log, readable={inside: str(srpm.absolute())}):
            raise self._failure(build, root, result)
        options = ""
        before: tuple[str, ...] = ()
        for _ in range(ROUNDS):
            roots.installed(root, build, result)
            begin = build_log.stat().st_size
            status = roots.run(root, _shell(BUILD, target.arch, options), build, build_log)
            if status == 0:
                return
            missing = unmet(_tail(build_log, begin))
            if not missing:
                raise self._failure(build, root, result)
            if missing == before:  # dnf has it: the root's rpm cannot read what ours has written
                options = "--nodeps"
                continue
            roots.install(root, _requiring(root), missing, target, build, result / "root.log")
            before = missing
        raise MissingRequirement(
            f"{build.name} asked {ROUNDS} times for other requirements, last: {', '.join(before)}"
        )

    @contextmanager
    def _build(self, name: str, target: Target, result: Path) -> Iterator[tuple[Build, BuildRoots]]:
        roots = self._roots()
        check_target(target)
        if target.arch != (own := os.uname().machine):
            raise BadInput(
                f"{target.name} is for {target.arch}: in a chroot this machine builds for {own}"
            )
        result.mkdir(parents=True, exist_ok=True)
        for log_name in ("build.log", "root.log"):
            (result / log_name).write_bytes(b"")
        with self._builds.build(name) as build:
            yield build, roots

    def _roots(self) -> BuildRoots:
        """Looks at the machine once."""
        with self._begun:
            if self._made is None:
                for tool, package in TOOLS.items():
                    if shutil.which(tool) is None:
                        raise ToolMissing(
                            f"{tool} is not installed; it is in the package {package}"
                        )
                dnf = shutil.which("dnf-3") or "dnf"
                roots = BuildRoots(
                    self._programs.start, self._settings, self._cache, self._identity(), dnf
                )
                roots.sweep()
                self._made = roots
            return self._made

    def _identity(self) -> Identity:
        subuid = ""
        with suppress(OSError):
            subuid = Path("/etc/subuid").read_text(encoding="utf-8")
        user = ""
        with suppress(KeyError):  # a number without a name
            user = pwd.getpwuid(os.geteuid()).pw_name
        can_map = shutil.which("newuidmap") is not None and "--map-auto" in self._programs.run(
            ["unshare", "--help"]
        )
        return identity(os.geteuid(), user, subuid, can_map)

    def _prepare_home(self, root: BuildRoot, target: Target) -> None:
        home = root.folder / "home"
        for name in ("BUILD", "BUILDROOT", "RPMS", "SOURCES", "SPECS", "SRPMS"):
            (home / "build" / name).mkdir(parents=True)
        (home / ".rpmmacros").write_text(rpmmacros(macros(target)), encoding="utf-8")

    def _failure(self, build: Build, root: BuildRoot, result: Path) -> Exception:
        build_log = result / "build.log"
        text = _tail(build_log, 0)
        if is_full(root.folder) or "No space left on device" in text:
            return full(build.name, self._cache)
        return BuildFailed(build.name, build_log, failing_lines(text))


def rpmmacros(values: Mapping[str, str]) -> str:
    """The text of `.rpmmacros` in the builder's home."""
    lines = [f"%_topdir {TOP}", "%_rpmfilename %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm"]
    lines += [f"%{name} {value}" for name, value in values.items()]
    return "\n".join(lines) + "\n"


def unmet(text: str) -> tuple[str, ...]:
    """What rpmbuild says it needs and does not find; empty: it said no such thing."""
    return tuple(sorted({need for block in UNMET.findall(text) for need in NEEDED.findall(block)}))


def _shell(script: str, *arguments: str) -> list[str]:
    """A login shell, as mock has it: packages of the root may set the builder's environment."""
    return ["bash", "--login", "-c", script, "build", *arguments]


def _requiring(root: BuildRoot) -> str:
    """The package that says what is needed: the one with generated requirements, if any."""
    made = root.folder / "home/build/SRPMS"
    generated = sorted(made.glob("*.buildreqs.nosrc.rpm"))
    return str((generated or sorted(made.glob("*.src.rpm")))[-1])


def _collect(root: BuildRoot, pattern: str, result: Path) -> list[Path]:
    found = sorted((root.folder / "home/build").glob(pattern))
    return [Path(shutil.copy2(path, result)) for path in found]


def _tail(path: Path, begin: int) -> str:
    with path.open("rb") as file:
        file.seek(begin)
        return file.read().decode("utf-8", "replace")
