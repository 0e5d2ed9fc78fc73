"""The server on a real wire: two namespaces, a cable, and a client that is a plain socket."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address

import pytest

from pxe.addresses import MacAddress
from pxe.boot import BootTarget
from pxe.dhcp import options as o
from pxe.dhcp.message import Message, decode
from pxe.dhcp.options import MessageType
from pxe.dhcp.server import BURST, DhcpServer
from pxe.dhcp.sockets import DhcpSocket
from pxe.errors import InterfaceUnusable
from pxe.neighbours import NeighbourTable
from pxe.reservation import Lease, Reservation
from pxe.settings import DhcpMode, Settings
from pxe.site import Answer, Observation, Outcome, Refusal, Report
from tests.lab import Lab, Namespace
from tests.unit.pxe.dhcp.asking import (
    BIOS,
    INSTALLED,
    MAC,
    POOL,
    PROGRAMS,
    RESERVED,
    STRANGER,
    US,
    ask,
    server,
)  # fmt: skip

DISCOVER, REQUEST, RELEASE = MessageType.DISCOVER, MessageType.REQUEST, MessageType.RELEASE

OTHER = MacAddress.parse("52:54:00:bb:00:02")


@dataclass
class Memory:
    """A site that knows one host and keeps leases in a list."""

    kept: list[Lease] = field(default_factory=list)
    released: list[Lease] = field(default_factory=list)
    writes: int = 0
    seen: list[Observation] = field(default_factory=list)
    stolen: frozenset[IPv4Address] = frozenset()
    broken: bool = False

    def reservation(self, client: MacAddress) -> Reservation | None:
        if self.broken:
            raise OSError("the store is gone")
        return RESERVED if client == MAC else None

    def reservation_at(self, address: IPv4Address) -> Reservation | None:
        raise NotImplementedError

    def boot_targets(
        self, asked: Sequence[tuple[MacAddress, IPv4Address]], base_url: str
    ) -> Sequence[BootTarget]:
        raise NotImplementedError

    def answer(
        self, token: str, address: IPv4Address, *, encrypted: bool = False
    ) -> Answer | Refusal:
        raise NotImplementedError

    def answer_delivered(self, token: str) -> None:
        raise NotImplementedError

    def report(self, token: str, address: IPv4Address, report: Report) -> Refusal | None:
        raise NotImplementedError

    def leases(self) -> Iterable[Lease]:
        return self.kept

    def keep_leases(self, granted: Sequence[Lease], released: Sequence[Lease]) -> Sequence[Lease]:
        if self.broken:
            raise OSError("the store is gone")
        self.writes += 1
        kept = [lease for lease in granted if lease.address not in self.stolen]
        self.kept += kept
        self.released += released
        return kept

    def observe(self, observation: Observation) -> None:
        self.seen.append(observation)


@pytest.fixture
def wire() -> Iterator[tuple[Namespace, Namespace]]:
    """A server's namespace and a client's, whose interface has our client's hardware address."""
    with Lab() as lab:
        here, there = lab.namespace("server"), lab.namespace("client")
        lab.cable(here, "br-prov", there, "eth0", right_mac=str(MAC))
        here.address("br-prov", f"{US}/22")
        there.address("eth0", f"{RESERVED.address}/22")
        yield here, there


@asynccontextmanager
async def serving(here: Namespace, site: Memory, settings: Settings) -> AsyncIterator[DhcpServer]:
    with here.inside():
        neighbours = NeighbourTable()
        served = DhcpServer(settings, site, PROGRAMS, neighbours)
        await served.start()
        try:
            yield served
        finally:
            await served.stop()
            neighbours.close()


class Client:
    """Port 68 of the client's namespace."""

    def __init__(self, there: Namespace, port: int = 68) -> None:
        with there.inside():
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0\0")
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            self.socket.setblocking(False)
            self.socket.bind(("", port))

    def send(self, *requests: Message | bytes, to: tuple[str, int] = ("10.20.3.255", 67)) -> None:
        for request in requests:
            data = request if isinstance(request, bytes) else request.encode()
            self.socket.sendto(data, to)

    async def receive(self) -> Message:
        loop = asyncio.get_running_loop()
        data, (peer, _) = await asyncio.wait_for(loop.sock_recvfrom(self.socket, 2000), 5)
        assert peer == str(US)
        return decode(data)


@pytest.fixture
def client(wire: tuple[Namespace, Namespace]) -> Iterator[Client]:
    made = Client(wire[1])
    yield made
    made.socket.close()


def settings(mode: DhcpMode = DhcpMode.AUTHORITATIVE, discovery: bool = False) -> Settings:
    return server(mode, POOL if discovery else None).settings


async def test_a_client_without_an_address_is_reached_by_unicast(wire, client, caplog):
    site = Memory()
    async with serving(wire[0], site, settings()):
        client.send(ask(DISCOVER, BIOS))
        offer = await client.receive()
        client.send(ask(REQUEST, BIOS, requested="10.20.0.11", to=US))
        ack = await client.receive()
    assert (offer.type, ack.type) == (MessageType.OFFER, MessageType.ACK)
    assert ack.yiaddr == RESERVED.address
    assert ack.file == b"undionly.kpxe"
    assert [(seen.subject, seen.outcome) for seen in site.seen] == [
        ("OFFER", Outcome.SERVED), ("ACK", Outcome.SERVED),
    ]  # fmt: skip
    assert site.seen[1].facts == {
        "xid": "00001234", "firmware": "bios", "boot_file": "undionly.kpxe",
    }  # fmt: skip
    assert site.writes == 0
    assert "broadcast instead" not in caplog.text


async def test_a_broadcast_client_is_reached_by_broadcast(wire, client):
    async with serving(wire[0], Memory(), settings()):
        client.send(ask(DISCOVER, broadcast=True))
        assert (await client.receive()).type is MessageType.OFFER


async def test_garbage_is_told_and_survived(wire, client):
    site = Memory()
    async with serving(wire[0], site, settings()):
        client.send(b"", b"\0", b"x" * 300, b"\x01" * 5000, ask(DISCOVER))
        assert (await client.receive()).type is MessageType.OFFER
    assert [seen.subject for seen in site.seen] == ["datagram"] * 4 + ["OFFER"]
    assert "0 octets are not a DHCP message, from 10.20.0.11" in site.seen[0].reason


async def test_a_lease_is_kept_before_it_is_acknowledged(wire, client):
    site = Memory()
    async with serving(wire[0], site, settings(discovery=True)):
        client.send(ask(DISCOVER, client=STRANGER, broadcast=True))
        address = (await client.receive()).yiaddr
        assert site.kept == []
        client.send(ask(REQUEST, client=STRANGER, broadcast=True, requested=str(address), to=US))
        assert (await client.receive()).type is MessageType.ACK
        assert [(lease.client, lease.address) for lease in site.kept] == [(STRANGER, address)]
        client.send(ask(RELEASE, client=STRANGER, ciaddr=str(address), to=US), ask(DISCOVER))
        await client.receive()
    assert site.released == site.kept


async def test_a_burst_is_one_write(wire, client):
    site = Memory()
    requests = [
        ask(REQUEST, client=MacAddress(bytes((2, 0, 0, 0, 0, n))), requested=f"10.20.3.{n}",
            broadcast=True)
        for n in range(1, 5)
    ]  # fmt: skip
    async with serving(wire[0], site, settings(discovery=True)):
        client.send(*requests)  # the loop does not run meanwhile
        assert {(await client.receive()).type for _ in requests} == {MessageType.ACK}
    assert (len(site.kept), site.writes) == (4, 1)


async def test_a_client_that_asks_again_in_one_burst_waits_for_the_same_write(wire, client):
    site = Memory()
    again = ask(REQUEST, client=STRANGER, requested=str(POOL.first), broadcast=True, to=US)
    async with serving(wire[0], site, settings(discovery=True)):
        site.broken = True
        client.send(again, again)
        await asyncio.sleep(0.05)
        site.broken = False
        client.send(again, again)
        assert [(await client.receive()).type for _ in range(2)] == [MessageType.ACK] * 2
        client.send(again)
        assert (await client.receive()).type is MessageType.ACK
    assert site.writes == 1
    assert [seen.outcome for seen in site.seen[-3:]] == [Outcome.SERVED] * 3


@pytest.mark.parametrize(
    ("last", "reply", "held"),
    [
        (ask(REQUEST, client=STRANGER, requested=str(POOL.first + 1), broadcast=True),
         MessageType.ACK, POOL.first + 1),
        (ask(RELEASE, client=STRANGER, ciaddr=str(POOL.first), to=US), None, None),
    ],
)  # fmt: skip
async def test_a_lease_that_its_client_gives_up_in_the_same_burst_is_not_acknowledged(
    wire, client, last, reply, held
):
    site = Memory()
    begin = ask(REQUEST, client=STRANGER, requested=str(POOL.first), broadcast=True)
    wanted = ask(DISCOVER, client=OTHER, requested=str(POOL.first), broadcast=True)
    async with serving(wire[0], site, settings(discovery=True)):
        client.send(begin, last)
        if reply is not None:
            answer = await client.receive()
            assert (answer.type, answer.yiaddr) == (reply, held)
        client.send(wanted)  # nor is it left alone, as an address that another server gave away
        offer = await client.receive()
    assert (offer.type, offer.yiaddr) == (MessageType.OFFER, POOL.first)
    assert [lease.address for lease in site.kept] == ([] if held is None else [held])
    reasons = [seen.reason for seen in site.seen if seen.outcome is Outcome.SILENT]
    assert f"it gave {POOL.first} up before we could answer" in reasons


async def test_in_a_storm_a_request_is_answered_before_discovers_and_drops_are_told_once(
    wire, client, caplog, monkeypatch
):
    monkeypatch.setattr("pxe.dhcp.waiting.MOST_BEGINNERS", 500)
    site = Memory()
    begin = ask(DISCOVER, broadcast=True).encode()
    async with serving(wire[0], site, settings()):
        client.send(*[begin] * 520)
        client.send(ask(REQUEST, requested=str(RESERVED.address), broadcast=True))
        assert (await client.receive()).type is MessageType.ACK
        assert (await client.receive()).type is MessageType.OFFER
        while len(site.seen) < 502:
            await asyncio.sleep(0.01)
    told = [seen for seen in site.seen if seen.outcome is Outcome.SILENT]
    assert [seen.reason for seen in told] == ["too many at once: 20 dropped, they ask again"]
    assert "20 dropped" in caplog.text


async def test_a_lease_that_another_server_gave_away_is_refused_and_then_avoided(wire, client):
    site = Memory(stolen=frozenset({POOL.first}))
    async with serving(wire[0], site, settings(discovery=True)):
        client.send(ask(REQUEST, client=STRANGER, requested=str(POOL.first), broadcast=True))
        refused = await client.receive()
        client.send(ask(DISCOVER, client=STRANGER, requested=str(POOL.first), broadcast=True))
        offer = await client.receive()
    assert refused.type is MessageType.NAK
    assert offer.yiaddr in POOL
    assert offer.yiaddr != POOL.first


@pytest.mark.parametrize("last", [None, US], ids=["reboot", "chosen"])
@pytest.mark.parametrize("restarted", [False, True], ids=["running", "restarted"])
async def test_a_lease_that_was_given_back_to_another_server_is_not_told_from_memory(
    wire, client, restarted, last
):
    """Another server answered the second time; it heard the RELEASE and gave the address away."""
    site = Memory()
    wanted = {"requested": str(POOL.first), "broadcast": True, "client": STRANGER}
    first, second = ask(REQUEST, **wanted, to=US), ask(REQUEST, **wanted)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(serving(wire[0], site, settings(discovery=True)))
        for request in (first, second):
            client.send(request)
            assert (await client.receive()).type is MessageType.ACK
        if restarted:
            await stack.aclose()
            await stack.enter_async_context(serving(wire[0], site, settings(discovery=True)))
        site.stolen = frozenset({POOL.first})
        client.send(ask(REQUEST, **wanted, to=last))
        assert (await client.receive()).type is MessageType.NAK


async def test_a_broken_store_acknowledges_nothing_and_ends_nothing(wire, client, caplog):
    site = Memory()
    async with serving(wire[0], site, settings(discovery=True)):
        site.broken = True
        client.send(ask(REQUEST, client=STRANGER, requested=str(POOL.first), broadcast=True))
        await asyncio.sleep(0.05)
        site.broken = False
        client.send(ask(DISCOVER))
        assert (await client.receive()).chaddr == MAC
    assert "the store is gone" in caplog.text


async def test_a_defect_in_sending_does_not_keep_what_waits_from_its_answer(
    wire, client, caplog, monkeypatch
):
    send = DhcpSocket.send
    failures = [RuntimeError("a defect")]

    def send_after_a_failure(self, replies):
        if failures:
            raise failures.pop()
        return send(self, replies)

    monkeypatch.setattr(DhcpSocket, "send", send_after_a_failure)
    async with serving(wire[0], Memory(), settings()):
        client.send(*[ask(DISCOVER, broadcast=True)] * (BURST + 1))
        assert (await client.receive()).type is MessageType.OFFER
    assert "a defect" in caplog.text


async def test_port_4011_answers_the_boot_file(wire):
    client = Client(wire[1], 4711)
    async with serving(wire[0], Memory(), settings(DhcpMode.PROXY)):
        client.send(ask(REQUEST, BIOS, ciaddr="10.20.0.11"), to=(str(US), 4011))
        ack = await client.receive()
    client.socket.close()
    assert (ack.file, ack.options[o.VENDOR_CLASS]) == (b"undionly.kpxe", b"PXEClient")


async def test_the_server_serves_again_after_its_interface_came_back(wire, client):
    here, there = wire
    site = Memory()
    async with serving(here, site, settings()) as served:
        here.delete("br-prov")
        with pytest.raises(InterfaceUnusable, match="br-prov does not exist"):
            await served.rebind()
        here.link("add", ifname="br-prov", kind="veth",
                  peer={"ifname": "eth0", "net_ns_fd": str(there.path)})  # fmt: skip
        here.up("br-prov")
        here.address("br-prov", f"{US}/22")
        there.up("eth0")
        there.address("eth0", f"{RESERVED.address}/22")
        again = Client(there, 6868)
        await served.rebind()
        again.send(ask(DISCOVER, INSTALLED, giaddr="10.20.0.11"))
        await asyncio.sleep(0.1)
        again.socket.close()
    assert [seen.outcome for seen in site.seen] == [Outcome.SERVED]


async def test_one_line_is_logged_for_one_exchange(wire, client, caplog):
    caplog.set_level(logging.INFO, "pxe.dhcp.server")
    async with serving(wire[0], Memory(), settings()):
        caplog.clear()
        client.send(ask(DISCOVER, BIOS))
        await client.receive()
    assert caplog.messages == [
        f"OFFER mac={MAC} address=10.20.0.11 xid=00001234 firmware=bios boot_file=undionly.kpxe"
        " rule='reserved for ctl01'"
    ]


async def test_a_restarted_server_knows_who_holds_what(wire, client):
    """Killed or stopped, it is the same: what was acknowledged is in the store."""
    site = Memory()
    wanted = {"requested": str(POOL.first), "broadcast": True}
    for who, kind in ((STRANGER, MessageType.ACK), (OTHER, MessageType.NAK)):
        async with serving(wire[0], site, settings(discovery=True)):
            client.send(ask(REQUEST, client=who, **wanted))
            assert (await client.receive()).type is kind
