"""The whole suite of the store on a real PostgreSQL, and what only a server can show."""

from datetime import UTC, datetime

import pytest

from provision.store import Store, StoreUnusable
from provision.store import events as event_table
from provision.store.events import Event
from tests.postgresql import postgresql
from tests.unit.provision.test_store import *  # noqa: F403

NOW = datetime(2026, 5, 4, tzinfo=UTC)


@pytest.fixture(scope="module")
def server():
    with postgresql() as server:
        yield server


@pytest.fixture
def store_url(server):
    return server.make_database()


def append(store, n):
    with store.database.writing() as connection:
        event_table.append(connection, [Event(NOW, "site", "progress", detail={"n": n})])


def test_no_acknowledged_event_is_lost_when_the_database_server_crashes(server, store_url):
    with Store(store_url) as store:
        for n in range(20):
            append(store, n)
        server.stop("immediate")
        with pytest.raises(StoreUnusable, match="cannot be reached"):
            append(store, 20)
        server.start()
        append(store, 21)
        assert [event.detail["n"] for event in store.events()] == [*range(20), 21]


def test_a_missing_database_is_called_so(server):
    url = server.make_database().replace("@/t", "@/missing_t")
    with pytest.raises(StoreUnusable, match=r'@/missing_t.* "missing_t\d+" does not exist'):
        Store(url)
