"""Discovery leases, shared by all servers: one address never goes to two clients."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from ipaddress import IPv4Address
from typing import Any

from sqlalchemy import Connection, Table, and_, or_, select
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
    # The order of addresses keeps two servers from waiting for each other in a ring.
    for lease in sorted(released, key=lambda lease: lease.address):
        connection.execute(
            leases.delete().where(
                leases.c.address == str(lease.address), leases.c.mac == str(lease.client)
            )
        )
    in_order = sorted(granted, key=lambda lease: lease.address)
    kept = {lease for lease in in_order if _keep_one(connection, lease, now)}
    return [lease for lease in granted if lease in kept]


def _keep_one(connection: Connection, lease: Lease, now: datetime) -> bool:
    mac, address = str(lease.client), str(lease.address)
    mine = leases.c.mac == mac
    connection.execute(leases.delete().where(mine, leases.c.address != address))
    insert = _INSERT[connection.dialect.name](leases)
    insert = insert.values(address=address, mac=mac, expires=lease.expires)
    write = insert.on_conflict_do_update(
        index_elements=[leases.c.address],
        set_={"mac": mac, "expires": insert.excluded.expires},
        where=or_(mine, and_(~mine, leases.c.expires <= now)),
    )
    return connection.execute(write.returning(leases.c.address)).one_or_none() is not None
