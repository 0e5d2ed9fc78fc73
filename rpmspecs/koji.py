"""Builds in Koji, for those who outgrow one machine: source packages go up, packages come down."""

import logging
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from rpmspecs.backend import Backend
from rpmspecs.buildlog import failing_lines
from rpmspecs.dnf import complaint
from rpmspecs.errors import (
    BadInput,
    BuildFailed,
    RepositoryUnavailable,
    RpmError,
    Stopped,
    ToolMissing,
)
from rpmspecs.target import Target

log = logging.getLogger(__name__)

CHUNK = 4 << 20
"""Bytes of a task's file that one call brings."""

LOGS = ("build.log", "root.log", "installed_pkgs.log")

Session = Any
"""koji.ClientSession: the library has no types."""

Connect = Callable[[], Session]


@dataclass(frozen=True, slots=True)
class KojiSettings:
    """Where and how to build."""

    build_target: str | None = None
    """Koji's name of the target; absent: ours."""
    scratch: bool = False
    """Keep nothing in Koji; what one build made is then not there for the next."""
    poll_s: float = 6
    """Between two questions about a task."""
    repository_timeout_s: float = 3600
    """How long Koji may take to make a repository with what was just built."""


class KojiBackend:
    """The protocol `Backend`, by a Koji hub; source packages are made by another backend."""

    name = "koji"

    def __init__(
        self, connect: Connect, topurl: str | None, local: Backend, settings: KojiSettings
    ) -> None:
        """`connect` logs in, once for each build: a session is for one thread.

        `topurl` is where the hub's files are read, needed for other than scratch builds.
        """
        self._connect = connect
        self._topurl = topurl
        self._local = local
        self._settings = settings
        self._lock = threading.Lock()
        self._running: set[threading.Event] = set()

    def build_srpm(self, spec: Path, sources: Path, target: Target, result: Path) -> Path:
        """See Backend: made on this machine."""
        return self._local.build_srpm(spec, sources, target, result)

    def build_rpms(
        self, srpm: Path, target: Target, offered: Sequence[Path], result: Path
    ) -> Sequence[Path]:
        """See Backend. What is offered is in Koji already, as the products of its own builds."""
        name = srpm.name.removesuffix(".src.rpm")
        if self._settings.scratch and any(any(folder.glob("*.rpm")) for folder in offered):
            raise BadInput(
                f"{name} needs what was built before, which scratch builds in Koji do not see"
            )
        result.mkdir(parents=True, exist_ok=True)
        with self._ending() as ending, _koji_errors(name), self._session() as session:
            wanted = self._settings.build_target or target.name
            build_target = session.getBuildTarget(wanted)
            if build_target is None:
                raise BadInput(f"Koji at {session.baseurl} has no target {wanted}")
            task = self._submit(session, srpm, wanted)
            state = self._wait(session, task, name, ending)
            children = _buildings(session, task, target.arch)
            for log_name in LOGS:
                _fetch_log(session, children, log_name, result)
            if state != "CLOSED":
                raise _failure(session, task, name, state, result)
            if self._settings.scratch:
                return _fetch_task_rpms(session, children, result)
            made = self._fetch_build_rpms(session, task, target.arch, result)
            self._wait_for_repository(session, build_target["build_tag_name"], name, ending)
            return made

    def stop(self) -> None:
        """See Backend: the tasks are cancelled."""
        with self._lock:
            for ending in self._running:
                ending.set()
        self._local.stop()

    def _submit(self, session: Session, srpm: Path, build_target: str) -> int:
        folder = f"rackseed/{time.time_ns()}-{srpm.name}"
        session.uploadWrapper(str(srpm), folder)
        options = {"scratch": True} if self._settings.scratch else {}
        task = session.build(f"{folder}/{srpm.name}", build_target, options)
        log.info("koji builds srpm=%s target=%s task=%s", srpm.name, build_target, task)
        return int(task)

    def _wait(self, session: Session, task: int, name: str, ending: threading.Event) -> str:
        """The state in which a task ended. It is cancelled when we are ended before it."""
        from koji import TASK_STATES

        ended = False
        try:
            while True:
                state = TASK_STATES[session.getTaskInfo(task)["state"]]
                if ended := state in ("CLOSED", "CANCELED", "FAILED"):
                    return str(state)
                if ending.wait(self._settings.poll_s):
                    raise Stopped(f"{name} was stopped")
        finally:
            if not ended:
                session.cancelTask(task, recurse=True)

    def _wait_for_repository(
        self, session: Session, tag: str, name: str, ending: threading.Event
    ) -> None:
        """Until builds of this tag see what was just built."""
        event = session.getLastEvent()["id"]
        deadline = time.monotonic() + self._settings.repository_timeout_s
        while True:
            repository = session.getRepo(tag)
            if repository and repository["create_event"] >= event:
                return
            if time.monotonic() > deadline:
                raise RepositoryUnavailable(
                    f"Koji made no repository of {tag} with {name} within "
                    f"{self._settings.repository_timeout_s:g} s"
                )
            if ending.wait(self._settings.poll_s):
                raise Stopped(f"{name} was stopped")

    def _fetch_build_rpms(
        self, session: Session, task: int, arch: str, result: Path
    ) -> Sequence[Path]:
        """From the hub's files: a build's packages leave its task when they are imported."""
        from koji import PathInfo, openRemoteFile

        if self._topurl is None:
            raise BadInput("Koji's topurl is missing in its configuration: builds are read there")
        (build,) = session.listBuilds(taskID=task)
        paths = PathInfo(topdir="")
        made = []
        for rpm in session.listRPMs(buildID=build["build_id"], arches=[arch, "noarch"]):
            inside = f"{paths.build(build)}/{paths.rpm(rpm)}".lstrip("/")
            path = result / Path(inside).name
            with openRemoteFile(inside, topurl=self._topurl) as remote, path.open("wb") as file:
                shutil.copyfileobj(remote, file)
            made.append(path)
        return sorted(made)

    @contextmanager
    def _ending(self) -> Iterator[threading.Event]:
        ending = threading.Event()
        with self._lock:
            self._running.add(ending)
        try:
            yield ending
        finally:
            with self._lock:
                self._running.discard(ending)

    @contextmanager
    def _session(self) -> Iterator[Session]:
        session = self._connect()
        try:
            yield session
        finally:
            session.logout()


class Hub(NamedTuple):
    """What a profile of Koji's own configuration says of a hub."""

    connect: Connect
    topurl: str | None
    poll_s: float


def read_profile(profile: str, user: str | None = None, password: str | None = None) -> Hub:
    """A profile of Koji's own configuration (`/etc/koji.conf.d`, `~/.koji`).

    `user` and `password` are for hubs without Kerberos and certificates.

    Raises ToolMissing without the library, BadInput for a profile that is not there.
    """
    try:
        import koji
    except ImportError as error:
        missing = ToolMissing("the library koji is not installed")
        missing.add_note("pip install 'rackseed[koji]'")
        raise missing from error
    try:
        options = koji.read_config(profile)
    except koji.ConfigurationError as error:
        wrong = BadInput(f"Koji's configuration: {error}")
        wrong.add_note("a hub is described in /etc/koji.conf.d, named by --koji-profile")
        raise wrong from error
    login = {"user": user, "password": password}
    return Hub(lambda: log_in({**options, **login}), options["topurl"], options["poll_interval"])


def log_in(options: Mapping[str, Any]) -> Session:
    """A session by the configuration's authtype: password, ssl or kerberos."""
    import koji

    session = koji.ClientSession(options["server"], koji.grab_session_options(dict(options)))
    way = options.get("authtype") or _usual(options)
    if way == "password":
        session.login()
    elif way == "ssl":
        session.ssl_login(options["cert"], None, options.get("serverca"))
    elif way == "kerberos":
        session.gssapi_login(principal=options.get("principal"), keytab=options.get("keytab"))
    else:
        raise BadInput(f"Koji's authtype is {way!r}, expected password, ssl or kerberos")
    return session


def _usual(options: Mapping[str, Any]) -> str:
    """What Koji's own command does without an authtype."""
    cert = options.get("cert")
    if cert and Path(cert).expanduser().is_file():
        return "ssl"
    return "password" if options.get("user") else "kerberos"


@contextmanager
def _koji_errors(name: str) -> Iterator[None]:
    """The library's errors as ours."""
    from koji import AuthError, GenericError

    try:
        yield
    except AuthError as error:
        raise BadInput(f"Koji does not let us in: {error}") from error
    except OSError as error:  # also the base of what requests raises
        if error.errno is not None:
            raise
        raise RepositoryUnavailable(f"{name}: Koji's hub does not answer: {error}") from error
    except GenericError as error:
        raise RpmError(f"{name}: Koji refused: {error}") from error


def _buildings(session: Session, task: int, arch: str) -> list[int]:
    """The tasks that ran rpmbuild, that of our architecture first."""
    children = [c for c in session.getTaskChildren(task) if c["method"] == "buildArch"]
    children.sort(key=lambda child: child.get("arch") not in (arch, "noarch"))
    return [child["id"] for child in children]


def _fetch_log(session: Session, tasks: Sequence[int], name: str, result: Path) -> None:
    path = result / name
    path.write_bytes(b"")
    for task in tasks:
        if name in session.listTaskOutput(task):
            _fetch(session, task, name, path)
            return


def _fetch_task_rpms(session: Session, tasks: Sequence[int], result: Path) -> Sequence[Path]:
    made: dict[str, Path] = {}
    for task in tasks:
        for name in session.listTaskOutput(task):
            if name.endswith(".rpm") and not name.endswith(".src.rpm") and name not in made:
                made[name] = result / Path(name).name
                _fetch(session, task, name, made[name])
    return sorted(made.values())


def _fetch(session: Session, task: int, name: str, path: Path) -> None:
    """Whole or not at all."""
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        part = Path(file.name)
        try:
            offset = 0
            while chunk := session.downloadTaskOutput(task, name, offset=offset, size=CHUNK):
                file.write(chunk)
                offset += len(chunk)
            part.chmod(0o644)
            part.rename(path)
        finally:
            part.unlink(missing_ok=True)


def _failure(session: Session, task: int, name: str, state: str, result: Path) -> RpmError:
    from koji import GenericError

    build_text, root_text = (
        (result / log_name).read_text(encoding="utf-8", errors="replace") for log_name in LOGS[:2]
    )
    known = complaint(root_text, name)
    if known is not None:
        return known
    if "error: " in build_text:
        return BuildFailed(name, result / "build.log", failing_lines(build_text))
    why = ""
    with suppress(KeyError):
        try:
            session.getTaskResult(task)
        except GenericError as error:
            why = f": {error}"
    return RpmError(f"{name}: Koji's task {task} ended as {state}{why}")
