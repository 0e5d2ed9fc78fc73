"""The story of building packages: fetch, build in order and in parallel, keep what was made."""

import logging
import os
import queue
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from enum import Enum
from graphlib import TopologicalSorter
from pathlib import Path

from rpmspecs.backend import Backend
from rpmspecs.capture import capture
from rpmspecs.errors import (
    BuildFailed,
    DiskFull,
    RepositoryUnavailable,
    RpmError,
    Stopped,
    ToolMissing,
)
from rpmspecs.folders import is_full, tells_full
from rpmspecs.results import (
    building,
    failed_folder,
    folder_of,
    held,
    is_built,
    keep,
    keep_failed,
    make_repository,
    record_of,
    write_record,
)
from rpmspecs.running import Programs
from rpmspecs.sources import Progress, cached, fetch
from rpmspecs.steps import Key, Step, by_key

log = logging.getLogger(__name__)

STOP_AGAIN = 0.2
"""Seconds after which builds that still run are told to stop once more."""


class Stage(Enum):
    """How far a step is."""

    WAITING = "waiting"
    SRPM = "source package"
    BUILDING = "building"
    BUILT = "built"
    REUSED = "already built"
    FAILED = "failed"
    NOT_BUILT = "not built"
    """What it needs could not be built, or the whole was given up."""


ENDINGS = frozenset((Stage.BUILT, Stage.REUSED, Stage.FAILED, Stage.NOT_BUILT))


@dataclass(frozen=True, slots=True)
class Event:
    """A step came to a stage."""

    step: Step
    stage: Stage
    seconds: float = 0
    """What it took, at an ending."""
    folder: Path | None = None
    """Where the packages lie, or the logs of what failed."""
    error: Exception | None = None
    reason: str = ""
    """Why it was not built."""


@dataclass(frozen=True, slots=True)
class Way:
    """How to build, the same for all steps."""

    backend: Backend
    programs: Programs
    results: Path
    cache: Path
    """Where sources are kept."""
    jobs: int
    """Builds at once."""
    rebuild: bool = False
    """Build also what is there already."""
    proxy: str | None = None


def build(
    steps: Sequence[Step],
    way: Way,
    watch: Callable[[Event], None],
    progress: Progress | None = None,
) -> Mapping[Key, Event]:
    """Build all steps; returns how each ended. What fails hinders only those that need it.

    `watch` is called in this thread. On an interruption every build is stopped before it is
    raised on, and no unfinished folder stays.

    Raises SourceUnavailable before anything is built, BadInput when the results are in use.
    """
    with held(way.results, sorted({step.target.name for step in steps})):
        for target in {step.target.name for step in steps}:
            _sweep(way.results / target)
        reused = {s.key for s in steps if not way.rebuild and is_built(s, way.results)}
        sources = [source for s in steps if s.key not in reused for source in s.fetched]
        fetch(sources, way.cache, way.programs, proxy=way.proxy, progress=progress)
        with ExitStack() as stack:
            run = _Run(steps, reused, way, watch)
            stack.callback(run.end)
            return run.to_end()


class _Run:
    """One call of `build`, after the sources are here."""

    def __init__(
        self, steps: Sequence[Step], reused: set[Key], way: Way, watch: Callable[[Event], None]
    ) -> None:
        self._steps = by_key(steps)
        self._reused = reused
        self._way = way
        self._watch = watch
        self._told: queue.SimpleQueue[Event | BaseException] = queue.SimpleQueue()
        self._ended: dict[Key, Event] = {}
        self._given_up: dict[str, str] = {}
        self._stopping = False
        self._running: set[Future[None]] = set()
        self._workers = ThreadPoolExecutor(max(1, way.jobs), thread_name_prefix="build")
        self._versions = versions(way.backend.name, way.programs)

    def to_end(self) -> Mapping[Key, Event]:
        """Start what is ready, as soon as it is."""
        order: TopologicalSorter[Key] = TopologicalSorter(
            {
                key: [need for need in step.needs if need in self._steps]
                for key, step in self._steps.items()
            }
        )
        order.prepare()
        while order.is_active():
            for key in order.get_ready():
                self._begin(self._steps[key])
            event = self._told.get()
            if isinstance(event, BaseException):
                raise event
            self._watch(event)
            if event.stage in ENDINGS:
                self._ended[event.step.key] = event
                order.done(event.step.key)
        return {key: self._ended[key] for key in self._steps}

    def end(self) -> None:
        """Wait for what runs; after an error there is something, and it is stopped."""
        self._stopping = True
        running = {future for future in self._running if not future.done()}
        for future in running:
            future.cancel()
        while running:
            with suppress(KeyboardInterrupt):  # a second Ctrl-C must not leave half
                self._way.backend.stop()
                _, running = wait(running, STOP_AGAIN)
        self._workers.shutdown()

    def _begin(self, step: Step) -> None:
        missing = [self._steps[n].spec.name for n in step.needs if not self._is_there(n)]
        reason = f"needs {', '.join(missing)}" if missing else self._given_up.get(step.target.name)
        if step.key in self._reused:
            folder = folder_of(step, self._way.results)
            self._told.put(Event(step, Stage.REUSED, folder=folder))
        elif reason:
            self._told.put(Event(step, Stage.NOT_BUILT, reason=reason))
        else:
            self._running.add(self._workers.submit(self._work, step))

    def _is_there(self, key: Key) -> bool:
        return self._ended[key].stage in (Stage.BUILT, Stage.REUSED)

    def _consider(self, event: Event) -> None:
        """Errors that every other build would meet too end the whole, or one target."""
        name = event.step.target.name
        if isinstance(event.error, RepositoryUnavailable):
            self._given_up[name] = "a repository of the target is unavailable"
        elif isinstance(event.error, (DiskFull, ToolMissing)):
            why = "the disk is full" if isinstance(event.error, DiskFull) else "a tool is missing"
            self._given_up |= {key[0]: why for key in self._steps}

    def _work(self, step: Step) -> None:
        """In a worker's thread: one step, from sources to its folder."""
        begin = time.monotonic()
        try:
            if reason := self._given_up.get(step.target.name):
                self._told.put(Event(step, Stage.NOT_BUILT, reason=reason))
                return
            try:
                folder = self._build(step)
            except (RpmError, OSError) as failure:
                full = tells_full(failure)
                error = no_room(step, self._way.results, failure) if full else failure
                self._fail(step, error, time.monotonic() - begin)
                return
            taken = time.monotonic() - begin
            log.info("built %s for %s seconds=%.1f", step.spec.nvr, step.target.name, taken)
            self._told.put(Event(step, Stage.BUILT, seconds=taken, folder=folder))
        except BaseException as error:  # noqa: BLE001  # raised on by the main thread
            self._told.put(error)

    def _build(self, step: Step) -> Path:
        way = self._way
        with building(step, way.results) as folder:
            try:
                self._told.put(Event(step, Stage.SRPM))
                sources = gather_sources(step, way.cache, folder / "SOURCES")
                begin = time.monotonic()
                self._go_on(step)
                srpm = way.backend.build_srpm(step.spec.path, sources, step.target, folder / "srpm")
                shutil.rmtree(sources)
                self._told.put(Event(step, Stage.BUILDING))
                middle = time.monotonic()
                offered = [
                    folder_of(self._steps[key], way.results).absolute() for key in step.needs
                ]
                self._go_on(step)
                way.backend.build_rpms(srpm, step.target, offered, folder)
                settle_srpm(srpm, folder)
                make_repository(folder, way.programs)
                facts = {
                    "backend": way.backend.name,
                    "tools": self._versions,
                    "seconds": {
                        "srpm": round(middle - begin, 2),
                        "rpms": round(time.monotonic() - middle, 2),
                    },
                }
                write_record(folder, record_of(step, folder, facts))
            except Stopped:
                raise
            except (RpmError, OSError) as failure:
                # A program that cannot write its log may end without a word.
                full = not isinstance(failure, DiskFull) and is_full(folder)
                shutil.rmtree(folder / "SOURCES", ignore_errors=True)
                error = moved(failure, folder, keep_failed(step, folder, way.results))
                raise (no_room(step, way.results, error) if full else error) from None
            return keep(step, folder, way.results)

    def _go_on(self, step: Step) -> None:
        if self._stopping:
            raise Stopped(f"{step.spec.nvr} was stopped")

    def _fail(self, step: Step, error: Exception, seconds: float) -> None:
        folder = failed_folder(step, self._way.results)
        kept = folder if folder.exists() else None
        event = Event(step, Stage.FAILED, seconds=seconds, folder=kept, error=error)
        self._consider(event)  # before this thread begins another
        self._told.put(event)


def gather_sources(step: Step, cache: Path, folder: Path) -> Path:
    """Every source and patch of a step in one folder; hard links where the file system can."""
    folder.mkdir()
    for path in step.carried:
        shutil.copy(path, folder / path.name)
    for source in step.fetched:
        kept, link = cached(source, cache), folder / source.name
        try:
            os.link(kept, link)
        except OSError:
            shutil.copyfile(kept, link)
    return folder


def settle_srpm(srpm: Path, folder: Path) -> None:
    """The source package lies beside the binary ones, once; `srpm/` keeps only its logs."""
    if list(folder.glob("*.src.rpm")):
        srpm.unlink(missing_ok=True)
    else:
        srpm.rename(folder / srpm.name)


def moved(error: Exception, folder: Path, kept: Path) -> Exception:
    """The error, speaking of the folder in which the logs lie now."""
    if isinstance(error, BuildFailed):
        told: Exception = BuildFailed(
            error.name, Path(str(error.log).replace(str(folder), str(kept))), error.lines
        )
    elif isinstance(error, RpmError):
        told = type(error)(str(error).replace(str(folder), str(kept)))
    else:
        return error
    for note in getattr(error, "__notes__", ()):
        told.add_note(note)
    return told


def no_room(step: Step, results: Path, met: Exception) -> DiskFull:
    """The error for a build that found the disk full when it met another."""
    error = DiskFull(
        f"{step.spec.nvr} was not built: no space left in {results / step.target.name}"
    )
    place = met.filename if isinstance(met, OSError) else None
    if place and not Path(place).is_relative_to(results):
        error.add_note(f"it met  {met}")
    elif not tells_full(met):
        first = str(met).partition("\n")[0].rstrip(":")
        error.add_note(f"it met  {first}")
    return error


def _sweep(target: Path) -> None:
    """Remove what a killed process left unfinished."""
    for left in target.glob(".*.building"):
        shutil.rmtree(left, ignore_errors=True)


def versions(backend: str, programs: Programs) -> Mapping[str, str]:
    """The versions of the tools that a backend builds with, as they tell them."""
    found = {}
    for tool in TOOLS.get(backend, ()):
        if shutil.which(tool):
            said = capture(programs.start, [tool, "--version"], timeout=60)
            found[tool] = (said.out.strip() or said.err.strip() or "?").splitlines()[0]
    return found


TOOLS: Mapping[str, Sequence[str]] = {
    "mock": ("mock", "rpmbuild"),
    "chroot": ("dnf", "rpm", "bwrap"),
}
