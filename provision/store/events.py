"""What happened, in order: transitions, alarms and exchanges on the wire; never changed."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from ipaddress import IPv4Address
from itertools import chain
from typing import Any

from sqlalchemy import Connection, Row, and_, delete, func, or_, select, text

from provision.lifecycle import HostState
from provision.store.schema import LASTING, events, instant
from pxe.addresses import MacAddress

ALARM = "alarm"
"""Kind of an event that a person should look at: somebody else may hold an answer."""
DROPPED = "dropped"
"""Kind of the event that counts what a flood made us forget."""
REPEATED = "repeated"
"""In the detail of an exchange: it stands for so many that were not written, as they were alike."""

BOOT_TARGET = "boot target"
"""Kind of the event that tells what a boot script was made for, and by which rule."""

KEPT_UNKNOWN = 10_000
"""How many exchanges with machines outside the inventory are kept, the newest."""
KEPT_KNOWN = 500_000
"""How many exchanges with hosts are kept, the newest; transitions and alarms always are.

About 100 MB in SQLite. Between two prunings there may be `observer.PRUNE_EVERY` more of both."""

StoredRow = tuple[object, ...]
"""The values of one row, in the order of `_COLUMNS`, as the database drivers take them."""
_COLUMNS = tuple(column.name for column in events.columns if column is not events.c.id)
_ROWS_PER_STATEMENT = 500
"""SQLite takes at most 32,766 values in one statement."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened."""

    at: datetime
    """Aware, in UTC."""
    service: str
    """`dhcp`, `tftp`, `http`, `site` (what machines told) or `operator`."""
    kind: str
    """An EventKind, an Outcome, `alarm` or `dropped`."""
    host: str | None = None
    mac: MacAddress | None = None
    address: IPv4Address | None = None
    before: HostState | None = None
    after: HostState | None = None
    observed: bool = False
    """An exchange on the wire: may be pruned."""
    detail: Mapping[str, Any] = field(default_factory=dict)
    id: int = 0
    """Given by the store, rising; 0 before."""

    @property
    def subject(self) -> str:
        """What an exchange was about, or an empty string."""
        return str(self.detail.get("subject", ""))

    @property
    def reason(self) -> str:
        """The rule that decided, or what was told."""
        return str(self.detail.get("reason") or self.detail.get("message") or "")


def append(connection: Connection, new: Iterable[Event]) -> None:
    """Add events at the end."""
    write(connection, [row_of(event) for event in new])


def write(connection: Connection, rows: Sequence[StoredRow]) -> None:
    """Add rows at the end.

    The driver gets them as they are: SQLAlchemy's processing of each value would take as long as
    the database takes for all of them, and exchanges come by the thousand. SQLite's driver would
    fetch the interpreter back from the other threads after each row, so it gets many at once.
    """
    many = len(rows) - len(rows) % _ROWS_PER_STATEMENT if connection.dialect.name == "sqlite" else 0
    for start in range(0, many, _ROWS_PER_STATEMENT):
        part = rows[start : start + _ROWS_PER_STATEMENT]
        values = tuple(chain.from_iterable(part))
        connection.exec_driver_sql(_insert("?", _ROWS_PER_STATEMENT), values)
    if rest := list(rows[many:]):
        mark = "?" if connection.dialect.paramstyle == "qmark" else "%s"
        connection.exec_driver_sql(_insert(mark, 1), rest)


@cache
def _insert(mark: str, rows: int) -> str:
    row = "(" + ", ".join([mark] * len(_COLUMNS)) + ")"
    values = ", ".join([row] * rows)
    return f"INSERT INTO {events.name} ({', '.join(_COLUMNS)}) VALUES {values}"


def recent(
    connection: Connection,
    *,
    host: str | None = None,
    mac: MacAddress | None = None,
    since: datetime | None = None,
    after_id: int | None = None,
    kinds: Sequence[str] = (),
    limit: int,
) -> list[Event]:
    """Events in rising order of their ids; of too many, the newest, after `after_id` the oldest.

    With both `host` and `mac`, what is known of either.
    """
    query = select(events)
    whose = [events.c.host == host] if host is not None else []
    if mac is not None:
        whose.append(and_(events.c.host.is_(None), events.c.mac == str(mac)))
    if whose:
        query = query.where(or_(*whose))
    if since is not None:
        query = query.where(events.c.at >= since)
    if kinds:
        query = query.where(events.c.kind.in_(kinds))
    if after_id is not None:
        query = query.where(events.c.id > after_id).order_by(events.c.id)
        return [_event(row) for row in connection.execute(query.limit(limit))]
    query = query.order_by(events.c.id.desc()).limit(limit)
    return [_event(row) for row in connection.execute(query)][::-1]


def newest(connection: Connection) -> Mapping[str, Event]:
    """The newest event of each host."""
    last = select(func.max(events.c.id)).where(events.c.host.is_not(None)).group_by(events.c.host)
    rows = connection.execute(select(events).where(events.c.id.in_(last)))
    return {row.host: _event(row) for row in rows}


def alarms(connection: Connection) -> Mapping[str, int]:
    """How many alarms each host has had since it was last armed."""
    armed = (
        select(events.c.host, func.max(events.c.id).label("id"))
        .where(LASTING, events.c.kind == "armed", events.c.host.is_not(None))
        .group_by(events.c.host)
        .subquery()
    )
    query = (
        select(events.c.host, func.count().label("alarms"))
        .select_from(events.outerjoin(armed, armed.c.host == events.c.host))
        .where(text("NOT events.observed"), events.c.kind == ALARM, events.c.host.is_not(None))
        .where(or_(armed.c.id.is_(None), events.c.id > armed.c.id))
        .group_by(events.c.host)
    )
    return {row.host: row.alarms for row in connection.execute(query)}


def prune(connection: Connection, *, unknown: int = KEPT_UNKNOWN, known: int = KEPT_KNOWN) -> int:
    """Forget the oldest exchanges beyond the bounds; returns how many."""
    gone = 0
    for whose, bound in ((events.c.host.is_(None), unknown), (events.c.host.is_not(None), known)):
        kind = and_(events.c.observed, whose)
        newest_ids = select(events.c.id).where(kind).order_by(events.c.id.desc())
        oldest_lost = connection.execute(newest_ids.offset(bound).limit(1)).scalar_one_or_none()
        if oldest_lost is not None:
            lost = delete(events).where(kind, events.c.id <= oldest_lost)
            gone += connection.execute(lost).rowcount
    return gone


def row_of(event: Event) -> StoredRow:
    """An event as the database takes it."""
    return (
        instant(event.at),
        event.host,
        None if event.mac is None else str(event.mac),
        None if event.address is None else str(event.address),
        event.service,
        event.kind,
        event.before and event.before.value,
        event.after and event.after.value,
        event.observed,
        json.dumps(dict(event.detail)),
    )


def _event(row: Row[Any]) -> Event:
    return Event(
        id=row.id,
        at=row.at,
        host=row.host,
        mac=MacAddress.parse(row.mac) if row.mac else None,
        address=IPv4Address(row.address) if row.address else None,
        service=row.service,
        kind=row.kind,
        before=HostState(row.state_before) if row.state_before else None,
        after=HostState(row.state_after) if row.state_after else None,
        observed=row.observed,
        detail=row.detail,
    )
