"""Single-use URLs: only the hash of a token is ever written down."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from ipaddress import IPv4Address
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, or_, select

from provision.store.events import Event
from provision.store.schema import tokens
from pxe.addresses import MacAddress


class Purpose(Enum):
    """What a token opens."""

    ANSWER = "answer"
    """Once, then it is burned."""
    SECRETS = "secrets"
    """Once, after the answer, by the system that it installed."""
    REPORT = "report"
    """As often as the machine likes, until it told how it ended."""


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """What a token is bound to."""

    digest: str
    """SHA-256 of the token, hexadecimal."""
    host: str | None
    """None: a machine outside the inventory, which may only be inspected."""
    mac: MacAddress
    address: IPv4Address
    purpose: Purpose
    arming: str | None
    """The permission to install under which it was made; None: for inspection."""
    base_url: str
    made_at: datetime
    withdrawn_at: datetime | None = None
    used_at: datetime | None = None
    closed_by: str | None = None
    """The kind of report that ended the session."""


def event_of(record: TokenRecord, at: datetime, kind: str) -> Event:
    """The beginning of an event about the machine that holds a token."""
    return Event(at, "site", kind, record.host, record.mac, record.address)


def digest(token: str) -> str:
    """The key of a token in the store."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


# Made once: for these small statements, building them would take longer than running them.
_ADD = tokens.insert()
_FIND = select(tokens).where(tokens.c.digest == bindparam("wanted"))
_FIND_AND_LOCK = _FIND.with_for_update()
_WITHDRAW = (
    tokens.update()
    .where(
        tokens.c.mac == bindparam("whose"),
        tokens.c.withdrawn_at.is_(None),
        tokens.c.used_at.is_(None),
    )
    .values(withdrawn_at=bindparam("at"))
)
_CLAIM = (
    tokens.update()
    .where(
        tokens.c.digest == bindparam("wanted"),
        tokens.c.withdrawn_at.is_(None),
        tokens.c.used_at.is_(None),
        or_(
            tokens.c.claimed_until.is_(None),
            tokens.c.claimed_until <= bindparam("now"),
            # No claim is as long as this: the clock was set back.
            tokens.c.claimed_until > bindparam("until"),
        ),
    )
    .values(claimed_until=bindparam("until"))
)


def add(connection: Connection, *records: TokenRecord) -> None:
    """Keep new tokens."""
    rows = [
        {
            "digest": record.digest,
            "host": record.host,
            "mac": str(record.mac),
            "address": str(record.address),
            "purpose": record.purpose.value,
            "arming": record.arming,
            "base_url": record.base_url,
            "made_at": record.made_at,
        }
        for record in records
    ]
    connection.execute(_ADD, rows)


def find(connection: Connection, token: str, *, lock: bool = False) -> TokenRecord | None:
    """The record of a token; with `lock` nobody else changes it in this transaction."""
    query = _FIND_AND_LOCK if lock else _FIND
    row = connection.execute(query, {"wanted": digest(token)}).one_or_none()
    return None if row is None else _record(row)


def withdraw(connection: Connection, at: datetime, *macs: MacAddress) -> None:
    """Make every open token of these machines worthless."""
    connection.execute(_WITHDRAW, [{"whose": str(mac), "at": at} for mac in macs])


def withdraw_host(connection: Connection, host: str, at: datetime) -> None:
    """Make every open token of a host worthless."""
    still_open = (
        tokens.c.host == host,
        tokens.c.withdrawn_at.is_(None),
        tokens.c.used_at.is_(None),
    )
    connection.execute(tokens.update().where(*still_open).values(withdrawn_at=at))


def forget_stranger(connection: Connection, address: IPv4Address) -> None:
    """Delete tokens of unknown machines at an address, so that their number stays bounded."""
    mine = (tokens.c.host.is_(None), tokens.c.address == str(address))
    connection.execute(delete(tokens).where(*mine))


def claim(connection: Connection, record: TokenRecord, now: datetime, duration: timedelta) -> bool:
    """Keep all others from an open token for a time, in every process; whether it was free."""
    values = {"wanted": record.digest, "now": now, "until": now + duration}
    return connection.execute(_CLAIM, values).rowcount == 1


def burn(
    connection: Connection, record: TokenRecord, at: datetime, closed_by: str | None = None
) -> None:
    """Note that a token was used up."""
    change = tokens.update().where(tokens.c.digest == record.digest)
    connection.execute(change.values(used_at=at, closed_by=closed_by))


def forget(connection: Connection, before: datetime) -> int:
    """Delete tokens made before a time; returns how many.

    A forgotten token is refused like one that never was.
    """
    return connection.execute(delete(tokens).where(tokens.c.made_at < before)).rowcount


def _record(row: Row[Any]) -> TokenRecord:
    return TokenRecord(
        digest=row.digest,
        host=row.host,
        mac=MacAddress.parse(row.mac),
        address=IPv4Address(row.address),
        purpose=Purpose(row.purpose),
        arming=row.arming,
        base_url=row.base_url,
        made_at=row.made_at,
        withdrawn_at=row.withdrawn_at,
        used_at=row.used_at,
        closed_by=row.closed_by,
    )
