"""Build roots: a base root kept per target and repository state, layers above it, one per build."""

import fcntl
import hashlib
import logging
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from rpmspecs.builds import Build
from rpmspecs.dnf import MAIN, check_url, complaint, platform, sections
from rpmspecs.errors import DiskFull, RpmError
from rpmspecs.namespaces import BUILDER, HOME, Identity, entered, sandboxed
from rpmspecs.running import Start
from rpmspecs.settings import BuildSettings
from rpmspecs.target import Target

log = logging.getLogger(__name__)

SHAPE = "1"
"""Part of every key: raise it when roots are made otherwise, and none of the old is used."""

FIRST_DATABASE = "/usr/lib/sysimage/rpm"
"""Where the packages are recorded until the root's own rpm says where it looks for them."""

INSTALLED = r"%{nevra} %{buildtime} %{size} installed\n"
"""One line of installed_pkgs.log, as mock's package_state plugin writes it."""

UNUSED_DAYS = 14
"""A kept root or layer that no build used for so long is removed."""

REMOVALS = 20
"""How often the removal of a folder is tried."""

HOST_MACROS = """\
%_dbpath {database}
%_netsharedpath /dev:/proc:/sys
%__transaction_audit %{{nil}}
%__transaction_dbus_announce %{{nil}}
%__transaction_selinux %{{nil}}
%__transaction_syslog %{{nil}}
%__transaction_systemd_inhibit %{{nil}}
"""
"""For the host's rpm: Debian's keeps its database in the home of the caller."""


@dataclass(frozen=True, slots=True)
class Base:
    """A kept root that holds the target's build packages; never written to again."""

    folder: Path
    """`root`, `database`, `installed`, `lock`."""

    @property
    def root(self) -> Path:
        """The root itself."""
        return self.folder / "root"

    @property
    def database(self) -> str:
        """The folder of its RPM database, as seen inside."""
        return (self.folder / "database").read_text(encoding="utf-8")


@dataclass(slots=True)
class BuildRoot:
    """The folder of one build: its root is put together anew for each program in it."""

    folder: Path
    base: Base
    layers: list[str]
    """Names of the overlay's lower layers, the uppermost first; none: the root is a copy."""
    dnf: tuple[str, ...]
    """dnf with all its options."""
    is_base: bool = True
    """Nothing was installed beyond the base."""


class BuildRoots:
    """Makes build roots below `cache`, which belongs to the caller."""

    def __init__(
        self, start: Start, settings: BuildSettings, cache: Path, who: Identity, dnf: str
    ) -> None:
        self._start = start
        self._settings = settings
        self._cache = cache.absolute()
        self._who = who
        self._dnf = dnf
        self._states: dict[str, str] = {}
        self._overlay: bool | None = None

    def sweep(self) -> None:
        """Remove what killed builds left, and what was not used for long."""
        with self._making_folders():
            for folder in self._cache.glob("builds/*"):
                self._remove_unused(folder, days=0)
            for folder in (*self._cache.glob("roots/*/"), *self._cache.glob("layers/*/")):
                self._remove_unused(folder, days=UNUSED_DAYS)

    @contextmanager
    def base(self, target: Target, build: Build, root_log: Path) -> Iterator[Base]:
        """The target's kept root, made when its repositories changed; nobody removes it now."""
        wanted = _digest(target.name, target.release, target.arch, *target.build_packages)
        wanted = _digest(SHAPE, self._who.value, wanted, sections(target))
        with _locked(self._cache / "roots" / f"{target.name}.lock"):
            state = self._state(target, wanted, build, root_log)
            folder = self._cache / "roots" / f"{target.name}-{_digest(wanted, state)[:16]}"
            if not (folder / "installed").is_file():
                with self._folder(build) as made:
                    self._install_base(made, target, build, root_log)
                    folder.parent.mkdir(parents=True, exist_ok=True)
                    (made / "kept").rename(folder)
            held = (folder / "lock").open("a")
            fcntl.flock(held, fcntl.LOCK_SH)
        with held:
            _note(root_log, f"build root: {folder.name}")
            os.utime(folder)
            yield Base(folder)

    @contextmanager
    def root(
        self, base: Base, target: Target, offered: Sequence[Path], build: Build
    ) -> Iterator[BuildRoot]:
        """A root for one build above its base; nothing of it is left afterwards."""
        with self._folder(build) as folder:
            self._write_configuration(folder, target, offered, base.database)
            (folder / "base").symlink_to(base.root)
            layers = ["base"] if self._overlays(folder, build) else []
            if not layers:
                self._copy(base, folder, build)
            yield BuildRoot(folder, base, layers, self._dnf_command(target, folder))

    def install(
        self, root: BuildRoot, package: str, target: Target, build: Build, root_log: Path
    ) -> None:
        """Install what a source package in the build folder requires to be built.

        Raises MissingRequirement, RepositoryUnavailable, DiskFull.
        """
        command = [*root.dnf, "builddep", package]
        root.is_base = False
        self._install(root.folder, root.layers, command, target, build, root_log)

    def installed(self, root: BuildRoot, build: Build, result: Path) -> None:
        """Write installed_pkgs.log: what the root holds now. Raises RpmError when that is none."""
        into = result / "installed_pkgs.log"
        if root.is_base:
            into.write_bytes((root.base.folder / "installed").read_bytes())
        else:
            self._list(root.folder, root.layers, build, into)

    def run(
        self,
        root: BuildRoot,
        argv: Sequence[str],
        build: Build,
        build_log: Path,
        readable: Mapping[str, str] | None = None,
    ) -> int:
        """Run a program in the sandbox, as the builder; returns its status."""
        inside = sandboxed(
            "root",
            argv,
            writable={HOME: "home", "/tmp": "tmp", "/var/tmp": "vartmp"},
            readable=readable,
        )
        command = entered(self._who, root.folder, inside, layers=root.layers)
        return build.run(command, log=build_log)

    # making a base

    def _install_base(self, folder: Path, target: Target, build: Build, root_log: Path) -> None:
        log.info("installing the build root of target=%s", target.name)
        for name in ("dev", "proc", "sys", HOME.strip("/"), "var/tmp", "tmp"):
            (folder / "root" / name).mkdir(parents=True)
        self._write_configuration(folder, target, (), FIRST_DATABASE)
        command = [*self._dnf_command(target, folder), "install", *target.build_packages]
        self._install(folder, [], command, target, build, root_log)
        database = self._own_database(folder, build, root_log)
        with (folder / "root/etc/passwd").open("a", encoding="utf-8") as users:
            users.write(f"builder:x:{BUILDER}:{BUILDER}::{HOME}:/bin/bash\n")
        with (folder / "root/etc/group").open("a", encoding="utf-8") as groups:
            groups.write(f"builder:x:{BUILDER}:\n")
        self._list(folder, [], build, folder / "installed")
        kept = folder / "kept"
        kept.mkdir()
        (kept / "database").write_text(database, encoding="utf-8")
        (kept / "lock").touch()
        for name in ("root", "installed"):
            (folder / name).rename(kept / name)

    def _own_database(self, folder: Path, build: Build, root_log: Path) -> str:
        """Put the RPM database where the root's own rpm looks for it."""
        said = folder / "said"
        inside = sandboxed("root", ["rpm", "--eval", "%{_dbpath}"], writable={})
        build.run(entered(self._who, folder, inside), log=said)
        database = said.read_text(encoding="utf-8").strip()
        if not database.startswith(("/var/lib/", "/usr/lib/")) or database == FIRST_DATABASE:
            return FIRST_DATABASE
        there = f"root{database}"
        move = f"mkdir -p {there} && mv root{FIRST_DATABASE}/* {there}/"
        command = entered(self._who, folder, ["/bin/sh", "-euc", move])
        if build.run(command, log=root_log):
            raise RpmError(f"{build.name}: the RPM database cannot be put at {database}")
        self._write_macros(folder, database)
        return database

    def _state(self, target: Target, wanted: str, build: Build, root_log: Path) -> str:
        """Digest of the repositories' metadata, which is fetched once for each of our lives."""
        if wanted not in self._states:
            with self._folder(build) as folder:
                (folder / "root").mkdir(exist_ok=True)
                self._write_configuration(folder, target, (), FIRST_DATABASE)
                command = [*self._dnf_command(target, folder), "makecache", "--refresh"]
                self._install(folder, [], command, target, build, root_log)
            parts = [
                _digest(index.parent.parent.name, index.read_text(encoding="utf-8"))
                for index in sorted(self._dnf_cache(target).glob("*/repodata/repomd.xml"))
                if not index.parent.parent.name.startswith("offered-")
            ]
            self._states[wanted] = _digest(*parts)
        return self._states[wanted]

    # running dnf and rpm

    def _install(
        self,
        folder: Path,
        layers: Sequence[str],
        command: Sequence[str],
        target: Target,
        build: Build,
        root_log: Path,
    ) -> None:
        cache = self._dnf_cache(target)
        cache.mkdir(parents=True, exist_ok=True)
        begin = _size(root_log)
        argv = entered(self._who, folder, command, layers=layers, cache=cache)
        status = build.run(argv, log=root_log, env={"HOME": str(folder)})
        if status == 0:
            return
        with root_log.open("rb") as text:
            text.seek(begin)
            said = text.read().decode("utf-8", "replace")
        raise self._why(said, build, folder, root_log, status)

    def _why(self, said: str, build: Build, folder: Path, root_log: Path, status: int) -> RpmError:
        if is_full(folder):
            return full(build.name, self._cache)
        known = complaint(said, build.name)
        if isinstance(known, DiskFull):
            return full(build.name, self._cache)
        if known is not None:
            return known
        tail = " ".join(said.split("\n")[-4:]).strip()
        error = RpmError(f"{build.name}: dnf ended with status {status}, see {root_log}: {tail}")
        if self._who is Identity.SINGLE and "chown" in said:
            error.add_note(
                "packages hold files of several owners, which takes subordinate ids: "
                "usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER"
            )
        return error

    def _list(self, folder: Path, layers: Sequence[str], build: Build, into: Path) -> None:
        command = ["rpm", "--root", str(folder / "root"), "-qa", "--qf", INSTALLED]
        argv = entered(self._who, folder, command, layers=layers)
        into.unlink(missing_ok=True)
        status = build.run(argv, log=into, env={"HOME": str(folder)})
        if status or not into.read_text(encoding="utf-8").strip():
            raise RpmError(
                f"{build.name}: the build root's RPM database lists no package, see {into}"
            )

    def _dnf_command(self, target: Target, folder: Path) -> tuple[str, ...]:
        return (
            self._dnf,
            f"--config={folder}/dnf.conf",
            f"--installroot={folder}/root",
            f"--releasever={target.release}",
            f"--setopt=module_platform_id={platform(target)}",
            "--disableplugin=*",
            "--enableplugin=builddep",
        )

    def _dnf_cache(self, target: Target) -> Path:
        return self._cache / "dnf" / target.name

    def _write_configuration(
        self, folder: Path, target: Target, offered: Sequence[Path], database: str
    ) -> None:
        repositories = sections(target, offered)
        main = MAIN.format(expire=-1)
        check_url("the proxy", self._settings.proxy)
        if self._settings.proxy:
            main += f"proxy={self._settings.proxy}\n"
        (folder / "dnf.conf").write_text(f"{main}\n{repositories}", encoding="utf-8")
        self._write_macros(folder, database)

    def _write_macros(self, folder: Path, database: str) -> None:
        (folder / ".rpmmacros").write_text(HOST_MACROS.format(database=database), encoding="utf-8")

    # folders

    @contextmanager
    def _folder(self, build: Build) -> Iterator[Path]:
        """A folder of our own below `builds`, removed at the end whatever happens."""
        parent = self._cache / "builds"
        parent.mkdir(parents=True, exist_ok=True)
        with self._making_folders():
            folder = Path(tempfile.mkdtemp(prefix=f"{build.name}-", dir=parent))
            held = (folder / "lock").open("a")
            fcntl.flock(held, fcntl.LOCK_EX)
        with held:
            try:
                for name in ("root", "layer/upper", "layer/work", "home", "tmp", "vartmp"):
                    (folder / name).mkdir(parents=True)
                yield folder
            except OSError as error:
                if is_full(folder):
                    raise full(build.name, self._cache) from error
                raise
            finally:
                self._remove(folder)

    @contextmanager
    def _making_folders(self) -> Iterator[None]:
        """Nobody sweeps a folder between its making and its lock."""
        with _locked(self._cache / "builds.lock"):
            yield

    def _remove(self, folder: Path) -> None:
        """As root of the build root: its folders may be closed to us."""
        command = ["/bin/rm", "-rf", "--", str(folder)]
        for _ in range(REMOVALS):  # what was killed may write until it is dead
            child = self._start(entered(self._who, folder.parent, command))
            with suppress(TimeoutError):
                child.wait(600)
            child.stop()
            if not folder.exists():
                return
            time.sleep(0.1)
        log.warning("cannot remove folder=%s", folder)

    def _remove_unused(self, folder: Path, days: int) -> None:
        with suppress(FileNotFoundError, BlockingIOError), (folder / "lock").open("a") as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if time.time() - folder.stat().st_mtime >= days * 86400:
                self._remove(folder)

    def _overlays(self, folder: Path, build: Build) -> bool:
        """Whether the kernel lets us put an overlay into the cache; asked once."""
        if self._overlay is None:
            attempt = entered(self._who, folder, ["/bin/true"], layers=["base"])
            self._overlay = build.run(attempt, log=folder / "said") == 0
            if not self._overlay:
                log.warning("no overlays in folder=%s: build roots are copied", self._cache)
        return self._overlay

    def _copy(self, base: Base, folder: Path, build: Build) -> None:
        command = ["cp", "-a", "--reflink=auto", f"{base.root}/.", "root"]
        if build.run(entered(self._who, folder, command), log=folder / "said"):
            if is_full(folder):
                raise full(build.name, self._cache)
            said = (folder / "said").read_text(encoding="utf-8", errors="replace")
            raise RpmError(f"{build.name}: {base.root} cannot be copied: {said.strip()}")


def is_full(folder: Path) -> bool:
    """Whether the file system of a folder has no room left, for us at least."""
    room = os.statvfs(folder)
    return room.f_bavail * room.f_frsize < 1 << 20 or (room.f_files > 0 and room.f_favail == 0)


def full(name: str, folder: Path) -> DiskFull:
    """The error for a build that found no room."""
    return DiskFull(f"{name} was not built: no space left in {folder}")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _size(path: Path) -> int:
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def _note(path: Path, line: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")
