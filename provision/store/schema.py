"""The tables, the same on SQLite and PostgreSQL, and the version they carry."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Connection,
    Dialect,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    inspect,
    select,
    text,
)
from sqlalchemy.types import TypeDecorator

from provision.store.errors import SchemaMismatch

SCHEMA_VERSION = 1

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def instant(value: datetime) -> int:
    """An aware time as it is kept."""
    return (value - _EPOCH) // _MICROSECOND


class Instant(TypeDecorator[datetime]):
    """An aware time in UTC, kept as whole microseconds since 1970 so that both databases agree."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """Python to database."""
        return None if value is None else instant(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        """Database to Python."""
        return None if value is None else _EPOCH + timedelta(microseconds=value)


metadata = MetaData()

meta = Table(
    "rackseed_meta",
    metadata,
    Column("schema_version", Integer, primary_key=True, autoincrement=False),
)

_ROW_ID = BigInteger().with_variant(Integer(), "sqlite")
"""SQLite numbers rows by itself only in a column that is exactly INTEGER."""

LASTING = text("NOT observed")
"""Rows that are never pruned, written as both databases recognise it for their index."""

STRANGERS = text("host IS NULL")
"""Rows about machines outside the inventory, likewise."""

events = Table(
    "events",
    metadata,
    Column("id", _ROW_ID, primary_key=True, autoincrement=True),
    Column("at", Instant, nullable=False),
    Column("host", String(255)),
    Column("mac", String(17)),
    Column("address", String(15)),
    Column("service", String(16), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("state_before", String(16)),
    Column("state_after", String(16)),
    Column("observed", Boolean, nullable=False),
    # ^ an exchange on the wire: the only rows that may be pruned
    Column("detail", JSON, nullable=False),
    Index("events_by_host", "host", "id"),
    # Machines outside the inventory alone: writing it for hosts takes a third of their rows' time.
    Index("events_by_mac", "mac", "id", sqlite_where=STRANGERS, postgresql_where=STRANGERS),
    # Transitions and alarms among a hundred times as many exchanges.
    Index("events_lasting", "kind", "host", "id", sqlite_where=LASTING, postgresql_where=LASTING),
    sqlite_autoincrement=True,
)

hosts = Table(
    "hosts",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("prior", String(16)),
    Column("arming", String(32)),
    # ^ names one permission to install; it stays until the next one, so that reports can be matched
    Column("changed_at", Instant, nullable=False),
)

tokens = Table(
    "tokens",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("host", String(255), index=True),
    Column("mac", String(17), nullable=False, index=True),
    Column("address", String(15), nullable=False),
    Column("purpose", String(8), nullable=False),
    Column("arming", String(32)),
    Column("base_url", Text, nullable=False),
    Column("made_at", Instant, nullable=False),
    Column("withdrawn_at", Instant),
    Column("used_at", Instant),
    Column("claimed_until", Instant),
    # ^ somebody delivers the answer; in the past: it never arrived and may be asked for again
    Column("closed_by", String(16)),
)

leases = Table(
    "leases",
    metadata,
    Column("address", String(15), primary_key=True),
    Column("mac", String(17), nullable=False, unique=True),
    Column("expires", Instant, nullable=False),
)

inspections = Table(
    "inspections",
    metadata,
    Column("id", _ROW_ID, primary_key=True, autoincrement=True),
    Column("host", String(255), index=True),
    Column("mac", String(17), nullable=False, index=True),
    Column("at", Instant, nullable=False),
    Column("report", JSON, nullable=False),
    sqlite_autoincrement=True,
)

_APPEND_ONLY_SQLITE = (
    """CREATE TRIGGER events_are_not_changed BEFORE UPDATE ON events
       BEGIN SELECT RAISE(ABORT, 'events are append-only'); END""",
    """CREATE TRIGGER events_are_kept BEFORE DELETE ON events WHEN NOT OLD.observed
       BEGIN SELECT RAISE(ABORT, 'events are append-only'); END""",
)
_APPEND_ONLY_POSTGRESQL = (
    """CREATE FUNCTION events_append_only() RETURNS trigger LANGUAGE plpgsql AS
       $$ BEGIN RAISE EXCEPTION 'events are append-only'; END $$""",
    """CREATE TRIGGER events_are_not_changed BEFORE UPDATE ON events
       FOR EACH ROW EXECUTE FUNCTION events_append_only()""",
    """CREATE TRIGGER events_are_kept BEFORE DELETE ON events
       FOR EACH ROW WHEN (NOT OLD.observed) EXECUTE FUNCTION events_append_only()""",
)
_TRIGGERS = {"sqlite": _APPEND_ONLY_SQLITE, "postgresql": _APPEND_ONLY_POSTGRESQL}

_CREATION_LOCK = 0x7261636B
"""Key of the PostgreSQL advisory lock under which one server alone makes the tables."""


def prepare(connection: Connection) -> None:
    """Make the tables where there are none; call it inside a write transaction.

    Raises SchemaMismatch when another version of the program made them.
    """
    dialect = connection.dialect.name
    if dialect == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _CREATION_LOCK})
    if not inspect(connection).has_table(meta.name):
        metadata.create_all(connection)
        for statement in _TRIGGERS[dialect]:
            connection.exec_driver_sql(statement)
        connection.execute(meta.insert().values(schema_version=SCHEMA_VERSION))
        return
    check_version(connection)


def check_version(connection: Connection) -> None:
    """Raises SchemaMismatch unless the tables are of this program's version."""
    found = connection.execute(select(meta.c.schema_version)).scalar_one_or_none()
    if found == SCHEMA_VERSION:
        return
    error = SchemaMismatch(
        f"the store has schema version {found}, this program knows version {SCHEMA_VERSION}"
    )
    newer = isinstance(found, int) and found > SCHEMA_VERSION
    error.add_note("install the newer rackseed here too" if newer else "name another store")
    raise error
