"""The connection to SQLite or PostgreSQL: transactions, durability and plain errors."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError

from provision.store import schema
from provision.store.errors import StoreUnusable

LOCK_WAIT_S = 10
"""How long a writer waits for another before it gives up."""
CONNECT_WAIT_S = 5

_THEN = "rackseed_then"
"""Where a connection keeps what is to be called after its transaction."""
_NO_POSTGRESQL = "pip install 'rackseed[postgresql]'"


class Database:
    """One database, used by any number of threads; open it anew after a fork."""

    def __init__(self, url: str) -> None:
        """Connect and make the tables if they are missing.

        Raises StoreUnusable or SchemaMismatch.
        """
        self.url = parse_url(url)
        self.name = describe(self.url)
        self._sqlite = self.url.get_backend_name() == "sqlite"
        self._write_turn = threading.Lock()
        self._engine = self._connect_lazily()
        if self._sqlite:
            self._make_folder()
        with self.writing() as connection:
            schema.prepare(connection)

    def close(self) -> None:
        """Give all connections back."""
        self._engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A consistent view; nothing may be written.

        Raises StoreUnusable.
        """
        with self._plain_errors(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self, *, durable: bool = True) -> Iterator[Connection]:
        """One transaction, all or nothing, committed when the block ends.

        With `durable` it survives a power cut once the block has ended. Without, it survives the
        death of every process of ours and of SQLite; a power cut or the death of PostgreSQL may
        undo the last moments, never tear a transaction.

        Raises StoreUnusable.
        """
        with self._one_writer(), self._plain_errors(), self._engine.connect() as connection:
            writer = connection.execution_options(rackseed_write=True, rackseed_durable=durable)
            then: list[Callable[[], None]] = []
            writer.info[_THEN] = then
            with writer.begin():
                yield writer
            for call in then:
                call()

    def _connect_lazily(self) -> Engine:
        options: dict[str, Any] = {"pool_pre_ping": not self._sqlite}
        if self._sqlite:
            options["connect_args"] = {"timeout": LOCK_WAIT_S}
        else:
            options["connect_args"] = {
                "connect_timeout": CONNECT_WAIT_S,
                "options": f"-c lock_timeout={LOCK_WAIT_S}s -c timezone=UTC",
            }
        try:
            engine = create_engine(self.url, **options)
        except (ArgumentError, ImportError) as cause:
            error = StoreUnusable(f"the store {self.name} cannot be used: {cause}")
            if isinstance(cause, ImportError):
                error.add_note(_NO_POSTGRESQL)
            raise error from None
        if self._sqlite:
            event.listen(engine, "connect", _prepare_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
        else:
            event.listen(engine, "begin", _begin_postgresql)
        return engine

    def _make_folder(self) -> None:
        if self.url.database in (None, "", ":memory:"):
            raise StoreUnusable(
                "the store sqlite:// names no file, but several processes must share it"
            )
        folder = Path(str(self.url.database)).parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as cause:
            error = StoreUnusable(
                f"the store {self.name} cannot be made: {folder}: {cause.strerror}"
            )
            error.add_note("make the folder, or name another store with --store")
            raise error from None

    @contextmanager
    def _one_writer(self) -> Iterator[None]:
        """SQLite has one writer at a time, and makes the others sleep ever longer between tries.

        Threads of one process queue here instead, and are woken at once.
        """
        if not self._sqlite:
            yield
            return
        if not self._write_turn.acquire(timeout=LOCK_WAIT_S):
            raise StoreUnusable(f"the store {self.name} was busy for {LOCK_WAIT_S} seconds")
        try:
            yield
        finally:
            self._write_turn.release()

    @contextmanager
    def _plain_errors(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as cause:
            sentence = _sentence(cause)
            if sentence is None:
                raise
            raise StoreUnusable(f"the store {self.name} {sentence}") from None


def once_committed(connection: Connection, call: Callable[[], None]) -> None:
    """Call this when the transaction of `Database.writing` has ended well, else never."""
    then: list[Callable[[], None]] = connection.info[_THEN]
    then.append(call)


def parse_url(text: str) -> URL:
    """Read a SQLAlchemy URL; a bare `postgresql://` means psycopg 3.

    Raises StoreUnusable for anything but SQLite and PostgreSQL.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        # Not quoted: what cannot be read may still hold a password.
        raise StoreUnusable(
            "the store's URL cannot be read, expected sqlite:///FILE or postgresql://HOST/NAME"
        ) from None
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+psycopg")
    if url.drivername not in ("sqlite", "postgresql+psycopg"):
        raise StoreUnusable(
            f"the store {describe(url)} is of an unknown kind, "
            "expected sqlite:///FILE or postgresql://HOST/NAME"
        )
    return url


def describe(url: URL) -> str:
    """The URL without its password and options, fit for an error."""
    backend = url.drivername.partition("+")[0]
    bare = URL.create(backend, url.username, None, url.host, url.port, url.database)
    socket = url.query.get("host")
    return bare.render_as_string() + (f" (host {socket})" if isinstance(socket, str) else "")


_SQLITE_SENTENCES = {
    sqlite3.SQLITE_BUSY: f"was locked by another process for {LOCK_WAIT_S} seconds",
    sqlite3.SQLITE_READONLY: "is not writable by this user",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened by this user",
    sqlite3.SQLITE_NOTADB: "is not a SQLite database",
    sqlite3.SQLITE_CORRUPT: "is damaged",
    sqlite3.SQLITE_FULL: "cannot grow: the disk is full",
    sqlite3.SQLITE_IOERR: "cannot be read or written: input/output error",
    sqlite3.SQLITE_PERM: "may not be used by this user",
}
"""By primary result code (the low byte of the extended one)."""

_POSTGRESQL_SENTENCES = {
    "55P03": f"was locked by another server for {LOCK_WAIT_S} seconds",
    "40P01": "stopped this write: two servers waited for each other",
    "25006": "is not writable: the server is in recovery or read-only",
    "28P01": "refused the password",
    "28000": "refused this user",
    "3D000": "does not exist on that server",
    "42501": "may not be used by this user",
    "53100": "cannot grow: the disk of the server is full",
    "53300": "has too many connections",
}
"""By SQLSTATE."""


def _sentence(error: DBAPIError) -> str | None:
    """What a person should read; None when the fault is in our own statements."""
    cause = error.orig
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", None)
        return _SQLITE_SENTENCES.get(code & 0xFF) if code is not None else None
    state = getattr(cause, "sqlstate", None)
    if state in _POSTGRESQL_SENTENCES:
        return _POSTGRESQL_SENTENCES[state]
    if isinstance(error, (OperationalError, InterfaceError)):
        # libpq's own sentence; the first line has host and cause, never the password.
        words = str(cause).strip().splitlines() or ["connection lost"]
        return f"cannot be reached: {words[0]}"
    return None


def _prepare_sqlite(connection: Any, record: object) -> None:  # noqa: ANN401  # DBAPI
    connection.isolation_level = None  # BEGIN is ours, see _begin_sqlite
    connection.execute("PRAGMA journal_mode=WAL").close()
    connection.execute("PRAGMA synchronous=FULL").close()
    connection.execute(f"PRAGMA journal_size_limit={16 << 20}").close()


def _begin_sqlite(connection: Connection) -> None:
    options = connection.get_execution_options()
    if not options.get("rackseed_write"):
        connection.exec_driver_sql("BEGIN")
        return
    # In WAL mode, FULL syncs the log at each commit and NORMAL only at checkpoints.
    level = "FULL" if options["rackseed_durable"] else "NORMAL"
    if connection.info.get("synchronous") != level:
        connection.exec_driver_sql(f"PRAGMA synchronous={level}")
        connection.info["synchronous"] = level
    # IMMEDIATE: a reader that turns writer would fail at once instead of waiting its turn.
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _begin_postgresql(connection: Connection) -> None:
    options = connection.get_execution_options()
    if not options.get("rackseed_write"):
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    elif not options["rackseed_durable"]:
        connection.exec_driver_sql("SET LOCAL synchronous_commit TO off")
