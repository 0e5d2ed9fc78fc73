"""An operator's word: arm hosts for one installation, or take it back; all of them or none."""

import getpass
from collections.abc import Sequence
from datetime import UTC, datetime

from provision.errors import ProvisionError
from provision.lifecycle import ERASES, EventKind, HostState, Illegal
from provision.store import Store, hosts, tokens
from provision.store.events import Event
from provision.store.hosts import HostRecord


class NotArmed(ProvisionError):
    """At least one host cannot be armed or disarmed; nothing was changed."""


def arm(
    store: Store, names: Sequence[str], *, force: bool = False, at: datetime | None = None
) -> list[HostRecord]:
    """Allow each host one installation at its next network boot; durable when this returns.

    A host that is armed already stays as it is. `force` also arms hosts that have an installed
    system, which the installation will erase.

    Raises NotArmed, and then none is armed.
    """
    return _order(store, names, EventKind.ARMED, HostState.ARMED, force=force, at=at)


def disarm(store: Store, names: Sequence[str], *, at: datetime | None = None) -> list[HostRecord]:
    """Take armings back; an installation that has begun is given up and counts as failed.

    Raises NotArmed, and then none is disarmed.
    """
    return _order(store, names, EventKind.DISARMED, None, force=True, at=at)


def _order(
    store: Store,
    names: Sequence[str],
    kind: EventKind,
    already: HostState | None,
    *,
    force: bool,
    at: datetime | None,
) -> list[HostRecord]:
    now = at or datetime.now(UTC)
    with store.database.writing() as connection:
        records = hosts.lock_all(connection, names, now)
        if not force and (installed := [r.name for r in records if r.state in ERASES]):
            error = NotArmed(f"{', '.join(installed)}: active, the installation would erase it")
            error.add_note("add --force to install it anew")
            raise error
        event = Event(now, "operator", kind.value, detail={"by": _who()})
        changed = []
        for record in records:
            if record.state is already:
                changed.append(record)
                continue
            moved = hosts.apply(connection, record, kind, event)
            if isinstance(moved, Illegal):
                raise _refused(record, kind)
            tokens.withdraw_host(connection, record.name, now)
            changed.append(moved)
        return changed


def _refused(record: HostRecord, kind: EventKind) -> NotArmed:
    if kind is EventKind.DISARMED:
        return NotArmed(f"{record.name} is {record.state.value}, not armed: nothing to take back")
    error = NotArmed(f"{record.name}: {record.state.value}, cannot be {kind.value}")
    if record.state is HostState.DEPLOYING:
        error.add_note(f"to give the installation up, rackseed disarm {record.name}")
    return error


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "an account without a name"
