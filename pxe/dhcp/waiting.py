"""Datagrams between the wire and their answer: who is nearly done comes before who begins."""

from collections import deque
from collections.abc import Sequence
from typing import Final

from pxe.dhcp.message import HEADER
from pxe.dhcp.options import MESSAGE_TYPE, MessageType
from pxe.dhcp.reply import Arrival

Datagram = tuple[bytes, Arrival]

MOST_BEGINNERS: Final = 4096
"""DISCOVERs that wait at most: less than half a second of work, where firmware waits a second or
more. Left in the socket's buffer they would push out REQUESTs, which finish what we began."""
MOST: Final = 2 * MOST_BEGINNERS
"""Datagrams that are looked at ahead of time; what is beyond stays in the socket's buffer."""

_DISCOVER: Final = bytes((MESSAGE_TYPE, 1, MessageType.DISCOVER))


class Waiting:
    """Two queues in order of arrival: DISCOVERs, and everything else, which goes first."""

    def __init__(self) -> None:
        self._urgent: deque[Datagram] = deque()
        self._beginners: deque[Datagram] = deque()
        self.dropped = 0
        """DISCOVERs that found no room."""
        self.scheduled = False
        """Whether somebody will come for what waits without being told."""

    def __len__(self) -> int:
        return len(self._urgent) + len(self._beginners)

    @property
    def room(self) -> int:
        """How many more may be put."""
        return MOST - len(self)

    def put(self, datagrams: Sequence[Datagram]) -> None:
        """Add what has arrived.

        A DISCOVER is known by its first option, as clients send it; by another it is urgent.
        """
        for datagram in datagrams:
            if not datagram[0].startswith(_DISCOVER, HEADER.size):
                self._urgent.append(datagram)
            elif len(self._beginners) < MOST_BEGINNERS:
                self._beginners.append(datagram)
            else:
                self.dropped += 1

    def take(self, most: int) -> list[Datagram]:
        """Remove and return the next ones."""
        taken: list[Datagram] = []
        for queue in (self._urgent, self._beginners):
            while queue and len(taken) < most:
                taken.append(queue.popleft())
        return taken

    def take_dropped(self) -> int:
        """How many were dropped since this was last asked."""
        dropped, self.dropped = self.dropped, 0
        return dropped
