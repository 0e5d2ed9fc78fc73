"""The whole suite of the store on a real PostgreSQL, and what only a server can show."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event

from provision.cli.events import follow_events
from provision.store import Store, StoreUnusable
from provision.store import events as event_table
from provision.store.events import Event
from tests.postgresql import postgresql
from tests.unit.provision.test_store import *  # noqa: F403
from tests.unit.provision.test_store import MAC, OTHER_MAC, keep, kept_leases, lease

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


def test_an_address_that_went_to_another_client_meanwhile_stays_with_it(store_url):
    """Of two servers, one moves a client while the other gives its expired address away."""
    late, theirs = NOW + timedelta(hours=2), lease(OTHER_MAC, 5, NOW + timedelta(hours=3))
    with Store(store_url) as here, Store(store_url) as there:
        keep(here, [lease(MAC, 5, NOW + timedelta(hours=1))])

        def give_it_away(connection, cursor, statement, *_):
            if statement.startswith("DELETE"):
                assert keep(there, [theirs], now=late) == [theirs]

        event.listen(here.database._engine, "before_cursor_execute", give_it_away)
        moved = lease(MAC, 6, NOW + timedelta(hours=3))
        assert keep(here, [moved], now=late) == [moved]
        assert kept_leases(here) == [theirs, moved]


def test_who_follows_sees_also_what_is_committed_behind_a_higher_number(store_url):
    with Store(store_url) as here, Store(store_url) as there:
        append(here, 0)
        followed = follow_events(here, None, None, here.events()[-1].id)
        with there.database.writing() as connection:
            event_table.append(connection, [Event(NOW, "site", "progress", detail={"n": 1})])
            append(here, 2)
            assert next(followed).detail["n"] == 2
        append(here, 3)
        assert [next(followed).detail["n"] for _ in range(2)] == [1, 3]


def test_a_missing_database_is_called_so(server):
    url = server.make_database().replace("@/t", "@/missing_t")
    with pytest.raises(StoreUnusable, match=r'@/missing_t.* "missing_t\d+" does not exist'):
        Store(url)
