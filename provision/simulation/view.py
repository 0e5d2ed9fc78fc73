"""A rehearsal as tables and lines for people, and as facts for programs; nothing is printed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from provision.inventory.model import Host, HostFirmware
from provision.simulation.guests import firmware_path
from provision.simulation.phases import Phase, Progress
from provision.simulation.rehearsal import Snapshot

STYLES: Mapping[Phase, str] = {
    Phase.WAITING: "dim",
    Phase.POWER: "grey50",
    Phase.DHCP: "blue",
    Phase.PROGRAM: "cyan",
    Phase.SCRIPT: "cyan",
    Phase.KERNEL: "magenta",
    Phase.RAMDISK: "yellow",
    Phase.ANSWER: "yellow",
    Phase.IMAGE: "bright_yellow",
    Phase.INSTALLED: "bright_blue",
    Phase.REBOOTING: "bright_blue",
    Phase.LOCAL_DISK: "bright_cyan",
    Phase.ARRIVED: "green",
    Phase.FAILED: "red",
}
Machines = Sequence[tuple[Host, Progress]]

BAR_LEAST, BAR_MOST = 8, 36
"""Columns of a bar: as many as the terminal leaves it."""


def live_table(snapshot: Snapshot, lines: int | None = None) -> Table:
    """Every machine on one line, to be shown again and again.

    Where there are more than fit into `lines`, those that are under way or failed; the others are
    counted below.
    """
    table = _table("host", "firmware", "phase")
    for name in ("bytes", "seconds"):
        table.add_column(name, justify="right", no_wrap=True)
    shown: Machines = snapshot.machines
    if lines is not None and len(shown) >= lines:
        shown = _most_telling(shown, max(1, lines - 2))
    for host, progress in shown:
        phase = progress.phase
        table.add_row(
            host.name,
            firmware_path(host),
            Text(phase.words, STYLES[phase]),
            size(progress.octets),
            f"{age(progress, snapshot.at):.0f}" if progress.marks else "",
        )
    if len(shown) < len(snapshot.machines):
        table.add_row("...", _counts(snapshot.machines))
    return table


def _most_telling(machines: Machines, count: int) -> Machines:
    """Those under way, then those that failed, those that wait, those that arrived."""

    def rank(index: int) -> int:
        phase = machines[index][1].phase
        last = {Phase.FAILED: 1, Phase.WAITING: 2, Phase.ARRIVED: 3}
        return last.get(phase, 0)

    chosen = sorted(range(len(machines)), key=rank)[:count]
    return [machines[index] for index in sorted(chosen)]


def _counts(machines: Machines) -> str:
    """`40 arrived, 2 failed, 58 waiting`."""
    found = [progress.phase for _, progress in machines]
    phases = (Phase.ARRIVED, Phase.FAILED, Phase.WAITING)
    return ", ".join(f"{found.count(one)} {one.words}" for one in phases if one in found)


def _table(*columns: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in columns:
        table.add_column(name, no_wrap=True)
    return table


def summary_table(snapshot: Snapshot) -> Table:
    """How each machine came there: one bar per machine, drawn to the longest."""
    longest = max((age(progress, snapshot.at) for _, progress in snapshot.machines), default=0)
    table = _table("host", "firmware", "outcome", "secure")
    for name in ("bytes", "seconds"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("timeline")  # the one that gives way on a narrow terminal
    for host, progress in snapshot.machines:
        phase = progress.phase
        table.add_row(
            host.name,
            firmware_path(host),
            Text(phase.words, STYLES[phase]),
            secure_boot(host, progress),
            size(progress.octets),
            f"{age(progress, snapshot.at):.0f}",
            Bar(progress, longest),
        )
    return table


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of the phases' colours, each as long as it took, in the room that there is."""

    progress: Progress
    longest: float
    """Seconds that fill the room."""

    def text(self, width: int) -> Text:
        """The bar where `width` columns stand for the longest."""
        text = Text()
        seconds = 0.0
        for phase, lasted in self.progress.spans():
            seconds += lasted
            end = round(seconds / self.longest * width) if self.longest else 0
            text.append("█" * (end - len(text)), STYLES[phase])
        return text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.text(options.max_width)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(BAR_LEAST, BAR_MOST)


def timelines(snapshot: Snapshot) -> Table:
    """How long each phase took, in the colours of the bars: `power 4.1, dhcp 2.0`."""
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    for host, progress in snapshot.machines:
        spans = [Text(f"{p.words} {seconds:.1f}", STYLES[p]) for p, seconds in progress.spans()]
        table.add_row(f"{host.name}:", Text(", ").join(spans))
    return table


def change_line(host: Host, progress: Progress, count: int, begin: datetime) -> str:
    """The change number `count` of one machine, for where no table can be drawn."""
    mark = progress.marks[count]
    words = f"{(mark.at - begin).total_seconds():6.1f} s  {host.name}  {mark.phase.words}"
    return f"{words}: {progress.reason}" if mark.phase is Phase.FAILED else words


def secure_boot(host: Host, progress: Progress) -> str:
    """What the machine itself said; BIOS knows no such thing."""
    if host.firmware is HostFirmware.BIOS:
        return "-"
    return {True: "enabled", False: "disabled", None: "-"}[progress.secure_boot]


def age(progress: Progress, now: datetime) -> float:
    """Seconds since power-on, or until it was over."""
    if not progress.marks:
        return 0.0
    return progress.seconds or (now - progress.marks[0].at).total_seconds()


def size(octets: int) -> str:
    """Bytes for people."""
    return f"{octets / 1e6:.1f} MB" if octets else ""


def facts(snapshot: Snapshot, **more: Any) -> dict[str, Any]:  # noqa: ANN401  # whatever JSON says
    """The outcome for `--json`."""
    return {
        "arrived": snapshot.all_arrived,
        **more,
        "hosts": {
            host.name: {
                "firmware": firmware_path(host),
                "outcome": progress.phase.words,
                "reason": progress.reason,
                "seconds": progress.seconds,
                "bytes": progress.octets,
                "secure_boot": progress.secure_boot,
                "alarms": list(progress.alarms),
                "phases": [
                    {"phase": mark.phase.words, "at": mark.at.isoformat()}
                    for mark in progress.marks
                ],
            }
            for host, progress in snapshot.machines
        },
    }
