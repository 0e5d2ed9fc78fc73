"""Builds in mock, with configurations of our own."""

import fcntl
import grp
import hashlib
import itertools
import logging
import os
import pwd
import re
import shlex
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from rpmspecs.buildlog import failing_lines
from rpmspecs.builds import Build, Builds, FirstAlone
from rpmspecs.dnf import MAIN, check_target, check_url, complaint, platform, sections
from rpmspecs.errors import BadInput, BuildFailed, DiskFull, RpmError, ToolMissing
from rpmspecs.macros import macros
from rpmspecs.running import Programs
from rpmspecs.settings import BuildSettings
from rpmspecs.target import Target

log = logging.getLogger(__name__)

GROUP = "mock"

PACKAGE_MANAGERS = ("dnf4", "dnf5", "yum")

IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]*")

BUILD_ENDED_BADLY = (1, 10)
"""mock's statuses when rpmbuild failed: 10 by its own table, 1 was seen with mock 6.7."""

SAID_BY_RPMBUILD = re.compile(r"^(error: |RPM build errors:)", re.MULTILINE)

LOCKED = 60
"""mock's status while another mock holds the build root."""

CACHE = Path("/var/cache/mock")
"""mock's own. Where a site has another, the first build of each run of ours is alone."""

CLEANING = 30
"""Seconds that a mock which was ended may still hold its build root."""


def mock_config(target: Target, settings: BuildSettings, offered: Sequence[Path] = ()) -> str:
    """The text of a mock configuration file; `offered` folders come before all repositories.

    Raises BadInput for values that mock, Python or Jinja would read as something else.
    """
    check_target(target)
    if target.package_manager not in PACKAGE_MANAGERS:
        raise BadInput(
            f"{target.name}: the package manager is {target.package_manager!r}, expected one of "
            + ", ".join(PACKAGE_MANAGERS)
        )
    if settings.bootstrap_image is not None and not IMAGE.fullmatch(settings.bootstrap_image):
        raise BadInput(f"{settings.bootstrap_image!r} is no name of a container image")
    check_url("the proxy", settings.proxy)
    yum = target.package_manager == "yum"
    main = MAIN.format(expire=0)
    if not yum:
        main += f"module_platform_id={platform(target)}\n"
    repositories = f"{main}\n{sections(target, offered)}"
    return (
        _templates()
        .get_template("mock.cfg.j2")
        .render(
            target=target,
            settings=settings,
            root=root_name(target, settings),
            setup="install " + " ".join(target.build_packages),
            macros=sorted(macros(target).items()),
            repositories_key="yum.conf" if yum else "dnf.conf",
            repositories=repositories.splitlines(keepends=True),
        )
    )


def root_name(target: Target, settings: BuildSettings) -> str:
    """mock's name of the build root, and so of its cache: another one for other repositories."""
    of = f"{target.build_packages} {sections(target)} {settings.bootstrap_image}"
    digest = hashlib.sha256(of.encode()).hexdigest()
    return f"rackseed-{target.name}-{target.arch}-{digest[:8]}"


def has_cached_root(name: str) -> bool:
    """Whether mock keeps a root by this name, and need not install one again."""
    return any(CACHE.glob(f"{name}/root_cache/cache.tar*"))


def mock_command(config: Path, slot: str, result: Path, *arguments: str) -> list[str]:
    """mock's command line; `slot` tells builds that run at once apart."""
    return [
        "mock",
        f"--root={config}",
        f"--uniqueext={slot}",
        f"--resultdir={result}",
        *arguments,
    ]


class MockBackend:
    """The protocol `Backend`, by mock, for an ordinary user of the group mock."""

    name = "mock"

    def __init__(self, programs: Programs, settings: BuildSettings, cache: Path) -> None:
        """`cache` keeps our configurations; it is made, and belongs to the caller."""
        self._settings = settings
        self._cache = cache.absolute()
        self._start = programs.start
        self._builds = Builds(programs.start)
        self._firsts = FirstAlone()

    def build_srpm(self, spec: Path, sources: Path, target: Target, result: Path) -> Path:
        """See Backend. mock writes no installed_pkgs.log for a source package."""
        what = ("--buildsrpm", f"--spec={spec.absolute()}", f"--sources={sources.absolute()}")
        self._mock(spec.stem, target, (), result, what)
        return _made(result, "*.src.rpm")[0]

    def build_rpms(
        self, srpm: Path, target: Target, offered: Sequence[Path], result: Path
    ) -> Sequence[Path]:
        """See Backend."""
        name = srpm.name.removesuffix(".src.rpm")
        self._mock(name, target, offered, result, ("--rebuild", str(srpm.absolute())))
        installed = result / "installed_pkgs.log"
        if not installed.is_file() or not installed.read_text(encoding="utf-8").strip():
            raise RpmError(
                f"{name}: mock lists no package in {installed}: the host's rpm and the build "
                "root's keep their databases at different places (%_dbpath)"
            )
        return [path for path in _made(result, "*.rpm") if not path.name.endswith(".src.rpm")]

    def stop(self) -> None:
        """See Backend."""
        self._builds.stop()

    def _mock(
        self,
        name: str,
        target: Target,
        offered: Sequence[Path],
        result: Path,
        what: Sequence[str],
    ) -> None:
        check_caller()
        result.mkdir(parents=True, exist_ok=True)
        said = result / "mock.log"
        for path in (said, result / "build.log", result / "root.log"):
            path.write_bytes(b"")
        config = self._configuration(target, offered)
        root = root_name(target, self._settings)
        with (
            self._builds.build(name) as build,
            self._firsts.build(root, has_cached_root),
            self._slot() as slot,
        ):
            build.go_on()  # it may have waited long
            command = mock_command(config, slot, result.absolute(), *what)
            try:
                status = build.run(hangup(command), log=said)
            except BaseException:
                self._clean(config, slot, result, said)
                raise
        if status:
            raise _failure(name, status, result)

    def _configuration(self, target: Target, offered: Sequence[Path]) -> Path:
        """Written when it is another: mock makes its cached root anew for a newer file."""
        text = mock_config(target, self._settings, offered)
        folder = self._cache / "mock"
        folder.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256(text.encode()).hexdigest()
        path = folder / f"{target.name}-{digest[:16]}.cfg"
        if not path.exists():
            new = path.with_suffix(f".{os.getpid()}.{next(_NUMBERS)}")
            new.write_text(text, encoding="utf-8")
            new.rename(path)
        return path

    @contextmanager
    def _slot(self) -> Iterator[str]:
        """The lowest free number, so that mock's folders are used again."""
        folder = self._cache / "mock" / "slots"
        folder.mkdir(parents=True, exist_ok=True)
        for number in itertools.count():
            with (folder / str(number)).open("a") as held, suppress(BlockingIOError):
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield f"{_user()}-{number}"
                return

    def _clean(self, config: Path, slot: str, result: Path, said: Path) -> None:
        """After an interrupted mock: it may still be ending, then its root goes. Never stopped."""
        deadline = time.monotonic() + CLEANING
        command = mock_command(config, slot, result.absolute(), "--clean")
        while time.monotonic() < deadline:
            if Build("cleaning", self._start).run(hangup(command), log=said) != LOCKED:
                return
            time.sleep(0.5)
        log.warning("mock still holds its build root slot=%s", slot)


def check_caller() -> None:
    """Raises ToolMissing or BadInput where this process cannot use mock."""
    if shutil.which("mock") is None:
        raise ToolMissing("mock is not installed; it is in the package mock of Fedora and EPEL")
    if os.geteuid() == 0:
        if "SUDO_UID" in os.environ:
            return
        raise BadInput(f"mock does not build for root: run this as a user of the group {GROUP}")
    try:
        members = grp.getgrnam(GROUP).gr_gid
    except KeyError:
        raise ToolMissing(f"there is no group {GROUP}; the package mock makes it") from None
    if members not in (os.getegid(), *os.getgroups()):
        user = _user()
        raise BadInput(
            f"{user} is not in the group {GROUP}: run `usermod -a -G {GROUP} {user}` as root "
            "and log in again"
        )
    if shutil.which("script") is None:
        raise ToolMissing(
            "script is not installed; it is in the package util-linux, or util-linux-script"
        )


def hangup(command: Sequence[str]) -> list[str]:
    """`command` on a terminal of its own, which is hung up when we end it.

    mock becomes root, whom an ordinary user may not signal; the kernel may (SIGHUP).
    """
    if os.geteuid() == 0:
        return list(command)
    return [
        "script",
        "--quiet",
        "--return",
        "--flush",
        "--command",
        shlex.join(command),
        "/dev/null",
    ]


def _user() -> str:
    """By our number: the environment may speak of somebody else."""
    return pwd.getpwuid(os.geteuid()).pw_name


def _failure(name: str, status: int, result: Path) -> RpmError:
    root_text, build_text, said = (
        (result / log_name).read_text(encoding="utf-8", errors="replace")
        for log_name in ("root.log", "build.log", "mock.log")
    )
    if "No space left on device" in root_text + build_text + said:
        return DiskFull(f"{name} was not built: no space left for mock, or in {result}")
    if status in BUILD_ENDED_BADLY and SAID_BY_RPMBUILD.search(build_text):
        return BuildFailed(name, result / "build.log", failing_lines(build_text))
    known = complaint(root_text, name) or complaint(said, name)
    if known is not None:
        return known
    errors = [line for line in said.splitlines() if line.startswith("ERROR:")]
    why = (errors or said.splitlines() or ["it said nothing"])[-1].strip()
    return RpmError(f"{name}: mock ended with status {status}, see {result}/mock.log: {why}")


def _made(result: Path, pattern: str) -> list[Path]:
    return sorted(result.glob(pattern))


_NUMBERS = itertools.count()


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("rpmspecs"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters["python"] = repr
    return environment
