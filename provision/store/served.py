"""What each host was last served, as people may see it: no token and no password is in here.

The table stands by itself, outside the schema's version: a store without it lacks a memory, not a
fact that anything is decided by.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    Column,
    Connection,
    MetaData,
    String,
    Table,
    Text,
    delete,
    inspect,
    select,
    text,
)

from provision.store.schema import Instant

_served = Table(
    "served",
    MetaData(),
    Column("host", String(255), primary_key=True),
    Column("at", Instant, nullable=False),
    Column("script", Text, nullable=False),
    Column("answer", Text, nullable=False),
)

_CREATION_LOCK = 0x73657276
"""Key of the PostgreSQL advisory lock under which one server alone makes the table."""


@dataclass(frozen=True, slots=True)
class Served:
    """One installation's boot script and answer, with words in place of secrets."""

    host: str
    at: datetime
    script: str
    answer: str
    """Empty where the host gets none that we make."""


def keep(connection: Connection, served: Served) -> None:
    """Remember this in place of what the host was served before."""
    _ensure(connection)
    connection.execute(delete(_served).where(_served.c.host == served.host))
    row = {"at": served.at, "script": served.script, "answer": served.answer}
    connection.execute(_served.insert().values(host=served.host, **row))


def find(connection: Connection, host: str) -> Served | None:
    """What the host was last served; None when it never was."""
    if not inspect(connection).has_table(_served.name):
        return None
    row = connection.execute(select(_served).where(_served.c.host == host)).one_or_none()
    return None if row is None else Served(row.host, row.at, row.script, row.answer)


def _ensure(connection: Connection) -> None:
    if inspect(connection).has_table(_served.name):
        return
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _CREATION_LOCK})
    _served.create(connection, checkfirst=True)
