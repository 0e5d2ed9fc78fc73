"""Builds that run now: each runs its programs in turn, and all can be ended from another thread."""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rpmspecs.errors import Stopped
from rpmspecs.running import Start

log = logging.getLogger(__name__)

TICK = 0.2
"""Seconds after which a running build looks whether it should end."""

GRACE = 3
"""Seconds that a program has to end by itself before it is killed."""


class Build:
    """One build: a name for its errors, and its programs one after another."""

    def __init__(self, name: str, start: Start) -> None:
        self.name = name
        self._start = start
        self._ending = threading.Event()

    def run(self, argv: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None) -> int:
        """Run one program, its output appended to `log`; returns its status.

        Raises Stopped; whatever is raised, the program and its children have ended.
        """
        self.go_on()
        child = self._start(argv, env=env, stdout=log, stderr=log)
        try:
            while True:
                try:
                    return child.wait(TICK)
                except TimeoutError:
                    if self._ending.is_set():
                        raise Stopped(f"{self.name} was stopped") from None
        finally:
            child.stop(GRACE)

    def go_on(self) -> None:
        """Raises Stopped when it is to end."""
        if self._ending.is_set():
            raise Stopped(f"{self.name} was stopped")

    def stop(self) -> None:
        """End it soon: its program is stopped and the call that runs it raises."""
        self._ending.set()


class FirstAlone:
    """The first build on a root is alone: it makes what the others would each make again."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._firsts: dict[str, threading.Lock] = {}
        self._made: set[str] = set()

    @contextmanager
    def build(self, root: str, made: Callable[[str], bool]) -> Iterator[None]:
        """A build on this root; `made` says whether an earlier run of ours left it."""
        with self._guard:
            first = self._firsts.setdefault(root, threading.Lock())
        with first:
            if root not in self._made and not made(root):
                yield
                self._made.add(root)
                return
        yield


class Builds:
    """Every build of one backend that runs now."""

    def __init__(self, start: Start) -> None:
        self._start = start
        self._running: set[Build] = set()
        self._lock = threading.Lock()

    @contextmanager
    def build(self, name: str) -> Iterator[Build]:
        """One build, known to `stop` as long as the context lasts."""
        build = Build(name, self._start)
        with self._lock:
            self._running.add(build)
        try:
            yield build
        finally:
            with self._lock:
                self._running.discard(build)

    def stop(self) -> None:
        """End all that run now; builds that begin later are not touched."""
        with self._lock:
            running = tuple(self._running)
        for build in running:
            log.info("stopping build=%s", build.name)
            build.stop()
