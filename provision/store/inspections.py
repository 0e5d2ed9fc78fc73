"""What machines told of their hardware."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, func, select

from provision.store.schema import inspections
from pxe.addresses import MacAddress

KEPT_PER_HOST = 10
KEPT_UNKNOWN = 1_000
"""How many inspections of machines outside the inventory are kept, the newest."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """One report of the ramdisk."""

    mac: MacAddress
    at: datetime
    report: Mapping[str, Any]
    """The hardware, as pxe/ramdisk documents it."""
    host: str | None = None


def add(connection: Connection, inspection: Inspection) -> None:
    """Keep a report and forget the oldest beyond the bounds."""
    mac = str(inspection.mac)
    row = {"host": inspection.host, "mac": mac, "at": inspection.at}
    connection.execute(inspections.insert().values(**row, report=dict(inspection.report)))
    _forget(connection, inspections.c.mac == mac, KEPT_PER_HOST if inspection.host else 1)
    if inspection.host is None:
        _forget(connection, inspections.c.host.is_(None), KEPT_UNKNOWN)


def of_host(connection: Connection, host: str) -> list[Inspection]:
    """Every kept report of a host, the newest first."""
    query = select(inspections).where(inspections.c.host == host)
    rows = connection.execute(query.order_by(inspections.c.id.desc()))
    return [_inspection(row) for row in rows]


def newest(connection: Connection) -> list[Inspection]:
    """The newest report of each machine, known or not, in the order of their arrival."""
    last = select(func.max(inspections.c.id)).group_by(inspections.c.mac)
    query = select(inspections).where(inspections.c.id.in_(last)).order_by(inspections.c.id)
    return [_inspection(row) for row in connection.execute(query)]


def _forget(connection: Connection, whose: Any, bound: int) -> None:  # noqa: ANN401  # SQL
    ids = select(inspections.c.id).where(whose).order_by(inspections.c.id.desc())
    oldest_lost = connection.execute(ids.offset(bound).limit(1)).scalar_one_or_none()
    if oldest_lost is not None:
        connection.execute(delete(inspections).where(whose, inspections.c.id <= oldest_lost))


def _inspection(row: Row[Any]) -> Inspection:
    return Inspection(MacAddress.parse(row.mac), row.at, row.report, row.host)
