"""A rehearsal as tables and lines for people, and as facts for programs; nothing is printed."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

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
BAR_WIDTH = 36


def live_table(snapshot: Snapshot) -> Table:
    """Every machine on one line, to be shown again and again."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("host", "firmware", "phase"):
        table.add_column(name)
    for name in ("bytes", "seconds"):
        table.add_column(name, justify="right")
    for host, progress in snapshot.machines:
        phase = progress.phase
        table.add_row(
            host.name,
            firmware_path(host),
            Text(phase.words, STYLES[phase]),
            size(progress.octets),
            f"{age(progress, snapshot.at):.0f}" if progress.marks else "",
        )
    return table


def summary_table(snapshot: Snapshot) -> Table:
    """How each machine came there: one bar per machine, drawn to the longest."""
    longest = max((age(progress, snapshot.at) for _, progress in snapshot.machines), default=0)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("host", "firmware", "outcome", "Secure Boot", "bytes"):
        table.add_column(name, justify="right" if name == "bytes" else "left")
    table.add_column("seconds", justify="right")
    table.add_column("from power-on")
    for host, progress in snapshot.machines:
        phase = progress.phase
        table.add_row(
            host.name,
            firmware_path(host),
            Text(phase.words, STYLES[phase]),
            secure_boot(host, progress),
            size(progress.octets),
            f"{age(progress, snapshot.at):.0f}",
            bar(progress, longest),
        )
    return table


def bar(progress: Progress, longest: float) -> Text:
    """A bar of the phases' colours, each as long as it took."""
    text = Text()
    for phase, seconds in progress.spans():
        text.append("█" * round(seconds / longest * BAR_WIDTH) if longest else "", STYLES[phase])
    text.truncate(BAR_WIDTH)
    return text


def spans_line(progress: Progress) -> str:
    """How long each phase took: `power 4.1, dhcp 2.0`."""
    return ", ".join(f"{phase.words} {seconds:.1f}" for phase, seconds in progress.spans())


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
