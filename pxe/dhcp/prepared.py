"""Replies as they go on the wire, kept for when the same question comes again.

Machines repeat themselves: a client that heard nothing asks again, a machine says in each of its
boots what it said in the last one, and renews its lease every half hour. Only `xid` and `secs`
differ then, and only `xid` comes back in the reply (RFC 2131, 4.3.1, table 3).
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import datetime
from ipaddress import IPv4Address
from typing import Final, NamedTuple

from pxe.addresses import MacAddress
from pxe.dhcp.decide import NEVER, Reply
from pxe.dhcp.leases import LeaseBook
from pxe.dhcp.message import NOWHERE, Message
from pxe.dhcp.reply import Arrival, Destination
from pxe.reservation import Reservation
from pxe.site import Outcome

XID: Final = slice(4, 8)  # RFC 2131, 2, figure 1
AFTER_SECS: Final = 10
MOST: Final = 8192
"""Replies that are kept: four for each of two thousand machines."""
LONGEST: Final = 1024
"""Octets of a question whose reply is kept, so that all of them take about 20 MB and no more."""


class Told(NamedTuple):
    """What is recorded of a reply, its `xid` apart."""

    client: MacAddress
    subject: str
    """OFFER, ACK or NAK."""
    outcome: Outcome
    rule: str
    address: IPv4Address | None
    facts: Mapping[str, str | int]


class Prepared(NamedTuple):
    """One reply, whatever the `xid`."""

    before: bytes
    """What goes on the wire, up to `xid`."""
    after: bytes
    to: Destination
    told: Told

    def octets(self, xid: bytes) -> bytes:
        """What goes on the wire."""
        return self.before + xid + self.after


def tell(request: Message, reply: Reply) -> Told:
    """What is to be recorded of a reply."""
    return Told(
        request.chaddr,
        reply.subject,
        Outcome.REFUSED if reply.is_refusal else Outcome.SERVED,
        reply.rule,
        reply.message.yiaddr if reply.message.yiaddr != NOWHERE else None,
        {}
        if reply.boot is None
        else {"firmware": str(reply.boot.firmware), "boot_file": reply.boot.file},
    )


def prepare(request: Message, reply: Reply) -> Prepared:
    """A decision as octets. Raises ValueError when they exceed the client's limit."""
    data = reply.message.encode(reply.limit)
    return Prepared(data[: XID.start], data[XID.stop :], reply.to, tell(request, reply))


class _Kept(NamedTuple):
    prepared: Prepared
    arrival: Arrival
    reservation: Reservation | None
    changes: int
    since: datetime
    until: datetime


class PreparedReplies:
    """The replies given last, by all of the question that a decision may look at.

    What is found is what `decide` would say now. It is asked anew whether the reservation is still
    the same; what else a decision depends on, `Reply.until` tells.
    """

    def __init__(
        self,
        reservation: Callable[[MacAddress], Reservation | None],
        book: LeaseBook | None,
        most: int = MOST,
    ) -> None:
        self._reservation = reservation
        self._book = book
        self._most = most
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, data: bytes, arrival: Arrival, now: datetime) -> Prepared | None:
        """The reply to a datagram, where the same was asked before."""
        key = _key(data)
        kept = self._kept.get(key)
        if kept is None or kept.arrival != arrival or not kept.since <= now <= kept.until:
            return None
        if self._reservation(kept.prepared.told.client) is not kept.reservation:
            return None
        if kept.reservation is None and kept.changes != self._changes:
            return None
        self._kept.move_to_end(key)
        return kept.prepared

    def keep(
        self,
        data: bytes,
        arrival: Arrival,
        reservation: Reservation | None,
        reply: Reply,
        prepared: Prepared,
        now: datetime,
    ) -> None:
        """Note what was just decided, if it may be said again."""
        if reply.until == NEVER or len(data) > LONGEST:
            return
        key = _key(data)
        self._kept[key] = _Kept(prepared, arrival, reservation, self._changes, now, reply.until)
        self._kept.move_to_end(key)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)

    @property
    def _changes(self) -> int:
        return 0 if self._book is None else self._book.changes


def _key(data: bytes) -> bytes:
    """All of a datagram but its `xid` and `secs`; of one too short for them, no message's."""
    return data[: XID.start] + data[AFTER_SECS:]
