"""Publish an image file: look what Glance holds, do the next step, look again."""

import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import BinaryIO, Protocol

from imagebuild import glance
from imagebuild.errors import BadInput, PublishFailed
from imagebuild.glance import Memory, Remote, Wish

log = logging.getLogger(__name__)

STEPS_LIMIT = 200
"""More than any rotation needs; a server that forgets what it is told must not keep us for ever."""
PIECE = 1 << 20
"""Bytes that are sent at once."""


class Store(Protocol):
    """Where images are published. Each call raises PublishFailed with one sentence."""

    def look(self, name: str) -> tuple[datetime, Sequence[Remote]]:
        """The server's clock, and all images of our project under this name, drafts too."""

    def create(self, fields: Mapping[str, object]) -> str:
        """Make an image without bytes; returns its id."""

    def send(self, image: str, body: "Body") -> bool:
        """Send all bytes; False when it is to be looked again, what became of the image."""

    def change(self, image: str, fields: Mapping[str, object]) -> bool:
        """Set fields in one request; False when the image is gone."""

    def delete(self, image: str) -> str | None:
        """Remove an image; returns why it must stay."""


class Tell(Protocol):
    """Hears how far an upload is."""

    def step(self, text: str) -> None:
        """What happens next."""

    def sent(self, octets: int, whole: int) -> None:
        """Bytes that were sent, of all."""


@dataclass(frozen=True, slots=True)
class Published:
    """How it ended."""

    id: str
    name: str
    sent: bool
    """False: Glance had the bytes already."""
    superseded: bool
    """Another upload of this name came after this one."""
    kept: tuple[str, ...]
    """Images that were to be deleted and must stay, with the reason."""


class Body:
    """A file as the body of a request: its length, its pieces, and what was read of it."""

    def __init__(self, file: BinaryIO, size: int, tick: Callable[[int], None]) -> None:
        self._file = file
        self._size = size
        self._tick = tick
        self.at = 0

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        """All pieces, from the first byte: a request may have to be sent again."""
        self._file.seek(0)
        self.at = 0
        while piece := self._file.read(PIECE):
            yield piece
            self.at += len(piece)
            self._tick(self.at)


def digests(path: Path) -> Callable[[str], str]:
    """Computes the file's digests, each once."""

    @cache
    def digest(algorithm: str) -> str:
        with path.open("rb") as file:
            return hashlib.file_digest(file, algorithm).hexdigest()

    return digest


def publish(path: Path, wish: Wish, store: Store, tell: Tell) -> Published:
    """Do all that `next_step` says, until nothing is left.

    Raises PublishFailed; what was begun is then finished or removed by the next run. A
    KeyboardInterrupt is given a note of what is published.
    """
    so_far = _SoFar()
    try:
        return _publish(path, wish, store, tell, so_far)
    except KeyboardInterrupt as interrupt:
        interrupt.add_note(so_far.told)
        raise


@dataclass(slots=True)
class _SoFar:
    told: str = "nothing new is published"


def _publish(path: Path, wish: Wish, store: Store, tell: Tell, so_far: _SoFar) -> Published:
    me = signature()
    published: str | None = None
    stuck: dict[str, str] = {}
    sent = False
    for _ in range(STEPS_LIMIT):
        now, seen = store.look(wish.name)
        memory = Memory(me, now, is_over, published, stuck.keys())
        step = glance.next_step(wish, seen, memory)
        log.info("step %s", step)
        match step:
            case glance.Create():
                tell.step("making a hidden draft")
                store.create(glance.draft_fields(wish, memory))
            case glance.Send(image):
                tell.step(f"sending into the draft {image}")
                sent = _send(path, wish, store, tell, image, me)
            case glance.Publish(image, fields):
                tell.step(f"publishing {image}: its digest is that of the file")
                so_far.told = f"{image} may be published or not"
                if store.change(image, fields):
                    published = image
                    so_far.told = f"{image} is published, what it replaces may not be put away yet"
            case glance.Change(image, fields, why):
                tell.step(f"changing {image}: {why}")
                store.change(image, fields)
            case glance.Delete(image, why):
                tell.step(f"deleting {image}: {why}")
                if kept := store.delete(image):
                    stuck[image] = kept
            case glance.Refuse(image, found):
                store.delete(image)
                raise _differs(path, wish, found)
            case glance.Done(image, superseded):
                kept_all = tuple(f"{image}: {why}" for image, why in stuck.items())
                return Published(image, wish.name, sent, superseded, kept_all)
    raise PublishFailed(f"Glance does not keep what it was told of {wish.name}")


def _send(path: Path, wish: Wish, store: Store, tell: Tell, image: str, me: str) -> bool:
    last = time.monotonic()

    def tick(octets: int) -> None:
        nonlocal last
        tell.sent(octets, wish.size)
        if time.monotonic() - last > glance.SIGN_EVERY.total_seconds():
            last = time.monotonic()
            store.change(image, {glance.DRAFT_BY: me})

    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size != wish.size:
            raise BadInput(f"{path}: the file changes while it is uploaded")
        return store.send(image, Body(file, wish.size, tick))


def _differs(path: Path, wish: Wish, found: str) -> PublishFailed:
    error = PublishFailed(
        f"Glance stored other bytes than {path} holds ({found}, expected {wish.size} bytes, "
        f"sha512 {wish.sha512[:16]}); the draft was deleted, {wish.name} is as before"
    )
    error.add_note("a file that changed meanwhile, or a fault of the network or the store")
    return error


def signature(pid: int | None = None) -> str:
    """Names a process of this machine so that no other will ever have the name."""
    pid = pid or os.getpid()
    return f"{_machine()}/{pid}-{_started(pid)}"


def is_over(by: str) -> bool:
    """Whether the process that signed so was one of this machine's and has ended."""
    machine, _, process = by.rpartition("/")
    pid, _, started = process.partition("-")
    if machine != _machine() or not pid.isdecimal():
        return False
    return _started(int(pid)) != started


def _machine() -> str:
    """This run of this machine's kernel, and which numbers of processes we see (proc(5))."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    space = Path("/proc/self/ns/pid").readlink().name.strip("pid:[]")
    return f"{boot}-{space}"


def _started(pid: int) -> str:
    """When a process began, in ticks since boot (proc_pid_stat(5), field 22); empty: no such."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    state, *fields = text.rpartition(")")[2].split()
    return "" if state in "ZX" else fields[18]
