"""The state of each host, changed only through the table of the life cycle."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import Insert

from provision.lifecycle import EventKind, HostState, Illegal, advance, prior_after
from provision.store import events
from provision.store.events import Event
from provision.store.schema import hosts

# Made once: for these small statements, building them would take longer than running them.
_ENROL: Mapping[str, Insert] = {
    "sqlite": sqlite.insert(hosts).on_conflict_do_nothing(),
    "postgresql": postgresql.insert(hosts).on_conflict_do_nothing(),
}
_FIND = select(hosts).where(hosts.c.name == bindparam("wanted"))
_FIND_AND_LOCK = _FIND.with_for_update()
_FIND_ALL = select(hosts).where(hosts.c.name.in_(bindparam("wanted", expanding=True)))
_FIND_AND_LOCK_ALL = _FIND_ALL.order_by(hosts.c.name).with_for_update()


@dataclass(frozen=True, slots=True)
class HostRecord:
    """Where a host stands."""

    name: str
    state: HostState = HostState.ENROLLED
    prior: HostState | None = None
    """Where `disarm` leads back to."""
    arming: str | None = None
    """Names the newest permission to install; used up unless `state` is armed."""
    changed_at: datetime | None = None
    """None: never seen."""


def find(connection: Connection, name: str) -> HostRecord:
    """The record of a host; one never seen is enrolled."""
    row = connection.execute(_FIND, {"wanted": name}).one_or_none()
    return HostRecord(name) if row is None else _record(row)


def find_all(connection: Connection, names: Sequence[str]) -> Mapping[str, HostRecord]:
    """The records of several hosts, by name."""
    rows = connection.execute(_FIND_ALL, {"wanted": names})
    return {name: HostRecord(name) for name in names} | {row.name: _record(row) for row in rows}


def all_records(connection: Connection) -> Mapping[str, HostRecord]:
    """Every host that was ever seen or armed, by name."""
    return {row.name: _record(row) for row in connection.execute(select(hosts))}


def lock(connection: Connection, name: str, at: datetime) -> HostRecord:
    """The record of a host, which no other writer can change until this transaction ends."""
    found = connection.execute(_FIND_AND_LOCK, {"wanted": name}).one_or_none()
    if found is None:
        row = {"name": name, "state": HostState.ENROLLED.value, "changed_at": at}
        connection.execute(_ENROL[connection.dialect.name], row)
        found = connection.execute(_FIND_AND_LOCK, {"wanted": name}).one()
    return _record(found)


def lock_all(connection: Connection, names: Sequence[str], at: datetime) -> list[HostRecord]:
    """Records of several hosts, locked in one order everywhere so that nobody waits in a ring."""
    wanted = sorted(set(names))
    rows = connection.execute(_FIND_AND_LOCK_ALL, {"wanted": wanted}).all()
    present = {row.name for row in rows}
    if new := [name for name in wanted if name not in present]:
        enrolled = {"state": HostState.ENROLLED.value, "changed_at": at}
        connection.execute(
            _ENROL[connection.dialect.name], [{"name": name, **enrolled} for name in new]
        )
        rows = connection.execute(_FIND_AND_LOCK_ALL, {"wanted": wanted}).all()
    locked = {row.name: _record(row) for row in rows}
    return [locked[name] for name in dict.fromkeys(names)]


def apply(
    connection: Connection, record: HostRecord, kind: EventKind, event: Event
) -> HostRecord | Illegal:
    """Move a locked host on and append `event`, completed with the states.

    An Illegal result changes and appends nothing. Every arming gets a name of its own.
    """
    after = advance(record.state, kind, record.prior or HostState.ENROLLED)
    if isinstance(after, Illegal):
        return after
    moved = replace(record, state=after, prior=prior_after(record.state, after, record.prior))
    if kind is EventKind.ARMED:
        moved = replace(moved, arming=secrets.token_hex(8))
    if moved != record:
        moved = replace(moved, changed_at=event.at)
        _write(connection, moved)
    told = replace(event, host=record.name, kind=kind.value, before=record.state, after=after)
    events.append(connection, [told])
    return moved


def _write(connection: Connection, record: HostRecord) -> None:
    change = hosts.update().where(hosts.c.name == record.name)
    connection.execute(
        change.values(
            state=record.state.value,
            prior=record.prior and record.prior.value,
            arming=record.arming,
            changed_at=record.changed_at,
        )
    )


def _record(row: Row[Any]) -> HostRecord:
    prior = HostState(row.prior) if row.prior else None
    return HostRecord(row.name, HostState(row.state), prior, row.arming, row.changed_at)
