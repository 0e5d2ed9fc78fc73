"""Exchanges on the wire on their way to the store: taken at once, written a moment later."""

import json
import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from json.encoder import encode_basestring_ascii as quoted
from socket import inet_ntoa

from provision.store import events
from provision.store.database import Database
from provision.store.errors import StoreError
from provision.store.events import DROPPED, Event, StoredRow
from provision.store.schema import instant
from pxe.site import Observation

log = logging.getLogger(__name__)

COMMIT_EVERY_S = 0.05
QUEUE_BOUND = 20_000
"""Observations waiting at most; about 20 MB."""
BATCH_BOUND = 2_000
UNKNOWN_PER_BATCH = 50
"""Exchanges with unknown machines written at most in one commit: about 1,000 a second."""
REPEAT_WINDOW = timedelta(seconds=60)
REPEATS_BOUND = 4_096
PRUNE_EVERY = 20_000
"""Rows written between two prunings."""

Whose = Callable[[Observation], str | None]
"""The host that an observation is about; None: a machine outside the inventory."""

_Key = tuple[str | None, str, str, str, str]


@dataclass(slots=True)
class _Seen:
    first: Event
    repeats: int = 0


@dataclass(slots=True)
class Repeats:
    """Lets the first of identical exchanges with unknown machines through and counts the rest."""

    _seen: OrderedDict[_Key, _Seen] = field(default_factory=OrderedDict)

    def admit(self, event: Event) -> list[Event]:
        """What to write now that `event` came: itself, a count of earlier ones, or nothing."""
        due = self.due(event.at)
        key = (
            str(event.mac or event.address),
            event.service,
            event.kind,
            event.subject,
            event.reason,
        )
        if seen := self._seen.get(key):
            seen.repeats += 1
            return due
        self._seen[key] = _Seen(event)
        if len(self._seen) > REPEATS_BOUND:
            due += self._told(self._seen.popitem(last=False)[1])
        return [*due, event]

    def due(self, now: datetime, *, everything: bool = False) -> list[Event]:
        """Counts of exchanges whose window has ended."""
        told: list[Event] = []
        while self._seen:
            seen = next(iter(self._seen.values()))
            if not everything and now - seen.first.at < REPEAT_WINDOW:
                break
            told += self._told(self._seen.popitem(last=False)[1])
        return told

    @staticmethod
    def _told(seen: _Seen) -> list[Event]:
        if not seen.repeats:
            return []
        return [replace(seen.first, detail={**seen.first.detail, "repeated": seen.repeats})]


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


class Observer:
    """A bounded queue and the one thread that empties it into the store."""

    def __init__(self, database: Database, whose: Whose) -> None:
        self.whose = whose
        self._database = database
        self._queue: deque[Observation | Event] = deque()
        self._repeats = Repeats()
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
            self._write(self._next_batch(last=last and not more))

    def _next_batch(self, *, last: bool) -> list[StoredRow]:
        """Rows for one commit; what is too much of unknown machines is counted as dropped."""
        batch: list[StoredRow] = []
        strangers = 0
        for _ in range(min(len(self._queue), BATCH_BOUND)):
            item = self._queue.popleft()
            if isinstance(item, Observation):
                host = self.whose(item)
                if host is not None:
                    batch.append(to_row(item, host))
                    continue
                item = to_event(item, None)
            elif item.host is not None:
                batch.append(events.row_of(item))
                continue
            admitted = self._repeats.admit(item)
            room = max(UNKNOWN_PER_BATCH - strangers, 0)
            batch += map(events.row_of, admitted[:room])
            strangers += len(admitted[:room])
            self._drop(len(admitted[room:]))
        now = datetime.now(UTC)
        due = self._repeats.due(now, everything=last)[:UNKNOWN_PER_BATCH]
        batch += map(events.row_of, due)
        with self._lock:
            dropped, self._dropped = self._dropped, 0
        if dropped:
            count = {"dropped": dropped}
            gap = Event(now, "site", DROPPED, observed=True, detail=count)
            batch.append(events.row_of(gap))
        return batch

    def _drop(self, count: int) -> None:
        if count:
            with self._lock:
                self._dropped += count

    def _write(self, batch: list[StoredRow]) -> None:
        if not batch:
            return
        try:
            with self._database.writing(durable=False) as connection:
                events.write(connection, batch)
                self._since_pruning += len(batch)
                if self._since_pruning >= PRUNE_EVERY:
                    events.prune(connection)
                    self._since_pruning = 0
        except StoreError as error:
            # The servers go on without a record; the gap is told as soon as there is one again.
            log.warning("observations not written count=%d: %s", len(batch), error)
            self._drop(len(batch))
            time.sleep(1)
