"""`rackseed explain`: why a host boots as it does, from what was recorded."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from provision.cli import report
from provision.cli.options import (
    DEFAULT_INVENTORY,
    InventoryOption,
    JsonOption,
    StoreOption,
    is_there,
)

if TYPE_CHECKING:
    from provision.store.events import Event
    from provision.store.hosts import HostRecord
    from provision.symptoms import Finding
    from provision.trail import Trail

LOOKED_AT = 2_000
"""How many of the newest events are read."""


def explain(
    host: Annotated[
        str, typer.Argument(metavar="HOST|MAC", help="A host, or any machine by MAC address.")
    ],
    inventory: InventoryOption = DEFAULT_INVENTORY,
    as_json: JsonOption = False,
    store: StoreOption = None,
) -> int:
    """Tell what each packet of the newest boot asked, what was answered, and by which rule.

    Then what is known about the symptoms, and where that knowledge comes from.

    Examples:
      rackseed explain cmp01
      rackseed explain 52:54:00:aa:00:07 --json
    """
    from provision import symptoms
    from provision.cli.events import as_facts, whose
    from provision.inventory.load import load
    from provision.store import Store
    from provision.store.hosts import HostRecord
    from provision.trail import Trail

    loaded = load(inventory)
    name, mac = whose(loaded, host)
    found: Sequence[Event] = ()
    record = HostRecord(name) if name else None
    if is_there(url := store or loaded.store):
        with Store(url) as opened:
            found = opened.events(name, mac=mac, limit=LOOKED_AT)
            record = opened.record(name) if name else None
    trail = Trail(
        name=name or str(mac),
        events=tuple(sorted(found, key=lambda event: (event.at, event.id))),
        now=datetime.now(UTC),
        state=record.state if record else None,
        changed_at=record.changed_at if record else None,
        secure_boot=bool(name and loaded.hosts[name].secure_boot),
    )
    findings = symptoms.find(trail)
    if as_json:
        report.print_json(
            {
                "host": name,
                "mac": str(mac),
                "state": record.state.value if record else None,
                "events": [as_facts(event) for event in trail.boot],
                "findings": [finding_facts(finding) for finding in findings],
            }
        )
    else:
        show_trail(trail, record)
        show_findings(findings)
    return report.ExitStatus.DONE


def show_trail(trail: "Trail", record: "HostRecord | None") -> None:
    """The newest boot, line by line."""
    from provision.trail import describe

    if record is None:
        report.print_line(f"{trail.name} is not in the inventory")
    else:
        changed = record.changed_at
        since = f" since {changed.astimezone():%Y-%m-%d %H:%M:%S}" if changed else ""
        report.print_line(f"{trail.name} is {record.state.value}{since}")
    events = trail.boot
    if not events:
        report.print_line("nothing was recorded of it")
        return
    report.print_line()
    report.print_line(f"the newest boot, {events[0].at.astimezone():%Y-%m-%d %H:%M:%S}:")
    for event in events:
        after = (event.at - events[0].at).total_seconds()
        text = describe(event).replace("\n", " ")
        report.print_line(f"  {after:8.2f} s  {event.service:<8}  {text}")


def show_findings(findings: "list[Finding]") -> None:
    """What was recognised."""
    report.print_line()
    if not findings:
        report.print_line("no known symptom")
    for finding in findings:
        colour = typer.colors.RED if finding.rule == "alarm" else None
        report.print_marked(f"{finding.rule}: {finding.text}", colour)
        report.print_paragraph(finding.advice, "  ")
        report.print_line(f"  source: {finding.source}")


def finding_facts(finding: "Finding") -> dict[str, str]:
    """A finding for JSON."""
    return {
        "rule": finding.rule,
        "text": finding.text,
        "advice": finding.advice,
        "source": finding.source,
    }
