"""Builds of images, several at once, told on a terminal by one live table."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from imagebuild.build import Built, Way, build_image
from imagebuild.errors import ImageError, Stopped
from imagebuild.phases import ENDINGS, Event, Phase
from imagebuild.plan import Machine, Settings
from imagebuild.recipe import Recipe
from imagebuild.running import Programs
from provision.cli import report
from provision.cli.progress import logging_above
from provision.errors import ProvisionError
from provision.run import run, start
from provision.simulation.world import endings_interrupt

REFRESH_PER_SECOND = 4
MEGABYTE = 1_000_000

STYLES: Mapping[Phase, str] = {
    Phase.WAITING: "dim",
    Phase.BUILT: "green",
    Phase.FAILED: "red",
}


def build_all(
    recipes: Sequence[Recipe],
    settings: Settings,
    machine: Machine,
    jobs: int,
    *,
    proof: bool | None,
    as_json: bool,
) -> int:
    """Build, watch, tell."""
    people = Console(stderr=as_json, highlight=False, soft_wrap=True)
    stopping = threading.Event()
    machine = machine.shared(min(jobs, len(recipes)))
    view = View(recipes)
    with endings_interrupt(), watching(people, view) as watch:
        way = Way(settings, machine, Programs(run, start), watch, stopping, proof=proof)
        try:
            ended = build_each(recipes, way, jobs)
        except KeyboardInterrupt:
            people.print("interrupted: every build was stopped, finished images are kept")
            raise
    built = [one for one in ended if isinstance(one, Built)]
    errors = [one for one in ended if isinstance(one, Exception)]
    if as_json:
        report.print_json([facts(one) for one in built])
    else:
        for one in built:
            report.print_line(f"{one.path}  {one.size / MEGABYTE:.0f} MB  sha256 {one.sha256}")
    for error in errors:
        report.show_exception(error)
    if not errors:
        return report.ExitStatus.DONE
    return report.status_of(errors[0]) or report.ExitStatus.FAILED


def build_each(recipes: Sequence[Recipe], way: Way, jobs: int) -> list[Built | Exception]:
    """Every recipe's image or the expected error that it ended with, in the recipes' order."""

    def one(recipe: Recipe) -> Built | Exception:
        began = time.monotonic()
        try:
            built = build_image(recipe, way)
        except (ImageError, ProvisionError, OSError) as error:
            gone = time.monotonic() - began
            ending = Phase.STOPPED if isinstance(error, Stopped) else Phase.FAILED
            way.watch(Event(recipe.name, ending, error=error, seconds=gone))
            return error
        way.watch(Event(recipe.name, Phase.BUILT, skipped=built.skipped, seconds=built.seconds))
        return built

    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(one, recipe) for recipe in recipes]
        try:
            return [future.result() for future in futures]
        except KeyboardInterrupt:
            way.stopping.set()
            for future in futures:
                future.cancel()
            raise


class View:
    """How far every build is; drawn anew whenever it is shown."""

    def __init__(self, recipes: Sequence[Recipe]) -> None:
        self._events = {one.name: Event(one.name, Phase.WAITING) for one in recipes}
        self._began: dict[str, float] = {}
        self._since: dict[str, float] = {}

    def took(self, event: Event) -> None:
        """A build came to a phase."""
        now = time.monotonic()
        self._began.setdefault(event.name, now)
        self._since[event.name] = now
        self._events[event.name] = event

    def __rich__(self) -> Table:
        table = Table(box=None, header_style="bold", pad_edge=False)
        for name in ("image", "phase"):
            table.add_column(name)
        for name in ("seconds", "usually", "in all"):
            table.add_column(name, justify="right")
        now = time.monotonic()
        for name, event in list(self._events.items()):
            phase = Text(event.phase.value, STYLES.get(event.phase, "yellow"))
            if event.phase in ENDINGS or event.phase is Phase.WAITING:
                table.add_row(name, phase, "", "", f"{event.seconds:.0f}" if event.seconds else "")
                continue
            typical = f"{event.typical:.0f}" if event.typical is not None else ""
            table.add_row(
                name,
                phase,
                f"{now - self._since[name]:.0f}",
                typical,
                f"{now - self._began[name]:.0f}",
            )
        return table


@contextmanager
def watching(people: Console, view: View) -> Iterator[Callable[[Event], None]]:
    """A live table on a terminal, elsewhere a line for each change."""
    if people.is_terminal:
        with Live(view, console=people, refresh_per_second=REFRESH_PER_SECOND), logging_above():
            yield view.took
        return

    def tell(event: Event) -> None:
        people.print(report.printable(event_line(event)), markup=False)

    yield tell


def event_line(event: Event) -> str:
    """One change, for those who have no terminal."""
    words = f"{event.name}: {event.phase.value}"
    if event.skipped and event.phase in (Phase.ROOT, Phase.BUILT):
        words += f", the {event.skipped} is kept from an earlier build"
    if event.phase in ENDINGS:
        return f"{words} after {event.seconds:.0f} s"
    if event.typical is not None:
        return f"{words} (usually {event.typical:.0f} s)"
    return words


def facts(built: Built) -> dict[str, object]:
    """An image for other programs."""
    return {
        "recipe": built.recipe.name,
        "path": str(built.path),
        "size": built.size,
        "sha256": built.sha256,
        "seconds": round(built.seconds, 1),
        "kept": built.skipped or None,
        "sealed": built.report.sealed,
        "proven": built.proven,
        "properties": dict(built.recipe.properties),
    }
