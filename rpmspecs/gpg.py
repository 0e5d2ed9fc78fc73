"""gpg with a folder of its own: its agent, its sockets, and what unlocks its keys."""

import fcntl
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from rpmspecs.capture import Said, capture
from rpmspecs.errors import BadInput, SigningFailed
from rpmspecs.running import Programs
from rpmspecs.tools import require_tool

SOCKET_ROOM: Final = 80
"""Characters of a gpg folder that leave room for its sockets' names (unix(7): 108 in all)."""
AGENT_SECONDS: Final = 10.0
"""Seconds that gpg-agent may take to listen, or to end."""
PRIVATE: Final = "rackseed-gpg-"
JUST_MADE: Final = 60.0
"""Seconds in which a folder's maker has surely locked it."""


@dataclass(frozen=True, slots=True)
class Passphrase:
    """What unlocks a key; never shown."""

    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Gpg:
    """gpg with one folder."""

    home: Path
    programs: Programs

    def __call__(self, *words: str) -> str:
        argv = [require_tool("gpg", "gnupg"), *words]
        return self.programs.run(argv, env=self.environment, timeout=600)

    def tried(self, *words: str) -> Said:
        """The same, whatever the status."""
        argv = [require_tool("gpg", "gnupg"), *words]
        return capture(self.programs.start, argv, env=self.environment)

    @property
    def environment(self) -> Mapping[str, str]:
        """With the terminal on which pinentry may ask."""
        terminal = {"GPG_TTY": os.ttyname(0)} if sys.stdin and sys.stdin.isatty() else {}
        return {"GNUPGHOME": str(self.home), **terminal}

    @contextmanager
    def agent(self) -> Iterator[None]:
        """gpg-agent, unless it runs already; ended after, also when we are killed."""
        words = ["gpgconf", "--list-dirs", "agent-socket"]
        listens = Path(self.programs.run(words, env=self.environment).strip())
        if _answers(listens):
            yield
            return
        # It ends with the program that it is given, and that one ends with us. It must detach:
        # in a process group of the background its pinentry could not use the terminal.
        argv = ["gpg-agent", "--quiet", "--daemon", "sleep", "infinity"]
        child = self.programs.start(argv, env=self.environment)
        try:
            _wait_until(listens, answers=True)
            yield
        finally:
            try:
                self.programs.run(["gpgconf", "--kill", "gpg-agent"], env=self.environment)
            finally:
                child.stop()
                _wait_until(listens, answers=False)  # or the next one would talk to this one


@contextmanager
def open_home(home: Path, programs: Programs) -> Iterator[Gpg]:
    """gpg with `home` under a name that is short enough for its sockets."""
    if len(str(home)) <= SOCKET_ROOM:
        yield Gpg(home, programs)
        return
    with private_home() as short:
        link = short / "h"
        link.symlink_to(home.absolute())
        yield Gpg(link, programs)


@contextmanager
def private_home() -> Iterator[Path]:
    """An empty folder for us alone, in memory where the system has such a place."""
    places = [os.environ.get("XDG_RUNTIME_DIR", ""), "/dev/shm", tempfile.gettempdir(), "/tmp"]
    place = next(
        (p for p in places if p and len(p) < SOCKET_ROOM // 2 and os.access(p, os.W_OK)), "/tmp"
    )
    _remove_abandoned(Path(place))
    folder = Path(tempfile.mkdtemp(prefix=PRIVATE, dir=place))
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # sockets vanish by themselves
        os.close(held)


def _remove_abandoned(place: Path) -> None:
    """Remove the folders of killed processes, which may hold a secret key."""
    for folder in place.glob(f"{PRIVATE}*"):
        with suppress(OSError):  # another user's, or gone by now
            if time.time() - folder.stat().st_mtime < JUST_MADE:
                continue
            held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(held)


@contextmanager
def unlocking(passphrase: Passphrase | None) -> Iterator[tuple[str, ...]]:
    """gpg's options for a passphrase, which it reads from memory of ours; none: pinentry asks."""
    if passphrase is None:
        yield ()
        return
    descriptor = os.memfd_create("passphrase", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, passphrase.text.encode() + b"\n")
        path = f"/proc/{os.getpid()}/fd/{descriptor}"
        yield ("--pinentry-mode", "loopback", "--passphrase-file", path)
    finally:
        os.close(descriptor)


def read_passphrase(path: Path) -> Passphrase:
    """The first line of a file or pipe. Raises BadInput, also when others may read it."""
    try:
        if path.is_file() and path.stat().st_mode & 0o077:
            error = BadInput(f"{path} can be read by others, expected mode 0600")
            error.add_note(f"chmod 600 {path}")
            raise error
        line = path.read_text(encoding="utf-8").partition("\n")[0]
    except OSError as cause:
        raise BadInput(f"{path}: {cause.strerror}, expected a file with a passphrase") from None
    except UnicodeDecodeError:
        line = ""
    if not line:
        raise BadInput(f"{path} has no text in its first line, expected a passphrase")
    return Passphrase(line)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as asking:
        try:
            asking.connect(str(path))
        except OSError:
            return False
    return True


def _wait_until(path: Path, *, answers: bool) -> None:
    deadline = time.monotonic() + AGENT_SECONDS
    while _answers(path) is not answers:
        if time.monotonic() > deadline:
            does = "does not listen" if answers else "does not end"
            raise SigningFailed(f"gpg-agent {does} at {path}")
        time.sleep(0.01)
