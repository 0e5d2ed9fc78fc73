"""Build roots: a base root kept per target and repository state, layers above it, one per build."""

import fcntl
import hashlib
import logging
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from rpmspecs.builds import Build
from rpmspecs.dnf import MAIN, check_url, complaint, platform, sections
from rpmspecs.errors import BadInput, DiskFull, RpmError, ToolMissing
from rpmspecs.folders import Folders, full, is_full, locked
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

SUBFOLDERS_KEPT = ("roots", "layers")
"""Of the cache: what is kept between builds."""

NO_NAMESPACE = re.compile(
    r"^(unshare|bwrap): .*$|^mount: .*(not permitted|denied).*$", re.MULTILINE
)
NAMESPACE_HINT = (
    "an ordinary user needs namespaces: sysctl kernel.unprivileged_userns_clone=1 (Debian), "
    "kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu), user.max_user_namespaces"
)

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
    offered: tuple[Path, ...]
    listed: Path | None
    """installed_pkgs.log of what the root holds, where that is known already."""
    held: ExitStack
    """Locks on the layers."""


class BuildRoots:
    """Makes build roots below `cache`, which belongs to the caller."""

    def __init__(
        self, start: Start, settings: BuildSettings, cache: Path, who: Identity, dnf: str
    ) -> None:
        self._settings = settings
        self._cache = cache.absolute()
        self._who = who
        self._dnf = dnf
        alone = who is Identity.SINGLE and shutil.which("fakeroot") is not None
        self._owners = ("fakeroot", "--") if alone else ()
        """Before dnf: lets rpm give files to owners that a single user cannot have."""
        self._folders = Folders(start, self._cache, who)
        self._states: dict[str, str] = {}
        self._overlay: bool | None = None

    def sweep(self) -> None:
        """Remove what killed builds left, and what was not used for long."""
        self._folders.sweep(SUBFOLDERS_KEPT)

    @contextmanager
    def base(self, target: Target, build: Build, root_log: Path) -> Iterator[Base]:
        """The target's kept root, made when its repositories changed; nobody removes it now."""
        wanted = _digest(target.name, target.release, target.arch, *target.build_packages)
        wanted = _digest(SHAPE, self._who.value, wanted, sections(target))
        with locked(self._cache / "roots" / f"{target.name}.lock"):
            state = self._state(target, wanted, build, root_log)
            folder = self._cache / "roots" / f"{target.name}-{_digest(wanted, state)[:16]}"
            if not (folder / "installed").is_file():
                with self._folders.make(build.name) as made:
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
        with self._folders.make(build.name) as folder:
            self._write_configuration(folder, target, offered, base.database)
            (folder / "base").symlink_to(base.root)
            layers = ["base"] if self._overlays(folder, build) else []
            if not layers:
                self._copy(base, folder, build)
            with ExitStack() as held:
                dnf = self._dnf_command(target, folder)
                yield BuildRoot(
                    folder, base, layers, dnf, tuple(offered), base.folder / "installed", held
                )

    def install(
        self,
        root: BuildRoot,
        package: str,
        missing: Sequence[str],
        target: Target,
        build: Build,
        root_log: Path,
    ) -> None:
        """Install what `package`, a source package in the build folder, requires to be built.

        What that adds is kept as a layer, and taken again for whoever misses the same.

        Raises MissingRequirement, RepositoryUnavailable, DiskFull.
        """
        command = [*root.dnf, "builddep", package]
        if not root.layers:
            root.listed = None
            self._install(root.folder, (), command, target, build, root_log)
            return
        offered = [_state_of(folder) for folder in root.offered]
        below = [(root.folder / name).resolve().parent.name for name in root.layers]
        layer = self._cache / "layers" / _digest(*below, *missing, *offered)[:32]
        if not (layer / "installed").is_file():
            made = root.folder / "layer"
            self._install(root.folder, root.layers, command, target, build, root_log)
            self._list(root.folder, root.layers, build, made / "installed")
            (made / "lock").touch()
            layer.parent.mkdir(exist_ok=True)
            with suppress(OSError):
                made.rename(layer)
            if made.exists():  # another build made the same meanwhile
                made.rename(root.folder / f"spare{len(root.layers)}")
            for name in ("upper", "work"):
                (made / name).mkdir(parents=True)
        held = root.held.enter_context((layer / "lock").open("a"))
        fcntl.flock(held, fcntl.LOCK_SH)
        os.utime(layer)
        name = f"layer{len(root.layers)}"
        (root.folder / name).symlink_to(layer / "upper")
        root.layers.insert(0, name)
        root.listed = layer / "installed"
        _note(root_log, f"build requirements: layer {layer.name}")

    def installed(self, root: BuildRoot, build: Build, result: Path) -> None:
        """Write installed_pkgs.log: what the root holds now. Raises RpmError when that is none."""
        into = result / "installed_pkgs.log"
        if root.listed is not None:
            into.write_bytes(root.listed.read_bytes())
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
            with self._folders.make(build.name) as folder:
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
        wrapped = [*self._owners, *command]
        argv = entered(self._who, folder, wrapped, layers=layers, cache=cache)
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
        if "No such command: builddep" in said:
            return ToolMissing("dnf has no builddep; it is in the package dnf-plugins-core")
        if refused := NO_NAMESPACE.search(said):
            error: RpmError = BadInput(f"this machine lets {build.name} not be built: {refused[0]}")
            error.add_note(NAMESPACE_HINT)
            return error
        known = complaint(said, build.name)
        if isinstance(known, DiskFull):
            return full(build.name, self._cache)
        if known is not None:
            return known
        tail = " ".join(said.split("\n")[-4:]).strip()
        error = RpmError(f"{build.name}: dnf ended with status {status}, see {root_log}: {tail}")
        if self._who is Identity.SINGLE and "chown" in said:
            error.add_note(
                "packages hold files of several owners, which takes the program fakeroot, or "
                "subordinate ids: usermod --add-subuids 100000-165535 --add-subgids "
                "100000-165535 USER"
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


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _state_of(folder: Path) -> str:
    """Which packages a folder offers; its metadata has the time at which it was made."""
    files = [(path.name, path.stat()) for path in sorted(folder.rglob("*.rpm"))]
    return repr([(name, status.st_size, status.st_mtime_ns) for name, status in files])


def _size(path: Path) -> int:
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def _note(path: Path, line: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")
