"""Alarms: what a person should look at, told once and not a thousand times."""

import logging
from dataclasses import replace

from sqlalchemy import Connection

from provision.memory import ShortMemory
from provision.store import events
from provision.store.database import once_committed
from provision.store.events import ALARM, Event

log = logging.getLogger(__name__)

ALARM_EVERY_S = 60
"""The same alarm of the same host is recorded once in this time."""


class Alarms:
    """Records alarms for one server process."""

    def __init__(self) -> None:
        self._recent: ShortMemory[bool] = ShortMemory(ALARM_EVERY_S)

    def record(self, connection: Connection, event: Event, reason: str) -> None:
        """Append `event` as an alarm, unless the same was recorded a moment ago."""
        key = event.host, reason
        if self._recent.get(key):
            return
        log.warning("alarm host=%s address=%s: %s", event.host, event.address, reason)
        observed = event.host is None
        alarm = replace(event, kind=ALARM, detail={"reason": reason}, observed=observed)
        events.append(connection, [alarm])
        # What the store could not take is still to be told when it is asked again.
        once_committed(connection, lambda: self._recent.keep(key, True))
