"""What was served is kept in PostgreSQL too, also by servers that begin at the same moment."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from provision.store import Store, served
from provision.store.served import Served
from tests.postgresql import postgresql

NOW = datetime(2026, 5, 4, tzinfo=UTC)
SERVERS = 8


def test_servers_that_make_the_table_together_lose_nothing():
    with postgresql() as server:
        url = server.make_database()
        with Store(url) as store, store.database.reading() as connection:
            assert served.find(connection, "cmp01") is None

        def keep(number: int) -> None:
            with Store(url) as own, own.database.writing() as connection:
                served.keep(connection, Served(f"h{number}", NOW, "script", "answer ***"))
                served.keep(connection, Served(f"h{number}", NOW, "newer", ""))

        with ThreadPoolExecutor(SERVERS) as pool:
            list(pool.map(keep, range(SERVERS)))
        with Store(url) as store, store.database.reading() as connection:
            for number in range(SERVERS):
                found = served.find(connection, f"h{number}")
                assert found == Served(f"h{number}", NOW, "newer", "")
