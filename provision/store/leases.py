"""Discovery leases, shared by all servers: one address never goes to two clients."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from ipaddress import IPv4Address
from typing import Any

from sqlalchemy import Connection, Table, bindparam, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from provision.store.schema import leases
from pxe.addresses import MacAddress
from pxe.reservation import Lease

_INSERT: Mapping[str, Callable[[Table], Any]] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
}


def all_leases(connection: Connection) -> list[Lease]:
    """Every lease, expired ones too."""
    return [
        Lease(MacAddress.parse(row.mac), IPv4Address(row.address), row.expires)
        for row in connection.execute(select(leases).order_by(leases.c.address))
    ]


def keep(
    connection: Connection, granted: Sequence[Lease], released: Sequence[Lease], now: datetime
) -> list[Lease]:
    """Write and forget leases; returns those of `granted` that were kept.

    An address that another client holds until after `now` is not taken from it. A client has one
    lease: a new address gives the old one up.
    """
    for lease in sorted(released, key=_address):
        connection.execute(
            leases.delete().where(
                leases.c.address == str(lease.address), leases.c.mac == str(lease.client)
            )
        )
    kept = {lease for part in _parts(granted) for lease in _keep_part(connection, part, now)}
    return [lease for lease in granted if lease in kept]


def _address(lease: Lease) -> IPv4Address:
    return lease.address


def _parts(granted: Sequence[Lease]) -> list[list[Lease]]:
    """The leases cut where a client or an address comes again: a statement takes each once."""
    parts: list[list[Lease]] = [[]]
    seen: set[MacAddress | IPv4Address] = set()
    for lease in granted:
        if seen & {lease.client, lease.address}:
            parts.append([])
            seen.clear()
        seen |= {lease.client, lease.address}
        parts[-1].append(lease)
    return parts


def _keep_part(connection: Connection, part: Sequence[Lease], now: datetime) -> list[Lease]:
    if not part:
        return []
    _give_up_others(connection, part)
    insert = _INSERT[connection.dialect.name](leases)
    new = insert.excluded
    free = or_(leases.c.mac == new.mac, leases.c.expires <= now)
    write = insert.on_conflict_do_update(
        index_elements=[leases.c.address], set_={"mac": new.mac, "expires": new.expires}, where=free
    )
    # The order of addresses keeps two servers from waiting for each other in a ring.
    rows = [
        {"address": str(lease.address), "mac": str(lease.client), "expires": lease.expires}
        for lease in sorted(part, key=_address)
    ]
    kept = set(connection.execute(write.returning(leases.c.address), rows).scalars())
    return [lease for lease in part if str(lease.address) in kept]


def _give_up_others(connection: Connection, part: Sequence[Lease]) -> None:
    """A client that gets a new address gives its old one up, if that is still its own."""
    wanted = {str(lease.client): str(lease.address) for lease in part}
    query = select(leases.c.mac, leases.c.address).where(leases.c.mac.in_(wanted))
    others = [
        {"old": row.address, "whose": row.mac}
        for row in sorted(connection.execute(query), key=lambda row: IPv4Address(row.address))
        if wanted[row.mac] != row.address
    ]
    if others:  # in the meantime another server may have given an expired one to somebody else
        theirs = (leases.c.address == bindparam("old"), leases.c.mac == bindparam("whose"))
        connection.execute(leases.delete().where(*theirs), others)
