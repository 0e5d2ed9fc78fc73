"""Builds of packages as tables and lines for people, and as facts for programs."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from rpmspecs.build import ENDINGS, Event, Stage
from rpmspecs.results import read_record
from rpmspecs.sources import Source
from rpmspecs.steps import Key, Step

STYLES: Mapping[Stage, str] = {
    Stage.WAITING: "dim",
    Stage.SRPM: "cyan",
    Stage.BUILDING: "yellow",
    Stage.BUILT: "green",
    Stage.REUSED: "green",
    Stage.FAILED: "red",
    Stage.NOT_BUILT: "red",
}

MEGABYTE = 1_000_000


class Progress:
    """How far everything is; drawn anew whenever it is shown."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = steps
        self._events: dict[Key, Event] = {}
        self._since: dict[Key, float] = {}
        self._bytes: dict[str, int] = {}
        self._whole: set[str] = set()

    def took(self, event: Event) -> None:
        """A step came to a stage."""
        self._since.setdefault(event.step.key, time.monotonic())
        self._events[event.step.key] = event

    def fetched(self, source: Source, done: int, total: int | None) -> None:
        """More of a source is here."""
        self._bytes[source.digest] = done
        if done == total:
            self._whole.add(source.digest)

    def fetched_line(self) -> str:
        """What came over the network; empty when nothing did."""
        if not self._bytes:
            return ""
        size = sum(self._bytes.values()) / MEGABYTE
        return f"{len(self._whole)} sources fetched, {size:.1f} MB"

    def __rich__(self) -> Table:
        table = Table(box=None, header_style="bold", pad_edge=False, caption=self.fetched_line())
        for name in ("target", "package", "stage"):
            table.add_column(name)
        table.add_column("seconds", justify="right")
        for step in self._steps:
            event = self._events.get(step.key)
            stage = event.stage if event else Stage.WAITING
            table.add_row(
                step.target.name, step.spec.nvr, Text(stage.value, STYLES[stage]), self._age(step)
            )
        return table

    def _age(self, step: Step) -> str:
        event = self._events.get(step.key)
        if event is None:
            return ""
        if event.stage in ENDINGS:
            return f"{event.seconds:.0f}" if event.seconds else ""
        return f"{time.monotonic() - self._since[step.key]:.0f}"


def event_line(event: Event) -> str:
    """One change, for those who have no terminal."""
    words = f"{event.step.target.name} {event.step.spec.nvr}: {event.stage.value}"
    if event.reason:
        words += f", {event.reason}"
    return f"{words} ({event.seconds:.1f} s)" if event.seconds else words


def summary_line(ended: Mapping[Key, Event]) -> str:
    """How many ended how."""
    counts = {
        stage: sum(event.stage is stage for event in ended.values())
        for stage in (Stage.BUILT, Stage.REUSED, Stage.FAILED, Stage.NOT_BUILT)
    }
    return ", ".join(f"{n} {stage.value}" for stage, n in counts.items() if n) or "nothing to do"


def plan_rows(steps: Sequence[Step], reused: set[Key]) -> list[tuple[str, ...]]:
    """What would be built in which order."""
    return [
        (
            step.target.name,
            str(step.batch + 1),
            step.spec.nvr,
            ", ".join(name for _, name in step.needs) or "-",
            str(len(step.fetched)),
            "already built" if step.key in reused else "to be built",
        )
        for step in steps
    ]


PLAN_COLUMNS = ("target", "batch", "package", "needs", "sources to fetch", "state")


def plan_facts(steps: Sequence[Step], reused: set[Key]) -> list[dict[str, Any]]:
    """The same for JSON."""
    return [
        {
            **_name(step),
            "batch": step.batch + 1,
            "needs": [name for _, name in step.needs],
            "fetched": [source.name for source in step.fetched],
            "digest": step.digest,
            "state": "already built" if step.key in reused else "to be built",
        }
        for step in steps
    ]


def facts(ended: Mapping[Key, Event]) -> list[dict[str, Any]]:
    """How each ended, for JSON."""
    return [
        {
            **_name(event.step),
            "outcome": event.stage.value,
            "seconds": round(event.seconds, 2),
            "folder": str(event.folder) if event.folder else None,
            "packages": _packages(event),
            "error": str(event.error) if event.error else event.reason or None,
        }
        for event in ended.values()
    ]


def _name(step: Step) -> dict[str, Any]:
    spec = step.spec
    return {
        "target": step.target.name,
        "name": spec.name,
        "version": spec.version,
        "release": spec.release,
    }


def _packages(event: Event) -> list[str]:
    record = read_record(event.folder) if event.folder else None
    return [package["name"] for package in record["packages"]] if record else []
