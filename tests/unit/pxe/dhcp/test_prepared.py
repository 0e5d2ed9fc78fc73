"""Replies that are kept are those that would be made: for any question, at any time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import IPv4Address
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pxe.addresses import MacAddress
from pxe.boot import Loader
from pxe.dhcp import options as o
from pxe.dhcp.decide import Reply, Silence, decide
from pxe.dhcp.leases import QUARANTINE_TIME, LeaseBook
from pxe.dhcp.message import Message, decode
from pxe.dhcp.options import MessageType
from pxe.dhcp.prepared import LONGEST, Prepared, PreparedReplies, prepare
from pxe.dhcp.reply import BOOT_SERVICE_PORT, Arrival
from pxe.reservation import Reservation
from pxe.settings import DhcpMode
from tests.unit.pxe.dhcp.asking import (
    ABLE_IPXE,
    BIOS,
    MAC,
    NOW,
    POOL,
    RESERVED,
    STRANGER,
    UEFI,
    UEFI_HTTP,
    US,
    ask,
    server,
)  # fmt: skip

OTHER = MacAddress.parse("52:54:00:bb:00:02")
ARRIVALS = (
    Arrival(),
    Arrival(peer=IPv4Address("10.20.0.11")),
    Arrival(BOOT_SERVICE_PORT, IPv4Address("10.20.0.11"), 4711),
)
ADDRESSES = ("0.0.0.0", "10.20.0.11", "10.20.3.1", "10.20.3.2", "10.20.3.4")

OPTIONS = (
    {},
    BIOS,
    UEFI,
    UEFI_HTTP,
    UEFI | ABLE_IPXE,
    {o.CLIENT_IDENTIFIER: b"\1abcdef"},
    {o.RELAY_INFORMATION: b"\1\2ab"},
    {o.MACHINE_IDENTIFIER: bytes(17)},
    {o.HOST_NAME: b"x" * 300},
)
WAYS: Mapping[str, Sequence[Any]] = {
    "requested": (None, *ADDRESSES),
    "to": (None, US, IPv4Address("10.20.0.9")),
    "ciaddr": ADDRESSES,
    "giaddr": ("0.0.0.0", "10.20.0.99"),
    "wants": (None, b"", bytes((1, 3, 12, 58, 66))),
    "broadcast": (False, True),
}
"""In what questions differ beside their options."""


@st.composite
def conversations(draw: st.DrawFn) -> list[Message]:
    """Questions of few machines, each much like another one."""
    alike = st.sampled_from((MessageType.DISCOVER, MessageType.REQUEST, MessageType.RELEASE))
    first = {"requested": "10.20.3.1", "client": draw(st.sampled_from((MAC, STRANGER, OTHER)))}
    asked: list[tuple[Any, dict[int, bytes], dict[str, Any]]] = [(draw(alike), {}, first)]
    while len(asked) < 6:
        type, options, words = draw(st.sampled_from(asked))
        match draw(st.sampled_from(("type", "options", "client", "way"))):
            case "type":
                type = draw(st.sampled_from((*MessageType, None)))
            case "options":
                options = draw(st.sampled_from(OPTIONS))
            case "client":
                words = words | {"client": draw(st.sampled_from((MAC, STRANGER, OTHER)))}
            case _:
                way = draw(st.sampled_from(sorted(WAYS)))
                words = words | {way: draw(st.sampled_from(WAYS[way]))}
        asked.append((type, options, words))
    return [ask(type, options, **words) for type, options, words in asked]


@dataclass
class Station:
    """Does with decisions what the server does, and looks each reply up before it is made."""

    mode: DhcpMode
    now: datetime = NOW
    reservations: dict[MacAddress, Reservation] = field(default_factory=dict)
    found: int = 0

    def __post_init__(self) -> None:
        self.server = server(self.mode, POOL)
        self.book = None if self.server.is_proxy else LeaseBook(POOL)
        self.replies = PreparedReplies(self.reservations.get, self.book, most=8)

    def take(self, request: Message, arrival: Arrival, xid: int, secs: int) -> None:
        """Raises AssertionError when what is found is not what is decided."""
        data = request._replace(xid=xid, secs=secs).encode(2000)
        found = self.replies.find(data, arrival, self.now)
        reservation = self.reservations.get(request.chaddr)
        request = decode(data)
        decision = decide(request, reservation, self.book, self.server, arrival, self.now)
        made = self.act(data, request, decision, arrival, reservation)
        if found is not None:
            self.found += 1
            assert found == made

    def act(
        self,
        data: bytes,
        request: Message,
        decision: Reply | Silence,
        arrival: Arrival,
        reservation: Reservation | None,
    ) -> Prepared | None:
        if isinstance(decision, Silence):
            if self.book is not None and decision.released is not None:
                self.book.remove(decision.released)
            if self.book is not None and decision.declined is not None:
                self.book.quarantine(decision.declined, self.now + QUARANTINE_TIME)
            if self.book is not None and decision.left:
                self.book.doubt(request.chaddr)
            if self.book is not None and decision.pool_is_full:
                self.book.note_full(self.now)
            return None
        try:
            prepared = prepare(request, decision)
        except ValueError:
            return None
        self.replies.keep(data, arrival, reservation, decision, prepared, self.now)
        if self.book is not None and decision.offered is not None:
            self.book.offer(decision.offered)
        if self.book is not None and decision.granted is not None:
            self.book.grant(decision.granted)
            if request.server is not None:
                self.book.confirm(decision.granted)
        return prepared


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.integers(0, 5), st.sampled_from(ARRIVALS)),
        st.tuples(st.just("ask"), st.integers(0, 5), st.just(Arrival())),
        st.tuples(
            st.just("pass"),
            st.sampled_from((0, 0.001, 0.4, 1, 29, 31, 601, 899.6, 900, 3600, -5)),
            st.none(),
        ),
        st.tuples(
            st.just("reserve"),
            st.sampled_from((None, "10.20.0.11", "10.20.0.12")),
            st.sampled_from(Loader),
        ),
    ),
    max_size=40,
)


@given(st.sampled_from(DhcpMode), conversations(), STEPS, st.integers(0))
@settings(max_examples=400, deadline=None)
def test_what_is_found_is_what_would_be_decided(mode, asked, steps, seed):
    station = Station(mode)
    for number, (kind, what, how) in enumerate(steps):
        if kind == "ask":
            station.take(asked[what], how, (seed + number) % 2**32, number)
        elif kind == "pass":
            station.now += timedelta(seconds=what)
        elif what is None:
            station.reservations.pop(MAC, None)
        else:
            station.reservations[MAC] = Reservation(MAC, IPv4Address(what), "ctl01", how)


def test_a_machine_of_the_inventory_is_answered_at_once_when_it_asks_again():
    station = Station(DhcpMode.AUTHORITATIVE, reservations={MAC: RESERVED})
    for xid in range(3):
        station.take(ask(MessageType.DISCOVER, BIOS), Arrival(), xid, xid)
        station.now += timedelta(days=100)
    assert station.found == 2


def test_a_lease_is_told_from_memory_while_the_same_time_is_left_to_tell():
    station = Station(DhcpMode.AUTHORITATIVE)
    again = ask(MessageType.REQUEST, requested=str(POOL.first), client=STRANGER, to=US)
    found = []
    for second in (0, 0.5, 59, 61, 62):
        station.now = NOW + timedelta(seconds=second)
        before = station.found
        station.take(again, Arrival(), 1, 0)
        found.append(station.found - before)
    # Granted; then 59 minutes are left, twice; then 58.
    assert found == [0, 0, 1, 0, 1]


def test_a_lease_that_was_given_back_is_not_told_from_memory():
    station = Station(DhcpMode.AUTHORITATIVE)
    first = str(POOL.first)
    for type in (MessageType.REQUEST, MessageType.REQUEST, MessageType.RELEASE):
        words = {"ciaddr": first} if type is MessageType.RELEASE else {"requested": first}
        station.take(ask(type, client=STRANGER, to=US, **words), Arrival(), 1, 0)
    station.take(ask(MessageType.REQUEST, requested=first, client=STRANGER, to=US), Arrival(), 2, 0)
    assert station.found == 0


def test_a_client_that_cannot_take_unicast_any_more_is_asking_something_else():
    station = Station(DhcpMode.AUTHORITATIVE, reservations={MAC: RESERVED})
    for broadcast in (False, True, False):
        station.take(ask(MessageType.DISCOVER, broadcast=broadcast), Arrival(), 1, 0)
    assert station.found == 1


def test_another_inventory_is_heard_of_at_once():
    station = Station(DhcpMode.AUTHORITATIVE, reservations={MAC: RESERVED})
    station.take(ask(MessageType.DISCOVER), Arrival(), 1, 0)
    station.reservations[MAC] = Reservation(MAC, IPv4Address("10.20.0.12"), "ctl02")
    station.take(ask(MessageType.DISCOVER), Arrival(), 2, 0)
    assert station.found == 0


def test_no_more_is_kept_than_there_is_room_for():
    station = Station(DhcpMode.AUTHORITATIVE, reservations={MAC: RESERVED})
    for n in range(100):
        station.take(ask(MessageType.DISCOVER, {o.HOST_NAME: bytes((n,))}), Arrival(), 1, 0)
    long = ask(MessageType.DISCOVER, {o.HOST_NAME: bytes(LONGEST)})
    for _ in range(2):
        station.take(long, Arrival(), 1, 0)
    assert (len(station.replies), station.found) == (8, 0)


def test_a_datagram_too_short_for_an_xid_finds_nothing():
    replies = PreparedReplies({}.get, None)
    assert all(replies.find(bytes(n), Arrival(), NOW) is None for n in range(12))
