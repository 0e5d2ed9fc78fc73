"""Garbage on the DHCP ports: nothing breaks, whatever is asked, and the next client is served."""

import asyncio
import logging
import random
import socket
from collections.abc import Sequence
from contextlib import closing

import pytest

from pxe.dhcp import options as o
from pxe.dhcp.message import decode
from pxe.dhcp.options import MessageType
from pxe.dhcp.server import DhcpServer
from pxe.neighbours import NeighbourTable
from pxe.settings import DhcpMode
from tests.lab import Lab
from tests.pcap import CAPTURES, read_pcap
from tests.sites import MemorySite
from tests.tools import require_root
from tests.unit.pxe.dhcp.asking import (
    BIOS,
    MAC,
    POOL,
    PROGRAMS,
    RESERVED,
    STRANGER,
    US,
    ask,
    server,
)

DATAGRAMS = 20_000
"""For each mode, split over both ports."""
SEED = 20260319
PORTS = (67, 67, 67, 4011)
TAGS = (
    *(o.PAD, o.SUBNET_MASK, o.VENDOR_OPTIONS, o.REQUESTED_ADDRESS, o.LEASE_TIME, o.OVERLOAD),
    *(o.MESSAGE_TYPE, o.SERVER_IDENTIFIER, o.PARAMETER_LIST, o.MAXIMUM_SIZE, o.VENDOR_CLASS),
    *(o.CLIENT_IDENTIFIER, o.BOOT_FILE_NAME, o.USER_CLASS, o.RELAY_INFORMATION, o.ARCHITECTURE),
    *(o.MACHINE_IDENTIFIER, o.IPXE_OPTIONS, o.END),
)


def seeds() -> Sequence[bytes]:
    """What real firmware sent, and requests of a known and an unknown machine."""
    captured = {
        datagram.payload
        for path in CAPTURES.glob("*.pcap")
        for datagram in read_pcap(path)
        if datagram.destination_port in (67, 4011)
    }
    made = [
        ask(kind, client=client, requested=requested, ciaddr=ciaddr, giaddr=giaddr).encode()
        for kind in MessageType
        for client in (MAC, STRANGER)
        for requested in (str(RESERVED.address), str(POOL.first), None)
        for ciaddr in ("0.0.0.0", str(POOL.first))
        for giaddr in ("0.0.0.0", "10.20.0.9")
    ]
    return [*sorted(captured), *made]


def mutated(chance: random.Random, known: Sequence[bytes]) -> bytes:
    """One of the seeds with options added, octets changed, cut or doubled."""
    data = bytearray(chance.choice(known))
    for _ in range(chance.randint(0, 5)):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(6):
            case 0:
                data[at : at + chance.randint(1, 30)] = b""
            case 1:
                data[at : at + 1] = chance.randbytes(1)
            case 2 | 3:  # behind the magic cookie, where it counts
                length = chance.choice((0, 1, 2, 4, 4, 17, 200, 255))
                value = chance.randbytes(max(length - chance.choice((0, 0, 0, 1)), 0))
                data[240:240] = bytes((chance.choice(TAGS), length)) + value
            case 4:
                data[at:at] = data[240:] * chance.randint(1, 4)
            case _:
                data[1 + chance.randrange(43)] = chance.choice((0, 1, 6, 16, 255))
    return bytes(data[:5000])


@pytest.mark.parametrize("mode", DhcpMode)
async def test_no_datagram_hurts_the_server(mode: DhcpMode, caplog: pytest.LogCaptureFixture):
    require_root()
    chance, known = random.Random(SEED), seeds()
    with Lab() as lab:
        here, there = lab.namespace("server"), lab.namespace("client")
        lab.cable(here, "br-prov", there, "eth0", right_mac=str(MAC))
        here.address("br-prov", f"{US}/22")
        there.address("eth0", f"{RESERVED.address}/22")
        site = MemorySite(reservations=(RESERVED,), granted=())
        pool = POOL if mode is DhcpMode.AUTHORITATIVE else None
        with there.inside():
            client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
            client.bind(("", 68))
            client.setblocking(False)
        with here.inside(), client, closing(NeighbourTable()) as neighbours:
            served = DhcpServer(server(mode, pool).settings, site, PROGRAMS, neighbours)
            await served.start()
            with caplog.at_level(logging.ERROR):
                for number in range(DATAGRAMS):
                    client.sendto(mutated(chance, known), (str(US), chance.choice(PORTS)))
                    if number % 32 == 31:
                        await asyncio.sleep(0.001)
                        _drain(client)
                await asyncio.sleep(0.5)
                _drain(client)
            assert [record.getMessage() for record in caplog.records] == []
            assert len(site.observations) > DATAGRAMS * 0.9
            client.sendto(ask(MessageType.DISCOVER, BIOS).encode(), (str(US), 67))
            answer = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, 2000), 5)
            assert decode(answer).type is MessageType.OFFER
            await served.stop()


def _drain(client: socket.socket) -> None:
    try:
        while True:
            client.recv(4096)
    except BlockingIOError:
        return
