"""The store; tests/conformance/test_store_postgresql.py runs all of this on PostgreSQL too."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from sqlalchemy.exc import DBAPIError

from provision.lifecycle import EventKind, HostState, Illegal
from provision.store import SchemaMismatch, Store, StoreUnusable, inspections, leases, tokens
from provision.store import events as event_table
from provision.store import hosts as host_table
from provision.store.database import Database, describe, parse_url
from provision.store.events import ALARM, DROPPED, REPEATED, Event
from provision.store.inspections import Inspection
from provision.store.observer import (
    BATCH_BOUND,
    MOST_ALIKE,
    QUEUE_BOUND,
    REPEATS_BOUND,
    UNKNOWN_PER_BATCH,
    Repeats,
    to_event,
    to_row,
)
from provision.store.schema import meta
from provision.store.tokens import Purpose, TokenRecord
from pxe.addresses import MacAddress
from pxe.reservation import Lease
from pxe.site import Observation, Outcome, Service

ROOT = Path(__file__).parents[3]
NOW = datetime(2026, 5, 4, 12, 0, 0, 123456, tzinfo=UTC)
MAC = MacAddress.parse("52:54:00:aa:00:01")
OTHER_MAC = MacAddress.parse("52:54:00:aa:00:02")
ADDRESS = IPv4Address("10.20.0.11")


@pytest.fixture
def store_url(tmp_path):
    return f"sqlite:///{tmp_path}/state/store.db"


@pytest.fixture
def store(store_url):
    with Store(store_url) as store:
        yield store


def seen(subject="OFFER", *, client=MAC, reason="reserved", at=NOW, **facts):
    return Observation(Service.DHCP, Outcome.SERVED, at, subject, reason, client, ADDRESS, facts)


def move(store, host, kind, at=NOW, **detail):
    with store.database.writing() as connection:
        record = host_table.lock(connection, host, at)
        return host_table.apply(
            connection, record, kind, Event(at, "operator", kind.value, detail=detail)
        )


def append(store, *events):
    with store.database.writing() as connection:
        event_table.append(connection, events)


def test_an_event_comes_back_as_it_went_in(store):
    event = Event(
        at=NOW,
        service="http",
        kind="progress",
        host="cmp01",
        mac=MAC,
        address=ADDRESS,
        before=HostState.ARMED,
        after=HostState.DEPLOYING,
        observed=True,
        detail={"message": "50 % — weiß", "n": 5},
    )
    append(store, event)
    [back] = store.events()
    assert back.id > 0
    assert replace(back, id=0) == event


def test_many_events_come_back_in_their_order(store):
    append(store, *(Event(NOW, "dhcp", "served", host="a", detail={"n": n}) for n in range(1203)))
    assert [event.detail["n"] for event in store.events(limit=2_000)] == list(range(1203))


def test_events_are_found_by_host_machine_time_and_kind(store):
    append(
        store,
        Event(NOW, "dhcp", "served", host="a", mac=MAC, observed=True),
        Event(NOW + timedelta(seconds=1), "operator", "armed", host="b"),
        Event(NOW + timedelta(seconds=2), "dhcp", "silent", mac=MAC, observed=True),
        Event(NOW + timedelta(seconds=3), "site", "installed", host="a"),
    )
    kinds = lambda **how: [event.kind for event in store.events(**how)]  # noqa: E731
    assert kinds(host="a") == ["served", "installed"]
    assert kinds(host="a", mac=MAC) == ["served", "silent", "installed"]
    assert kinds(mac=MAC) == ["silent"]
    assert kinds(since=NOW + timedelta(seconds=2)) == ["silent", "installed"]
    assert kinds(kinds=("armed", "installed")) == ["armed", "installed"]
    assert kinds(limit=2) == ["silent", "installed"]
    first = store.events()[0].id
    assert kinds(after_id=first, limit=2) == ["armed", "silent"]
    assert store.newest_events()["a"].kind == "installed"


def test_events_cannot_be_changed_or_deleted_behind_our_back(store):
    append(store, Event(NOW, "operator", "armed", host="a"))
    rows = event_table.events
    with pytest.raises(DBAPIError, match="append-only"), store.database.writing() as connection:
        connection.execute(rows.update().values(host="b"))
    with pytest.raises(DBAPIError, match="append-only"), store.database.writing() as connection:
        connection.execute(rows.delete())
    assert store.events()[0].host == "a"


def test_pruning_keeps_every_transition_and_the_newest_exchanges(store):
    append(store, Event(NOW, "operator", "armed", host="a"))
    append(
        store, *(Event(NOW, "dhcp", "silent", detail={"n": n}, observed=True) for n in range(30))
    )
    append(
        store,
        *(
            Event(NOW, "dhcp", "served", host="a", detail={"n": n}, observed=True)
            for n in range(30)
        ),
    )
    with store.database.writing() as connection:
        assert event_table.prune(connection, unknown=10, known=20) == 30
        assert event_table.prune(connection, unknown=10, known=20) == 0
    kept = store.events()
    assert [event.detail.get("n") for event in kept] == [None, *range(20, 30), *range(10, 30)]


def test_alarms_are_counted_since_the_last_arming(store):
    append(store, Event(NOW, "site", ALARM, host="a"), Event(NOW, "site", ALARM, host="b"))
    assert store.alarms() == {"a": 1, "b": 1}
    move(store, "a", EventKind.ARMED)
    assert store.alarms() == {"b": 1}
    append(store, Event(NOW, "site", ALARM, host="a"), Event(NOW, "site", ALARM, host="a"))
    assert store.alarms() == {"a": 2, "b": 1}


def test_a_host_never_seen_is_enrolled(store):
    assert store.record("new").state is HostState.ENROLLED
    assert store.records() == {}


def test_a_transition_is_kept_with_its_event(store):
    armed = move(store, "a", EventKind.ARMED, by="someone")
    assert armed == store.record("a")
    assert (armed.state, armed.prior) == (HostState.ARMED, HostState.ENROLLED)
    assert armed.changed_at == NOW
    [event] = store.events("a")
    assert (event.kind, event.before, event.after) == (
        "armed",
        HostState.ENROLLED,
        HostState.ARMED,
    )
    assert event.detail == {"by": "someone"}
    again = move(store, "a", EventKind.DISARMED)
    assert (again.state, again.prior) == (HostState.ENROLLED, None)


def test_an_event_that_the_state_does_not_know_changes_nothing(store):
    assert move(store, "a", EventKind.INSTALLED) == Illegal(HostState.ENROLLED, EventKind.INSTALLED)
    assert store.events() == []
    assert store.record("a").state is HostState.ENROLLED


def test_every_arming_has_a_name_of_its_own(store):
    first = move(store, "a", EventKind.ARMED).arming
    move(store, "a", EventKind.DISARMED)
    assert first != move(store, "a", EventKind.ARMED).arming


def test_a_failed_transaction_leaves_nothing(store):
    def give_up_half_way():
        with store.database.writing() as connection:
            event_table.append(connection, [Event(NOW, "site", "installed", host="a")])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        give_up_half_way()
    assert store.events() == []


def test_of_many_that_deliver_at_once_one_moves_the_host(store_url):
    with Store(store_url) as store:
        move(store, "a", EventKind.ARMED)
    stores = [Store(store_url) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(lambda s: move(s, "a", EventKind.ANSWER_DELIVERED), stores))
    for store in stores:
        store.close()
    assert sum(not isinstance(result, Illegal) for result in results) == 1


def test_servers_that_lock_hosts_in_different_orders_do_not_wait_in_a_ring(store_url):
    def lock_all(names):
        with Store(store_url) as store:
            for _ in range(10):
                with store.database.writing() as connection:
                    got = host_table.lock_all(connection, names, NOW)
        return [record.name for record in got]

    Store(store_url).close()
    with ThreadPoolExecutor(2) as pool:
        there, back = pool.map(lock_all, (["a", "b", "c"], ["c", "b", "a"]))
    assert (there, back) == (["a", "b", "c"], ["c", "b", "a"])


def token(text, **changes):
    record = TokenRecord(
        tokens.digest(text), "a", MAC, ADDRESS, Purpose.ANSWER, "x", "http://b", NOW
    )
    return replace(record, **changes)


def test_a_token_is_kept_as_its_hash_alone(store, store_url):
    with store.database.writing() as connection:
        tokens.add(connection, token("secret-token"))
        assert tokens.find(connection, "secret-token", lock=True) == token("secret-token")
        assert tokens.find(connection, "other") is None
        rows = str(connection.execute(tokens.tokens.select()).all())
    assert "secret-token" not in rows


def test_withdrawing_leaves_used_tokens_and_other_machines_alone(store):
    later = NOW + timedelta(minutes=1)
    with store.database.writing() as connection:
        tokens.add(connection, token("open"))
        tokens.add(connection, token("used"))
        tokens.add(connection, token("other", mac=OTHER_MAC))
        tokens.burn(connection, token("used"), NOW, "installed")
        tokens.withdraw(connection, later, MAC)
        assert tokens.find(connection, "open").withdrawn_at == later
        assert tokens.find(connection, "other").withdrawn_at is None
        used = tokens.find(connection, "used")
        assert (used.withdrawn_at, used.used_at, used.closed_by) == (None, NOW, "installed")
        assert tokens.forget(connection, NOW) == 0
        assert tokens.forget(connection, later) == 3


def lease(mac, last, expires=NOW + timedelta(hours=1)):
    return Lease(mac, IPv4Address(f"10.20.3.{last}"), expires)


def keep(store, granted, released=(), now=NOW):
    with store.database.writing() as connection:
        return leases.keep(connection, granted, released, now)


def kept_leases(store):
    with store.database.reading() as connection:
        return leases.all_leases(connection)


def test_an_address_stays_with_the_client_that_holds_it(store):
    mine = lease(MAC, 5)
    assert keep(store, [mine]) == [mine]
    assert keep(store, [lease(OTHER_MAC, 5)]) == []
    assert kept_leases(store) == [mine]


def test_an_expired_address_goes_to_the_next_client(store):
    keep(store, [lease(MAC, 5, NOW - timedelta(seconds=1))])
    theirs = lease(OTHER_MAC, 5)
    assert keep(store, [theirs]) == [theirs]
    assert kept_leases(store) == [theirs]


def test_a_client_has_one_lease_and_may_renew_it(store):
    keep(store, [lease(MAC, 5)])
    longer = lease(MAC, 5, NOW + timedelta(hours=2))
    assert keep(store, [longer]) == [longer]
    elsewhere = lease(MAC, 6)
    assert keep(store, [elsewhere]) == [elsewhere]
    assert kept_leases(store) == [elsewhere]


def test_a_released_address_is_free_at_once(store):
    keep(store, [lease(MAC, 5)])
    assert keep(store, [lease(OTHER_MAC, 5)], [lease(MAC, 5)]) == [lease(OTHER_MAC, 5)]
    keep(store, [], [lease(MAC, 5)])
    assert kept_leases(store) == [lease(OTHER_MAC, 5)]


def test_a_client_that_comes_twice_in_one_call_keeps_its_last_address(store):
    first, second, back = lease(MAC, 5), lease(MAC, 6), lease(OTHER_MAC, 5)
    assert keep(store, [first, second, back]) == [first, second, back]
    assert kept_leases(store) == [back, second]


def test_many_leases_are_kept_in_one_call(store):
    many = [lease(MacAddress(bytes((2, 0, 0, 0, 1, n))), n) for n in range(250)]
    keep(store, [lease(MAC, 7)])
    kept = keep(store, many)
    assert len(kept) == 249
    assert kept == [one for one in many if one != many[7]]


def test_two_servers_never_give_one_address_to_two_clients(store_url):
    def grant(server):
        with Store(store_url) as store:
            clients = [MacAddress(bytes((2, 0, 0, 0, server, n))) for n in range(40)]
            wanted = [lease(mac, n) for n, mac in enumerate(clients)]
            random.Random(server).shuffle(wanted)
            return [
                kept for part in range(0, 40, 8) for kept in keep(store, wanted[part : part + 8])
            ]

    Store(store_url).close()
    with ThreadPoolExecutor(3) as pool:
        kept = [one for server in pool.map(grant, (1, 2, 3)) for one in server]
    assert len({one.address for one in kept}) == len(kept) == 40
    with Store(store_url) as store:
        assert sorted(kept_leases(store), key=lambda one: one.address) == sorted(
            kept, key=lambda one: one.address
        )


def test_inspections_are_bounded_and_the_newest_come_first(store, monkeypatch):
    monkeypatch.setattr(inspections, "KEPT_UNKNOWN", 3)
    with store.database.writing() as connection:
        for n in range(15):
            inspections.add(connection, Inspection(MAC, NOW, {"n": n}, "a"))
            inspections.add(
                connection, Inspection(MacAddress(bytes((2, 0, 0, 0, 0, n % 5))), NOW, {"n": n})
            )
    assert [one.report["n"] for one in store.inspections("a")] == list(range(14, 4, -1))
    newest = store.newest_inspections()
    assert sorted((one.host or "", one.report["n"]) for one in newest) == [
        ("", 12), ("", 13), ("", 14), ("a", 14),
    ]  # fmt: skip


def test_observations_arrive_in_order_with_their_host(store):
    store.observer.whose = lambda observation: "a" if observation.client == MAC else None
    for n in range(100):
        store.observer.observe(seen(f"file-{n}", bytes=n))
    store.observer.observe(seen("stranger", client=OTHER_MAC))
    assert store.observer.flush()
    kept = store.events()
    assert [event.subject for event in kept] == [*(f"file-{n}" for n in range(100)), "stranger"]
    assert (kept[7].host, kept[7].mac, kept[7].detail["bytes"]) == ("a", MAC, 7)
    assert kept[7].observed
    assert kept[100].host is None


def test_closing_writes_what_was_observed(store_url):
    with Store(store_url) as store:
        store.observer.observe(seen())
    with Store(store_url) as store:
        assert [event.subject for event in store.events()] == ["OFFER"]


class Held:
    """Holds the writer at the first observation until it is let go."""

    def __init__(self, store, host):
        self.here, self.gate, self.host = threading.Event(), threading.Event(), host
        store.observer.whose = self
        store.observer.observe(seen())
        assert self.here.wait(30)

    def __call__(self, observation):
        self.here.set()
        assert self.gate.wait(30)
        return self.host


def test_a_flood_is_counted_and_not_kept(store):
    held = Held(store, "a")
    extra = 50
    for _ in range(QUEUE_BOUND + extra):
        store.observer.observe(seen()._replace(service=Service.HTTP))
    held.gate.set()
    assert store.observer.flush(60)
    kinds = [event.kind for event in store.events(limit=100_000)]
    assert kinds.count("served") == QUEUE_BOUND + 1
    dropped = [event.detail["dropped"] for event in store.events(kinds=(DROPPED,))]
    assert sum(dropped) == extra


def test_strangers_cannot_fill_the_store(store):
    held = Held(store, None)
    count = 2 * BATCH_BOUND
    for n in range(count):
        mac = MacAddress(b"\x02\x00" + n.to_bytes(4, "big"))
        store.observer.observe(seen(client=mac))
    held.gate.set()
    assert store.observer.flush(60)
    rows = store.events(limit=100_000)
    written = [event for event in rows if event.kind == "served"]
    dropped = sum(event.detail.get("dropped", 0) for event in rows)
    assert len(written) + dropped == count + 1
    assert len(written) <= 1 + 3 * UNKNOWN_PER_BATCH


def test_the_short_way_of_an_exchange_writes_the_same_row_as_the_long_one():
    for observation in (
        seen("OFFER", xid="0000002a"),
        seen(),
        seen(client=None, reason="why"),
        seen('a "quoted"\\path\n weiß 🖧', reason="", bytes=5, seconds=0, empty=""),
    ):
        assert to_row(observation, "a") == event_table.row_of(to_event(observation, "a"))


def test_what_is_alike_is_let_through_a_few_times_a_minute_and_counted():
    repeats = Repeats(2)
    times = [NOW + timedelta(seconds=second) for second in range(0, 61, 4)]
    assert [repeats.admit("key", at, at) for at in times] == [True, True, *[False] * 13, True]
    assert repeats.due(NOW + timedelta(seconds=61)) == [(times[-2], 13)]
    assert repeats.due(NOW + timedelta(seconds=200)) == []


def test_a_clock_that_was_set_back_does_not_silence_what_is_alike():
    repeats = Repeats(1)
    times = [NOW, NOW, NOW - timedelta(hours=1), NOW - timedelta(hours=1)]
    assert [repeats.admit("key", at, at) for at in times] == [True, False, True, False]
    assert repeats.due(NOW, everything=True) == [(NOW, 1), (times[-1], 1)]


def test_what_is_told_apart_is_bounded_and_counts_are_not_lost():
    repeats = Repeats(1)
    for key in range(REPEATS_BOUND + 7):
        assert repeats.admit(key, key, NOW)
        assert not repeats.admit(key, key, NOW)
    assert repeats.due(NOW) == [(key, 1) for key in range(7)]
    assert len(repeats.due(NOW, everything=True)) == REPEATS_BOUND


def test_a_stranger_that_repeats_itself_is_kept_once_with_a_count(store_url):
    with Store(store_url) as store:
        for n in range(15):
            store.observer.observe(seen("DISCOVER", at=datetime.now(UTC), xid=f"{n:08x}"))
            store.observer.flush()
    with Store(store_url) as store:
        assert [event.detail.get(REPEATED) for event in store.events()] == [None, 14]


def test_a_host_that_repeats_itself_is_kept_a_few_times_with_a_count(store_url):
    with Store(store_url) as store:
        store.observer.whose = lambda observation: "a"
        for n in range(MOST_ALIKE + 5):
            now = datetime.now(UTC)
            for firmware in ("bios", "bios iPXE"):
                store.observer.observe(seen(at=now, xid=f"{n:08x}", firmware=firmware))
            store.observer.observe(seen("/file", at=now)._replace(service=Service.HTTP))
            store.observer.flush()
    with Store(store_url) as store:
        kept = store.events()
    files = [event for event in kept if event.service == "http"]
    offers = [event for event in kept if event.detail.get("firmware") == "bios"]
    assert [event.detail.get(REPEATED) for event in offers] == [*[None] * MOST_ALIKE, 5]
    assert [event.detail["xid"] for event in offers[-2:]] == ["00000003", "00000008"]
    assert (len(files), len(kept)) == (MOST_ALIKE + 5, 3 * MOST_ALIKE + 7)


def test_observing_costs_the_server_a_few_microseconds(store):
    observation = seen()
    store.observer.observe(observation)
    begin = time.thread_time()  # this thread's own work, whatever else the machine does
    for _ in range(5_000):
        store.observer.observe(observation)
    # 5,000 a second must leave nearly all of the second to the server.
    assert time.thread_time() - begin < 0.1


def failing(error):
    def fail(*_):
        raise error

    return fail


@pytest.mark.parametrize("host", ["a", None])
@pytest.mark.parametrize("error", [StoreUnusable("gone"), RuntimeError("a defect")])
def test_what_a_failed_write_would_have_counted_is_counted_as_dropped(
    store, monkeypatch, host, error
):
    monkeypatch.setattr("provision.store.observer.QUEUE_BOUND", 20)
    held = Held(store, host)
    for _ in range(30):
        store.observer.observe(seen())  # alike: counted, not kept
    for n in range(25):
        store.observer.observe(seen(n=n)._replace(service=Service.HTTP))
    with monkeypatch.context() as patch:
        patch.setattr("provision.store.events.write", failing(error))
        patch.setattr("provision.store.observer.Repeats.due", everything_of(Repeats.due))
        held.gate.set()
        assert store.observer.flush(60)
    store.observer.observe(seen("REQUEST"))
    assert store.observer.flush()
    kept = store.events()
    assert [event.subject for event in kept if event.kind == "served"] == ["REQUEST"]
    assert sum(event.detail.get("dropped", 0) for event in kept) == 1 + 30 + 25


def everything_of(due):
    return lambda repeats, now, *, everything: due(repeats, now, everything=True)


def test_a_defect_while_a_batch_is_made_does_not_end_the_writer(store, caplog):
    store.observer.whose = failing(RuntimeError("a defect"))
    store.observer.observe(seen())
    store.observer.observe(seen()._replace(service=Service.HTTP))
    assert store.observer.flush()
    assert "a defect" in caplog.text
    store.observer.whose = lambda observation: "a"
    store.observer.observe(seen("REQUEST"))
    assert store.observer.flush()
    assert [event.detail.get("dropped") for event in store.events()] == [None, 2]


def test_the_servers_go_on_when_the_store_is_gone(store, monkeypatch):
    store.observer.whose = lambda observation: "a"

    def unusable(connection, rows):
        raise StoreUnusable("gone")

    with monkeypatch.context() as patch:
        patch.setattr("provision.store.events.write", unusable)
        store.observer.observe(seen())
        assert store.observer.flush()
    store.observer.observe(seen("REQUEST"))
    assert store.observer.flush()
    assert [
        event.detail.get("subject", event.detail.get("dropped")) for event in store.events()
    ] == [
        "REQUEST",
        1,
    ]


WRITER = """
import sys
from datetime import UTC, datetime
from provision.store import Store, events
from provision.store.events import Event
store = Store(sys.argv[1])
n = int(sys.argv[2])
while True:
    with store.database.writing() as connection:
        events.append(connection, [Event(datetime.now(UTC), "site", "progress", detail={"n": n})])
    print(n, flush=True)
    n += 1
"""


def test_no_acknowledged_event_is_lost_when_the_process_is_killed(store_url):
    chance = random.Random(20)
    acknowledged = set()
    for _ in range(6):
        child = subprocess.Popen(
            [sys.executable, "-c", WRITER, store_url, str(max(acknowledged, default=-1) + 2)],
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        lines = [child.stdout.readline()]  # it has begun
        time.sleep(chance.uniform(0, 0.2))
        os.kill(child.pid, signal.SIGKILL)
        lines += child.stdout.readlines()
        child.wait()
        acknowledged |= {int(line) for line in lines if line.endswith(b"\n")}
        with Store(store_url) as store:
            kept = {event.detail["n"] for event in store.events(limit=1_000_000)}
        assert acknowledged <= kept
    assert len(acknowledged) > 6


def test_many_processes_may_open_a_new_store_at_once(store_url):
    code = "import sys; from provision.store import Store; Store(sys.argv[1]).close()"
    children = [
        subprocess.Popen([sys.executable, "-c", code, store_url], cwd=ROOT) for _ in range(5)
    ]
    assert [child.wait() for child in children] == [0] * 5


def test_a_store_of_a_newer_program_is_refused(store, store_url):
    with store.database.writing() as connection:
        connection.execute(meta.update().values(schema_version=99))
    with pytest.raises(SchemaMismatch, match="schema version 99") as refused:
        Store(store_url)
    assert refused.value.__notes__ == ["install the newer rackseed here too"]


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("sqlite:////proc/nowhere/deep/store.db", "cannot be made"),
        ("sqlite:////proc/store.db", "cannot be opened"),
        ("sqlite://", "names no file"),
        ("mysql://me:hush@db/name", "unknown kind"),
        ("not a url", "cannot be read"),
        (
            "postgresql://me:hush@127.0.0.1:1/name?password=hush",
            "postgresql://me@127.0.0.1:1/name cannot be reached",
        ),
    ],
)
def test_a_store_that_cannot_be_used_is_named_without_its_password(url, sentence):
    with pytest.raises(StoreUnusable, match=sentence) as error:
        Store(url)
    assert "hush" not in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_database_is_called_so(tmp_path):
    (tmp_path / "store.db").write_text("hello " * 1000)
    with pytest.raises(StoreUnusable, match="is not a SQLite database"):
        Store(f"sqlite:///{tmp_path}/store.db")


def test_a_locked_store_is_called_so(tmp_path, monkeypatch):
    monkeypatch.setattr("provision.store.database.LOCK_WAIT_S", 0.05)
    url = f"sqlite:///{tmp_path}/store.db"
    first, second = Database(url), Database(url)
    try:
        with (
            first.writing(),
            pytest.raises(StoreUnusable, match="was locked by another process"),
            second.writing(),
        ):
            pass
    finally:
        first.close()
        second.close()


def test_a_database_url_is_shown_without_password_and_options():
    url = parse_url("postgresql://u:hush@db:5432/name?password=hush&sslkey=hush")
    assert url.drivername == "postgresql+psycopg"
    assert describe(url) == "postgresql://u@db:5432/name"
