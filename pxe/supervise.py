"""Keeps the planes running: one process each, started again when it dies."""

import ctypes
import logging
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
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

PR_SET_PDEATHSIG = 1  # prctl(2)

Ready = Callable[[], None]


class PlaneFailed(PxeError):
    """A plane could not start; the message is its own error."""


@dataclass(frozen=True, slots=True)
class Plane:
    """One process. `run(ready)` calls `ready()` once it serves and returns after SIGTERM.

    `run` travels to a fresh interpreter, so it must be picklable.
    """

    name: str
    run: Callable[[Ready], None]


@dataclass(slots=True)
class _Running:
    plane: Plane
    process: SpawnProcess
    started: float = field(default_factory=time.monotonic)
    deaths: int = 0


def restart_delay(deaths: int) -> float:
    """Seconds to wait before starting a plane that has died `deaths` times in a row."""
    return RESTART_DELAYS[min(deaths, len(RESTART_DELAYS)) - 1]


def supervise(
    planes: Sequence[Plane], on_ready: Callable[[], None], prepare: Callable[[], None]
) -> None:
    """Run all planes until SIGTERM or SIGINT; SIGHUP is handed on to each.

    `prepare` is called first in each new process (logging, for example) and must be picklable.
    Planes start one after the other, in the order given, so a later one may rely on the
    earlier. Raises PlaneFailed when one cannot start the first time; nothing is left running.
    """
    with ExitStack() as stack:
        wake, waker = socket.socketpair()
        stack.callback(wake.close)
        stack.callback(waker.close)
        waker.setblocking(False)
        received: list[int] = []
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            stack.callback(signal.signal, number, signal.getsignal(number))
            signal.signal(number, lambda got, _frame: received.append(got))
        stack.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(waker.fileno()))
        running: list[_Running] = []
        stack.callback(_stop, running)
        for plane in planes:
            running.append(_start(plane, prepare))
            if {signal.SIGTERM, signal.SIGINT} & set(received):
                return
        on_ready()
        _watch(running, received, wake, prepare)


def _watch(
    running: list[_Running],
    received: list[int],
    wake: socket.socket,
    prepare: Callable[[], None],
) -> None:
    due: dict[int, float] = {}
    while True:
        while received:
            number = received.pop(0)
            if number != signal.SIGHUP:
                log.info("stopping signal=%s", signal.Signals(number).name)
                return
            for child in running:
                _signal(child.process, signal.SIGHUP)
        now = time.monotonic()
        for index, child in enumerate(running):
            if child.process.is_alive():
                continue
            if index not in due:
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
                try:
                    child.process = _start(child.plane, prepare).process
                except PlaneFailed as error:
                    log.error("plane did not start again plane=%s: %s", child.plane.name, error)
                child.started = time.monotonic()
        alive = [child.process.sentinel for child in running if child.process.is_alive()]
        timeout = max(0.0, min(due.values()) - time.monotonic()) if due else None
        if wake in wait([wake, *alive], timeout):
            wake.recv(4096)


def _start(plane: Plane, prepare: Callable[[], None]) -> _Running:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(
        target=_child, args=(plane, prepare, theirs, os.getpid()), name=f"rackseed-{plane.name}"
    )
    process.start()
    theirs.close()
    with ours:
        said = _first_word(ours)
    if not said:
        log.info("plane ready plane=%s pid=%s", plane.name, process.pid)
        return _Running(plane, process)
    _stop([_Running(plane, process)])
    message, *notes = said
    error = PlaneFailed(f"{plane.name}: {message}")
    for note in notes:
        error.add_note(note)
    raise error


def _first_word(connection: Connection) -> Sequence[str]:
    """Nothing from a plane that is ready, else why it is not and what to do about it."""
    if not connection.poll(START_LIMIT):
        return (f"was not ready within {START_LIMIT:.0f} seconds",)
    try:
        word: Sequence[str] = connection.recv()
    except EOFError:
        return ("ended before it was ready",)
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


def _signal(process: SpawnProcess, number: int) -> None:
    if process.is_alive() and process.pid is not None:
        os.kill(process.pid, number)


def _child(plane: Plane, prepare: Callable[[], None], said: Connection, parent: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)
    # Ctrl-C reaches the whole foreground group; only the supervisor decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    prepare()
    try:
        plane.run(lambda: said.send(()))
    except (PxeError, OSError) as error:
        said.send((str(error), *getattr(error, "__notes__", ())))
        sys.exit(1)
