"""`rackseed events`: what happened, in order."""

import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from provision.cli import report
from provision.cli.options import DEFAULT_INVENTORY, InventoryOption, StoreOption, is_there
from provision.errors import BadInput

if TYPE_CHECKING:
    from provision.inventory.model import Inventory
    from provision.store import Store
    from provision.store.events import Event
    from pxe.addresses import MacAddress

POLL_S = 0.3
"""How often `--follow` looks; the servers write every 0.05 s."""
SPAN = re.compile(r"(\d{1,9})(s|min|m|h|d)")
OVERLAP = 500
"""How many of the newest numbers are looked at again: with several servers on PostgreSQL an event
may be there a moment later than one with a higher number."""
UNITS = {"s": "seconds", "m": "minutes", "min": "minutes", "h": "hours", "d": "days"}


def events(
    host: Annotated[
        str | None,
        typer.Argument(metavar="HOST|MAC", help="One host, or one machine by MAC address."),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help="10m, 2h, 1d, or 2026-05-04T12:00."),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", metavar="N", min=1, help="At most the newest N.")
    ] = 50,
    inventory: InventoryOption = DEFAULT_INVENTORY,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON document for each line.")
    ] = False,
    store: StoreOption = None,
) -> int:
    """Show what happened on the wire, what machines told and what operators ordered.

    Examples:
      rackseed events cmp01 --since 10m
      rackseed events --follow --json
    """
    from provision.inventory.load import load
    from provision.store import Store

    begin = parse_since(since, datetime.now(UTC)) if since else None
    loaded = load(inventory)
    name, mac = whose(loaded, host) if host else (None, None)
    url = store or loaded.store
    if not follow and not is_there(url):
        return report.ExitStatus.DONE
    with Store(url) as opened:
        last = 0
        for event in opened.events(name, mac=mac, since=begin, limit=limit):
            show(event, as_json)
            last = event.id
        if follow:
            for event in follow_events(opened, name, mac, last):
                show(event, as_json)
    return report.ExitStatus.DONE


def whose(inventory: "Inventory", text: str) -> "tuple[str | None, MacAddress | None]":
    """A host by its name, or any machine by its MAC address.

    Raises BadInput for what is neither.
    """
    from provision.cli.plan import known_host
    from pxe.addresses import MacAddress

    try:
        mac = MacAddress.parse(text)
    except ValueError:
        name = known_host(inventory, text)
        return name, inventory.hosts[name].mac
    known = inventory.by_mac.get(mac)
    return (known.name if known else None), mac


def follow_events(
    store: "Store", name: str | None, mac: "MacAddress | None", last: int
) -> "Iterator[Event]":
    """Events as they come."""
    if not last:
        newest = store.events(limit=1)
        last = newest[0].id if newest else 0
    known = store.events(name, mac=mac, after_id=last - OVERLAP)
    shown = {event.id for event in known if event.id <= last}
    while True:
        again = store.events(name, mac=mac, after_id=last - OVERLAP)
        new = [event for event in again if event.id not in shown]
        yield from new
        last = max([last, *(event.id for event in new)])
        shown = {number for number in shown if number > last - OVERLAP}
        shown |= {event.id for event in new}
        if not new:
            time.sleep(POLL_S)


def parse_since(text: str, now: datetime) -> datetime:
    """A time ago, or a time; without an offset it is local.

    Raises BadInput.
    """
    if match := SPAN.fullmatch(text):
        try:
            return now - timedelta(**{UNITS[match[2]]: int(match[1])})
        except OverflowError:
            pass
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        expected = "expected 30s, 10m, 2h, 1d, or 2026-05-04T12:00"
        raise BadInput(f"--since: '{text}' is not a time, {expected}") from None


def show(event: "Event", as_json: bool) -> None:
    """One event on one line; an alarm is red."""
    if as_json:
        print(json.dumps(as_facts(event), ensure_ascii=False, default=str), flush=True)
        return
    line = as_line(event).replace("\n", " ")
    if event.kind == "alarm":
        report.print_alarm(line)
    else:
        print(report.printable(line), flush=True)


def as_line(event: "Event") -> str:
    """Local time, whose, by which service, what."""
    from provision.trail import describe

    who = event.host or str(event.mac or event.address or "-")
    return f"{event.at.astimezone():%Y-%m-%d %H:%M:%S}  {who}  {event.service}  {describe(event)}"


def as_facts(event: "Event") -> dict[str, Any]:
    """One event for JSON."""
    from provision.trail import describe

    return {
        "id": event.id,
        "at": event.at.isoformat(),
        "host": event.host,
        "mac": str(event.mac) if event.mac else None,
        "address": str(event.address) if event.address else None,
        "service": event.service,
        "kind": event.kind,
        "state_before": event.before.value if event.before else None,
        "state_after": event.after.value if event.after else None,
        "text": describe(event),
        "detail": dict(event.detail),
    }
