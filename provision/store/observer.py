"""Exchanges on the wire on their way to the store: taken at once, written a moment later."""

import json
import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from json.encoder import encode_basestring_ascii as quoted
from socket import inet_ntoa
from typing import Generic, TypeVar

from provision.store import events
from provision.store.database import Database
from provision.store.errors import StoreError
from provision.store.events import DROPPED, REPEATED, Event, StoredRow
from provision.store.schema import instant
from pxe.site import Observation, Service

log = logging.getLogger(__name__)

COMMIT_EVERY_S = 0.05
QUEUE_BOUND = 20_000
"""Observations waiting at most; about 20 MB."""
BATCH_BOUND = 2_000
UNKNOWN_PER_BATCH = 50
"""Exchanges with unknown machines written at most in one commit: about 1,000 a second."""
REPEAT_WINDOW = timedelta(seconds=60)
REPEATS_BOUND = 16_384
"""Kinds of exchanges that are told apart at once; about 16 MB."""
MOST_ALIKE = 4
"""DHCP exchanges with one machine that are alike and kept one by one, in a window.

So often asks firmware before it gives up, 4, 8, 16 and 32 seconds apart (PXE 2.1, 2.2.1). A machine
that loops, or somebody in its name, would push what happened to all the others out of the store.
"""
PRUNE_EVERY = 20_000
"""Rows written between two prunings."""

Whose = Callable[[Observation], str | None]
"""The host that an observation is about; None: a machine outside the inventory."""

T = TypeVar("T")


@dataclass(slots=True)
class _Seen(Generic[T]):
    until: datetime
    last: T
    written: int = 1
    repeats: int = 0


class Repeats(Generic[T]):
    """Lets the first of things that are alike through and counts the rest, a minute long."""

    def __init__(self, alike: int) -> None:
        """`alike`: how many are let through."""
        self._alike = alike
        self._seen: OrderedDict[Hashable, _Seen[T]] = OrderedDict()
        self._over: list[tuple[T, int]] = []

    def admit(self, key: Hashable, thing: T, now: datetime, count: int = 1) -> bool:
        """Whether to write it; else it is counted, as so many.

        A clock that was set back ends a window, too.
        """
        seen = self._seen.get(key)
        if seen is not None and seen.until - 2 * REPEAT_WINDOW < now < seen.until:
            seen.last = thing
            if seen.written < self._alike:
                seen.written += 1
                return True
            seen.repeats += count
            return False
        if seen is not None:
            self._end(key)
        self._seen[key] = _Seen(now + REPEAT_WINDOW, thing)
        if len(self._seen) > REPEATS_BOUND:
            self._end(next(iter(self._seen)))
        return True

    def due(self, now: datetime, *, everything: bool = False) -> list[tuple[T, int]]:
        """What was counted in windows that have ended: the last of its kind, and how many."""
        while self._seen:
            key, seen = next(iter(self._seen.items()))
            if not everything and now < seen.until:
                break
            self._end(key)
        due, self._over = self._over, []
        return due

    def _end(self, key: Hashable) -> None:
        seen = self._seen.pop(key)
        if seen.repeats:
            self._over.append((seen.last, seen.repeats))


def _of_stranger(event: Event) -> Hashable:
    """What is the same in exchanges with a machine outside the inventory that are alike."""
    who = str(event.mac or event.address)
    return who, event.service, event.kind, event.subject, event.reason


def _of_machine(observation: Observation) -> Hashable:
    """Likewise for any machine: all but the time and the number of the exchange.

    Of values whose hash is made at once: this is asked for every packet, while the next ones wait.
    """
    _, outcome, _, subject, reason, client, address, facts = observation
    return (
        None if client is None else client.octets,
        outcome._value_,
        subject,
        reason,
        None if address is None else int(address),
        *[value for name, value in facts.items() if name != "xid"],
    )


def to_event(observation: Observation, host: str | None) -> Event:
    """An exchange as the store keeps it."""
    return Event(
        at=observation.at,
        service=observation.service.value,
        kind=observation.outcome.value,
        host=host,
        mac=observation.client,
        address=observation.address,
        observed=True,
        detail=dict(_detail(observation)),
    )


def to_row(observation: Observation, host: str) -> StoredRow:
    """An exchange with a host as it is stored: `events.row_of(to_event(observation, host))`.

    Nearly all exchanges go this way, while the servers wait for the interpreter: an Event between,
    `json.dumps` and the text that ipaddress makes would each take as long as all of this.
    """
    client, address = observation.client, observation.address
    return (
        instant(observation.at),
        host,
        None if client is None else str(client),
        None if address is None else inet_ntoa(address.packed),
        observation.service._value_,
        observation.outcome._value_,
        None,
        None,
        True,
        "{" + ", ".join([_json_member(*pair) for pair in _detail(observation)]) + "}",
    )


def _json_member(key: str, value: str | int) -> str:
    return f"{quoted(key)}: {quoted(value) if isinstance(value, str) else json.dumps(value)}"


def _detail(observation: Observation) -> Iterator[tuple[str, str | int]]:
    yield "subject", observation.subject
    if observation.reason:
        yield "reason", observation.reason
    for key, value in observation.facts.items():
        if value != "":
            yield key, value


@dataclass(slots=True)
class _Batch:
    """Rows for one commit."""

    rows: list[StoredRow] = field(default_factory=list)
    weight: int = 0
    """How many exchanges nobody hears of unless it is written: those that rows count, too."""


class Observer:
    """A bounded queue and the one thread that empties it into the store."""

    def __init__(self, database: Database, whose: Whose) -> None:
        self.whose = whose
        self._database = database
        self._queue: deque[Observation | Event] = deque()
        self._strangers = Repeats[Event](1)
        self._machines = Repeats[Observation](MOST_ALIKE)
        self._counting = threading.Lock()
        self._dropped = 0
        self._since_pruning = PRUNE_EVERY  # a process that restarts often prunes, too
        self._lock = threading.Lock()
        self._awake = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._closing = False
        self._thread: threading.Thread | None = None

    def observe(self, observation: Observation | Event) -> None:
        """Take an observation, or an event that may be pruned; it costs a few microseconds."""
        if len(self._queue) >= QUEUE_BOUND:
            with self._lock:
                self._dropped += 1
            return
        if observation.service is Service.DHCP:
            # Here, not by the writer: what is only counted costs no turn of the interpreter.
            key = _of_machine(observation)
            with self._counting:
                if not self._machines.admit(key, observation, observation.at):
                    return
        self._queue.append(observation)
        if not self._awake.is_set():
            self._wake()

    def flush(self, timeout_s: float = 10) -> bool:
        """Wait until all that was observed before is written; False when it takes too long."""
        if self._thread is None:
            return True
        self._wake()
        return self._idle.wait(timeout_s)

    def close(self) -> None:
        """Write what is left and end the thread."""
        self._closing = True
        self._awake.set()
        if self._thread is not None:
            self._thread.join(timeout=30)

    def _wake(self) -> None:
        with self._lock:
            self._idle.clear()
            self._awake.set()
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._write_on, name="store-observer", daemon=True
                )
                self._thread.start()

    def _write_on(self) -> None:
        while not self._closing:
            self._awake.wait(timeout=REPEAT_WINDOW.total_seconds())
            if not self._closing:
                time.sleep(COMMIT_EVERY_S)  # many observations, one commit
            self._awake.clear()
            self._write_waiting()
            with self._lock:
                if not self._awake.is_set():
                    self._idle.set()
        self._write_waiting(last=True)
        self._idle.set()

    def _write_waiting(self, *, last: bool = False) -> None:
        more = True
        while more:
            more = len(self._queue) > BATCH_BOUND
            batch = _Batch()
            try:
                self._fill(batch, last=last and not more)
                self._write(batch)
            except StoreError as error:
                # The servers go on without a record; the gap is told when there is one again.
                log.warning("observations not written count=%d: %s", batch.weight, error)
                self._lose(batch)
            except Exception:
                log.exception("observations not written count=%d", batch.weight)
                self._lose(batch)

    def _fill(self, batch: _Batch, *, last: bool) -> None:
        """Rows for one commit; what is too much of unknown machines is counted as dropped."""
        waiting = [self._queue.popleft() for _ in range(min(len(self._queue), BATCH_BOUND))]
        batch.weight = len(waiting)
        strangers = 0
        for item in waiting:
            if isinstance(item, Observation):
                host = self.whose(item)
                if host is not None:
                    batch.rows.append(to_row(item, host))
                    continue
                item = to_event(item, None)
            elif item.host is not None:
                batch.rows.append(events.row_of(item))
                continue
            if not self._strangers.admit(_of_stranger(item), item, item.at):
                batch.weight -= 1
            elif strangers < UNKNOWN_PER_BATCH:
                batch.rows.append(events.row_of(item))
                strangers += 1
            else:
                self._drop(1)
                batch.weight -= 1
        now = datetime.now(UTC)
        self._add_counted(batch, now, everything=last)
        with self._lock:
            dropped, self._dropped = self._dropped, 0
        if dropped:
            batch.weight += dropped
            count = {"dropped": dropped}
            gap = Event(now, "site", DROPPED, observed=True, detail=count)
            batch.rows.append(events.row_of(gap))

    def _add_counted(self, batch: _Batch, now: datetime, *, everything: bool) -> None:
        """Rows that tell how many exchanges were not written, as they were like others."""
        with self._counting:
            machines = self._machines.due(now, everything=everything)
        batch.weight += sum(count for _, count in machines)
        unknown: list[tuple[Event, int]] = []
        for like, count in machines:
            host = self.whose(like)
            if host is not None:
                told = like._replace(facts={**like.facts, REPEATED: count})
                batch.rows.append(to_row(told, host))
                continue
            event = to_event(like, None)
            if self._strangers.admit(_of_stranger(event), event, event.at, count):
                unknown.append((event, count))
            else:
                batch.weight -= count
        strangers = self._strangers.due(now, everything=everything)
        batch.weight += sum(count for _, count in strangers)
        unknown += strangers
        for event, count in unknown[:UNKNOWN_PER_BATCH]:
            detail = {**event.detail, REPEATED: count}
            batch.rows.append(events.row_of(replace(event, detail=detail)))
        over = sum(count for _, count in unknown[UNKNOWN_PER_BATCH:])
        self._drop(over)
        batch.weight -= over

    def _drop(self, count: int) -> None:
        if count:
            with self._lock:
                self._dropped += count

    def _lose(self, batch: _Batch) -> None:
        self._drop(batch.weight)
        time.sleep(1)

    def _write(self, batch: _Batch) -> None:
        if not batch.rows:
            return
        with self._database.writing(durable=False) as connection:
            events.write(connection, batch.rows)
            self._since_pruning += len(batch.rows)
            if self._since_pruning >= PRUNE_EVERY:
                events.prune(connection)
                self._since_pruning = 0
