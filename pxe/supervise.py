"""Keeps the planes running: one process each, started again when it dies."""

import ctypes
import logging
import math
import multiprocessing
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from pxe.errors import PxeError

log = logging.getLogger(__name__)

START_LIMIT = 30.0
"""Seconds within which a plane must say that it is ready."""
STOP_LIMIT = 5.0
"""Seconds that a plane has to end after SIGTERM before it is killed."""
RESTART_DELAYS = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds before each start of a plane that died; the last one repeats."""
STEADY_AFTER = 60.0
"""A plane that ran this many seconds has earned its first restart delay again."""
BEAT_EVERY = 2.0
"""Seconds between two signs of life of a plane that gives any."""
SILENCE_LIMIT = 20.0
"""Seconds without one after which a plane counts as hung, and is killed and started again."""
OPEN_FILES = 65536
"""Files and sockets that a plane may have open, where the system allows so many."""
STOPS = frozenset({signal.SIGTERM, signal.SIGINT})

PR_SET_PDEATHSIG = 1  # prctl(2)

Beat = Callable[[], None]
"""Gives one sign of life; never blocks."""
Ready = Callable[[], Beat]
"""Says that a plane serves. Who then calls what it returns is to go on, each `BEAT_EVERY` seconds
from the loop that serves: it tells a loop that hangs from one that has nothing to do."""


class PlaneFailed(PxeError):
    """A plane could not start; the message is its own error."""


@dataclass(frozen=True, slots=True)
class Plane:
    """One process. `run(ready)` calls `ready()` once it serves and returns after SIGTERM.

    `run` travels to a fresh interpreter, so it must be picklable.
    """

    name: str
    run: Callable[[Ready], None]
    claim: str = ""
    """What only one supervisor may serve at a time, such as an interface; empty: nothing."""
    word: str = ""
    """What a person calls it, in errors; empty: its name."""

    @property
    def called(self) -> str:
        """What to call it before a person."""
        return self.word or self.name


@dataclass(slots=True)
class _Running:
    plane: Plane
    process: SpawnProcess
    heart: Connection | None = None
    """Where its signs of life arrive; None when it has ended."""
    started: float = field(default_factory=time.monotonic)
    deaths: int = 0
    beat: float | None = None
    """When the last sign of life came; None: it never gave one and is not watched."""

    def listen(self, now: float) -> None:
        """Take in the signs of life that have come."""
        try:
            while self.heart is not None and self.heart.poll():
                self.heart.recv_bytes()
                self.beat = now
        except (EOFError, OSError):
            self.lose_heart()

    def lose_heart(self) -> None:
        """Its process has ended, or is about to."""
        if self.heart is not None:
            self.heart.close()
        self.heart = self.beat = None

    @property
    def hung_at(self) -> float:
        """When it will count as hung unless it gives a sign of life before."""
        return math.inf if self.beat is None else self.beat + SILENCE_LIMIT


def restart_delay(deaths: int) -> float:
    """Seconds to wait before starting a plane that has died `deaths` times in a row."""
    return RESTART_DELAYS[min(deaths, len(RESTART_DELAYS)) - 1]


def supervise(
    planes: Sequence[Plane],
    on_ready: Callable[[], None],
    prepare: Callable[[], None],
    on_reload: Callable[[], object] = lambda: None,
) -> None:
    """Run all planes until SIGTERM or SIGINT; SIGHUP is handed on to each, then to `on_reload`.

    SIGINT that is ignored when we begin stays ignored.

    A plane is pickled anew for each start: `on_reload` may change what later starts get.

    `prepare` is called first in each new process (logging, for example) and must be picklable.
    Planes start one after the other, in the order given, so a later one may rely on the
    earlier. Raises PlaneFailed when one cannot start the first time, or when another supervisor
    has what they claim; nothing is left running.
    """
    with ExitStack() as stack:
        for claim in sorted({plane.claim for plane in planes if plane.claim}):
            stack.enter_context(_claimed(claim))
        signals = stack.enter_context(_Signals())
        running: list[_Running] = []
        stack.callback(_stop, running)
        for plane in planes:
            started = _start(plane, prepare, signals)
            if started is None:
                return
            running.append(started)
        on_ready()
        _watch(running, signals, prepare, on_reload)


@contextmanager
def _claimed(claim: str) -> Iterator[None]:
    """Hold a name that the kernel gives to one process of a network namespace at a time.

    A socket in the abstract namespace (unix(7)): it is free again whatever way we end.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as held:
        try:
            held.bind(f"\0rackseed {claim}")
        except OSError:
            error = PlaneFailed(f"another rackseed serves {claim} already")
            error.add_note("stop it first; two would share the ports and answer at random")
            raise error from None
        yield


class _Signals:
    """Gathers signals from its `with` on, and wakes who waits for `wake`."""

    def __init__(self) -> None:
        self.wake, self._waker = socket.socketpair()
        self._waker.setblocking(False)
        self._received: list[int] = []
        self._undo = ExitStack()

    def __enter__(self) -> "_Signals":
        # Shells have what runs in the background ignore Ctrl-C, which is for the foreground.
        deaf = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        for number in (signal.SIGTERM, signal.SIGHUP, *(() if deaf else (signal.SIGINT,))):
            self._undo.callback(signal.signal, number, signal.getsignal(number))
            signal.signal(number, lambda got, _frame: self._received.append(got))
        self._undo.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(self._waker.fileno()))
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()
        self.wake.close()
        self._waker.close()

    @property
    def stop(self) -> bool:
        """Whether it is time to end."""
        return not STOPS.isdisjoint(self._received)

    @property
    def pending(self) -> bool:
        """Whether a signal came that nobody has looked at."""
        return bool(self._received)

    def reload(self) -> bool:
        """Whether SIGHUP came since the last call."""
        came = False
        while signal.SIGHUP in self._received:  # in place: the handler may append any moment
            self._received.remove(signal.SIGHUP)
            came = True
        return came

    def wait(self, others: Sequence[Connection | int], timeout: float | None) -> None:
        """Until a signal comes, one of `others` is ready, or the time is over."""
        if self.wake in wait([self.wake, *others], timeout):
            self.wake.recv(4096)


def _watch(
    running: list[_Running],
    signals: _Signals,
    prepare: Callable[[], None],
    on_reload: Callable[[], object],
) -> None:
    due: dict[int, float] = {}
    while not signals.stop:
        if signals.reload():
            for child in running:
                _signal(child.process, signal.SIGHUP)
            on_reload()
        now = time.monotonic()
        for index, child in enumerate(running):
            child.listen(now)  # before the judgement: we may have slept ourselves
            if child.process.is_alive():
                if now >= child.hung_at:
                    _end_hung(child, now)
                continue
            if index not in due:
                child.lose_heart()
                lived = now - child.started
                child.deaths = 1 if lived > STEADY_AFTER else child.deaths + 1
                delay = restart_delay(child.deaths)
                log.error(
                    "plane died plane=%s status=%s lived=%.1fs restart_in=%.1fs",
                    child.plane.name, child.process.exitcode, lived, delay,
                )  # fmt: skip
                due[index] = now + delay
            elif now >= due[index]:
                del due[index]
                _restart(child, prepare, signals)
        # Not those that are alive now: one that died since it was looked at must wake us.
        living = [child for n, child in enumerate(running) if n not in due]
        watched = [child.process.sentinel for child in living]
        hearts = [child.heart for child in living if child.heart is not None]
        next_look = min([*due.values(), *(child.hung_at for child in living)], default=math.inf)
        timeout = None if next_look == math.inf else max(0.0, next_look - time.monotonic())
        if not signals.pending:  # one that came during a restart has woken that already
            signals.wait([*watched, *hearts], timeout)
    log.info("stopping")


def _end_hung(child: _Running, now: float) -> None:
    """Kill a plane that is there and does nothing; its death is then seen like any other."""
    log.error(
        "plane hangs plane=%s pid=%s silent=%.0fs: killed",
        child.plane.name, child.process.pid, now - (child.beat or now),
    )  # fmt: skip
    child.process.kill()
    child.process.join()


def _restart(child: _Running, prepare: Callable[[], None], signals: _Signals) -> None:
    try:
        if started := _start(child.plane, prepare, signals):
            child.process, child.heart = started.process, started.heart
    except PlaneFailed as error:
        log.error("plane did not start again plane=%s: %s", child.plane.name, error)
    child.started = time.monotonic()


def _start(plane: Plane, prepare: Callable[[], None], signals: _Signals) -> _Running | None:
    """A plane that is ready; None when a signal to end came first. Raises PlaneFailed."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(
        target=_child, args=(plane, prepare, theirs, os.getpid()), name=f"rackseed-{plane.name}"
    )
    # Ctrl-C reaches the whole foreground group, also an interpreter that is only just starting.
    # Only the supervisor decides what it means: the child inherits that it is blocked.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    theirs.close()
    said = _first_word(ours, signals, plane.called)
    started = _Running(plane, process, ours)
    if said == () and not signals.stop:
        log.info("plane ready plane=%s pid=%s", plane.name, process.pid)
        return started
    _stop([started])
    if not said:
        return None
    message, *notes = said
    named = message.startswith(f"{plane.called} ")
    error = PlaneFailed(message if named else f"{plane.called}: {message}")
    for note in notes:
        error.add_note(note)
    raise error


def _first_word(connection: Connection, signals: _Signals, called: str) -> Sequence[str] | None:
    """Nothing from a plane that is ready, else why it is not and what to do about it.

    None when we are to end before it said anything.
    """
    deadline = time.monotonic() + START_LIMIT
    while not connection.poll():
        if signals.stop:
            return None
        left = deadline - time.monotonic()
        if left <= 0:
            return (f"{called} was not ready within {START_LIMIT:.0f} seconds",)
        signals.wait([connection], left)
    try:
        word: Sequence[str] = connection.recv()
    except EOFError:
        return (f"{called} ended before it was ready",)
    return word


def _stop(running: Sequence[_Running]) -> None:
    for child in running:
        _signal(child.process, signal.SIGTERM)
    deadline = time.monotonic() + STOP_LIMIT
    for child in running:
        child.process.join(max(0.0, deadline - time.monotonic()))
        if child.process.is_alive():
            log.error("plane killed plane=%s: it did not end in time", child.plane.name)
            child.process.kill()
            child.process.join()
        child.lose_heart()


def _signal(process: SpawnProcess, number: int) -> None:
    if process.is_alive() and process.pid is not None:
        os.kill(process.pid, number)


def _child(plane: Plane, prepare: Callable[[], None], said: Connection, parent: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)
    _allow_open_files()
    prepare()

    served = False

    def ready() -> Beat:
        nonlocal served
        served = True
        said.send(())
        os.set_blocking(said.fileno(), False)
        return beat

    def beat() -> None:
        with suppress(OSError):  # a full pipe: the supervisor is busy and has enough to read
            said.send_bytes(b"")

    try:
        plane.run(ready)
    except (PxeError, OSError) as error:
        if served:
            log.error("plane failed plane=%s: %s", plane.name, error)
        else:
            said.send((str(error), *getattr(error, "__notes__", ())))
        sys.exit(1)


def _allow_open_files() -> None:
    """Use what the system allows: the usual 1024 are fewer than a plane's connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
