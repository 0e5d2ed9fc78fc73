"""`rackseed status`: where every host stands."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

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
    from provision.inventory.model import Host
    from provision.store.events import Event
    from provision.store.hosts import HostRecord

COLUMNS = ("host", "rack", "role", "state", "since", "alarms", "last event")


def status(
    hosts: Annotated[
        list[str] | None, typer.Argument(metavar="HOST", help="These hosts; else all.")
    ] = None,
    inventory: InventoryOption = DEFAULT_INVENTORY,
    as_json: JsonOption = False,
    store: StoreOption = None,
) -> int:
    """Show the state of hosts, since when, and what happened last.

    Examples:
      rackseed status
      rackseed status cmp01 --json
    """
    from provision.cli.plan import known_host
    from provision.inventory.load import load
    from provision.store import Store

    loaded = load(inventory)
    names = [known_host(loaded, name) for name in hosts or loaded.hosts]
    records: Mapping[str, HostRecord] = {}
    newest: Mapping[str, Event] = {}
    alarms: Mapping[str, int] = {}
    told: Mapping[str, Sequence[Event]] = {}
    if is_there(url := store or loaded.store):
        with Store(url) as opened:
            records, newest, alarms = opened.records(), opened.newest_events(), opened.alarms()
            told = {name: opened.events(name, kinds=("alarm",), limit=1) for name in alarms}
    rows = [
        as_facts(loaded.hosts[name], records.get(name), newest.get(name), alarms.get(name, 0))
        for name in names
    ]
    if as_json:
        report.print_json(rows)
        return report.ExitStatus.DONE
    now = datetime.now().astimezone()
    report.print_table(COLUMNS, [as_cells(row, now) for row in rows])
    for name in names:
        for alarm in told.get(name, []):
            text = f"alarm: {name}: {alarm.reason} (rackseed explain {name})"
            report.print_alarm(text)
    return report.ExitStatus.DONE


def as_facts(
    host: "Host", record: "HostRecord | None", event: "Event | None", alarms: int
) -> dict[str, Any]:
    """One host for JSON."""
    from provision.cli.events import as_facts as event_facts
    from provision.lifecycle import HostState

    changed_at = record.changed_at if record else None
    return {
        "host": host.name,
        "rack": host.rack,
        "role": host.role.name,
        "state": (record.state if record else HostState.ENROLLED).value,
        "changed_at": changed_at.isoformat() if changed_at else None,
        "alarms": alarms,
        "last_event": event_facts(event) if event else None,
    }


def as_cells(row: Mapping[str, Any], now: datetime) -> tuple[str, ...]:
    """One host as a line of the table."""
    changed, event = row["changed_at"], row["last_event"]
    since = ago(now - datetime.fromisoformat(changed)) if changed else "-"
    last = "-"
    if event:
        last = f"{ago(now - datetime.fromisoformat(event['at']))} ago: {event['text']}"
    alarms = str(row["alarms"]) if row["alarms"] else "-"
    return (row["host"], row["rack"], row["role"], row["state"], since, alarms, last)


def ago(span: timedelta) -> str:
    """A span of time in its largest fitting unit, for example `5 min`."""
    seconds = max(int(span.total_seconds()), 0)
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
