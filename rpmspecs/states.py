"""The states of a repository: numbered folders, of which a symbolic link names the live one."""

import errno
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Final

from rpmspecs.errors import BadInput, DiskFull
from rpmspecs.folders import tells_full
from rpmspecs.metadata import parse_repomd

STATES: Final = "states"
CURRENT: Final = "current"
SOURCES: Final = "source"
"""Folder of a state that holds its source packages, a repository of its own."""
TREES: Final = ("", SOURCES)
INDEX: Final = "repodata/repomd.xml"
RECORD: Final = "state.json"

_NEW, _OLD = ".new-", ".old-"
_UNTIL: Final = ".until"
"""File whose time of change says when a state was replaced."""
_FULL: Final = 1 << 20
"""Bytes; a file system with less has no room."""
_FICLONE: Final = 0x40049409  # linux/fs.h: share the bytes of another file until one changes


@dataclass(frozen=True, slots=True)
class Entry:
    """A package in a state."""

    path: str
    """From the state's folder."""
    nevra: str
    name: str
    content: str
    """As `RpmFile.content`."""


@dataclass(frozen=True, slots=True)
class State:
    """One state of a repository, as published; its files never change."""

    number: int
    folder: Path
    live: bool
    published: datetime
    revision: int
    """Of its metadata; greater than that of every state before it."""
    key: str
    """Fingerprint."""
    url: str | None
    """Where clients reach the repository's folder."""
    packages: tuple[Entry, ...]

    def files(self) -> Iterator[str]:
        """Every path that its metadata names, from its folder."""
        yield from (entry.path for entry in self.packages)
        for tree in TREES:
            index = self.folder / tree / INDEX
            if index.is_file():
                for path in parse_repomd(index.read_bytes()).files.values():
                    yield str(PurePosixPath(tree, path))


def states(repository: Path) -> list[State]:
    """Every state that is kept, oldest first."""
    live = _live_number(repository)
    folder = repository / STATES
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    numbers = sorted(int(name) for name in names if name.isdecimal())
    return [_read(folder / str(number), live == number) for number in numbers]


def live_state(repository: Path) -> State | None:
    """What clients see; None before the first publication."""
    number = _live_number(repository)
    return None if number is None else _read(repository / STATES / str(number), True)


def _live_number(repository: Path) -> int | None:
    try:
        name = (repository / CURRENT).readlink().name
    except OSError:
        return None
    return int(name) if name.isdecimal() else None


def _read(folder: Path, live: bool) -> State:
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        return State(
            number=int(folder.name),
            folder=folder,
            live=live,
            published=datetime.fromisoformat(record["published"]),
            revision=record["revision"],
            key=record["key"],
            url=record["url"],
            packages=tuple(Entry(**entry) for entry in record["packages"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as cause:
        error = BadInput(f"{folder / RECORD} cannot be read ({cause}), expected a state's record")
        error.add_note("a folder of states is for `rackseed rpm publish` alone")
        raise error from None


def write_record(state: State) -> None:
    """Write what `states` reads, to the state's folder."""
    record = {
        "published": state.published.isoformat(),
        "revision": state.revision,
        "key": state.key,
        "url": state.url,
        "packages": [asdict(entry) for entry in state.packages],
    }
    text = json.dumps(record, indent=1, sort_keys=True)
    (state.folder / RECORD).write_text(f"{text}\n", encoding="utf-8")


@contextmanager
def locked(repository: Path) -> Iterator[None]:
    """This repository for us alone, also against a publisher that is killed and comes again.

    Raises BadInput when another has it, or it cannot be one.
    """
    try:
        (repository / STATES).mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise BadInput(f"{repository} is no folder, expected one for the repository") from None
    with (repository / ".lock").open("a+") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held.seek(0)
            message = f"{repository} is being changed by process {held.read().strip() or '?'}"
            raise BadInput(f"{message}, expected one publisher at a time") from None
        held.truncate(0)
        held.write(str(os.getpid()))
        held.flush()
        sweep(repository)
        yield


def sweep(repository: Path) -> None:
    """Remove what killed publishers left."""
    for path in (repository / STATES).iterdir():
        if path.name.startswith((_NEW, _OLD)):
            shutil.rmtree(path, ignore_errors=True)  # what is still written to goes next time


@contextmanager
def new_folder(repository: Path) -> Iterator[Path]:
    """Where a state is made; removed after, unless it was renamed."""
    folder = Path(tempfile.mkdtemp(prefix=_NEW, dir=repository / STATES))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class RoomIn:
    """Tells a full file system as what it is, whichever program met it first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def need(self, size: int) -> None:
        """That `size` bytes more find place. Raises DiskFull."""
        if self._free() < size:
            free = f"{size >> 20} MiB are needed and {self._free() >> 20} MiB are free"
            raise DiskFull(f"{self.folder}: {free}")

    def _free(self) -> int:
        found = os.statvfs(self.folder)
        return found.f_bavail * found.f_frsize

    def __enter__(self) -> "RoomIn":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not isinstance(error, Exception) or isinstance(error, DiskFull):
            return
        if tells_full(error) or self._free() < _FULL:
            raise DiskFull(f"{self.folder}: no space left on device") from error


def copy(origin: Path, target: Path) -> None:
    """A copy that anyone may read; it shares its bytes where the file system can."""
    with origin.open("rb") as source, target.open("xb") as sink:
        try:
            fcntl.ioctl(sink, _FICLONE, source.fileno())
        except OSError:
            shutil.copyfileobj(source, sink, 1 << 20)
    target.chmod(0o644)


def link(origin: Path, target: Path) -> None:
    """The same file under another name, or a copy where that cannot be."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(origin, target)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EXDEV, errno.EMLINK, errno.EOPNOTSUPP):
            raise
        copy(origin, target)
        shutil.copystat(origin, target)


def keep_reachable(folder: Path, kept: Sequence[State]) -> None:
    """Give `folder` also the files that older metadata names.

    Who read the metadata of another state a moment ago, under the name of the live one, finds
    all that it names.
    """
    for state in kept:
        for path in state.files():
            if not (folder / path).exists():
                with suppress(FileExistsError):
                    link(state.folder / path, folder / path)


def settle(folder: Path) -> None:
    """Make sure that a folder's new files survive a loss of power, and that all may read them."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir():
            path.chmod(0o755)
            _sync(path)
        elif path.stat().st_nlink == 1:
            path.chmod(0o644)
            _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def switch(repository: Path, number: int) -> None:
    """Make a state live, in one step."""
    before = _live_number(repository)
    step = repository / f".{CURRENT}"
    step.unlink(missing_ok=True)
    step.symlink_to(f"{STATES}/{number}")
    step.replace(repository / CURRENT)
    _sync(repository)
    (repository / STATES / str(number) / _UNTIL).unlink(missing_ok=True)
    if before not in (None, number):
        (repository / STATES / str(before) / _UNTIL).touch()


def prune(repository: Path, keep: int, grace: timedelta) -> None:
    """Remove all but the `keep` newest states beside the live one.

    Nothing goes that was live within `grace`: a client may be in the middle of it.
    """
    old = [state for state in states(repository) if not state.live]
    for state in old[: max(0, len(old) - keep)]:
        until = state.folder / _UNTIL
        if not until.exists():
            until.touch()
        ended = datetime.fromtimestamp(until.stat().st_mtime, UTC)
        if datetime.now(UTC) - ended >= grace:
            gone = state.folder.with_name(f"{_OLD}{state.number}")
            state.folder.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)
