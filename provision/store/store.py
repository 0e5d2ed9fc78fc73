"""The store as the rest of the program sees it."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Self

from provision.store import events, hosts, inspections
from provision.store.database import Database
from provision.store.events import Event
from provision.store.hosts import HostRecord
from provision.store.inspections import Inspection
from provision.store.observer import Observer
from pxe.addresses import MacAddress
from pxe.site import Observation


def _nobody(observation: Observation) -> None:
    return None


class Store:
    """State and events in one database. Open one in each process, after any fork.

    Every method raises StoreUnusable when the database fails, except `observe`.
    """

    def __init__(self, url: str) -> None:
        """Raises StoreUnusable or SchemaMismatch."""
        self.database = Database(url)
        self.observer = Observer(self.database, _nobody)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Write what was observed and give the connections back."""
        self.observer.close()
        self.database.close()

    def records(self) -> Mapping[str, HostRecord]:
        """Every host that was ever seen or armed; one that is missing here is enrolled."""
        with self.database.reading() as connection:
            return hosts.all_records(connection)

    def record(self, host: str) -> HostRecord:
        """Where one host stands."""
        with self.database.reading() as connection:
            return hosts.find(connection, host)

    def events(
        self,
        host: str | None = None,
        *,
        mac: MacAddress | None = None,
        since: datetime | None = None,
        after_id: int | None = None,
        kinds: Sequence[str] = (),
        limit: int = 1_000,
    ) -> list[Event]:
        """Events in rising order; of too many the newest, after `after_id` the oldest."""
        with self.database.reading() as connection:
            return events.recent(
                connection,
                host=host,
                mac=mac,
                since=since,
                after_id=after_id,
                kinds=kinds,
                limit=limit,
            )

    def newest_events(self) -> Mapping[str, Event]:
        """The newest event of each host."""
        with self.database.reading() as connection:
            return events.newest(connection)

    def alarms(self) -> Mapping[str, int]:
        """How many alarms each host has had since it was last armed; 0 is left out."""
        with self.database.reading() as connection:
            return events.alarms(connection)

    def inspections(self, host: str) -> list[Inspection]:
        """Every kept hardware report of a host, the newest first."""
        with self.database.reading() as connection:
            return inspections.of_host(connection, host)

    def newest_inspections(self) -> list[Inspection]:
        """The newest hardware report of each machine, also of those outside the inventory."""
        with self.database.reading() as connection:
            return inspections.newest(connection)
