"""Router advertisements as Linux takes them."""

import asyncio
import socket
import struct
import time
from contextlib import suppress
from ipaddress import IPv6Address

import pytest

from pxe.advertise import ALL_NODES, Advertiser
from tests.lab import Lab, Namespace, wait_until

NTF_ROUTER = 0x80


@pytest.fixture
def lab():
    with Lab() as made:
        yield made


@pytest.fixture
def server(lab):
    made = lab.namespace("server")
    made.sysctl("net.ipv6.conf.default.accept_dad", 0)
    return made


@pytest.fixture
def client(lab):
    """A Linux host that believes routers, as installers do."""
    made = lab.namespace("client")
    for name, value in {"accept_ra": 1, "autoconf": 1, "accept_dad": 0}.items():
        made.sysctl(f"net.ipv6.conf.default.{name}", value)
    return made


def heard(machine: Namespace) -> int:
    """How many router advertisements the machine's kernel has taken in."""
    with machine.inside(), open("/proc/thread-self/net/snmp6") as counters:  # noqa: PTH123
        return next(int(line.split()[1]) for line in counters if "InRouterAdv" in line)


def routers(machine: Namespace) -> dict[str, str]:
    """The neighbours that the kernel has marked as routers, with their hardware addresses."""
    found = machine.call(lambda: list(machine._netlink.get_neighbours(family=10)))
    return {n.get("dst"): n.get("lladdr") for n in found if n["flags"] & NTF_ROUTER}


def listens(machine: Namespace) -> bool:
    """Whether IPv6 has begun on the machine's eth0, which takes a moment after `up`."""
    return bool(machine.addresses("eth0", 6))


async def test_linux_accepts_an_advertisement_and_gets_no_address_and_no_route(lab, server, client):
    lab.cable(server, "wire0", client, "eth0", left_mac="02:00:00:00:00:01")
    with server.inside():
        advertiser = Advertiser("wire0")
        await advertiser.start()
        try:
            await until(lambda: heard(client) > 0)
            assert routers(client) == {"fe80::ff:fe00:1": "02:00:00:00:00:01"}
            assert client.default_gateways(6) == set()
            assert {str(found.network) for found in client.addresses("eth0", 6)} == {"fe80::/64"}
        finally:
            await advertiser.stop()


def advertised_to(wire: socket.socket, seconds: float) -> list[tuple[float, IPv6Address]]:
    """When and to whom advertisements came in a while."""
    seen = []
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        wire.settimeout(left)
        with suppress(TimeoutError):
            frame = wire.recv(2048)
            if frame[20] == socket.IPPROTO_ICMPV6 and frame[54] == 134:
                seen.append((time.monotonic(), IPv6Address(frame[38:54])))
    return seen


async def test_solicitations_are_answered_soon_and_to_all_only_every_three_seconds(
    lab, server, client
):
    client.sysctl("net.ipv6.conf.default.router_solicitations", 0)
    lab.cable(server, "wire0", client, "eth0", right_mac="02:00:00:00:00:42")
    await until(lambda: listens(client))
    wire = client.call(socket.socket, socket.AF_PACKET, socket.SOCK_RAW)
    with wire, server.inside():
        wire.bind(("eth0", 0x86DD))
        advertiser = Advertiser("wire0")
        await advertiser.start()
        try:
            await until(lambda: heard(client) == 1)
            watching = asyncio.create_task(asyncio.to_thread(advertised_to, wire, 4.0))
            while not watching.done():
                client.call(solicit, client.index("eth0"))
                await asyncio.sleep(0.01)
        finally:
            await advertiser.stop()
    seen = await watching
    to_all = [moment for moment, target in seen if target == ALL_NODES]
    alone = [target for _, target in seen if target != ALL_NODES]
    assert len(to_all) == 2
    assert to_all[1] - to_all[0] > 2.9
    assert 4 < len(alone) < 400
    assert set(alone) == {IPv6Address("fe80::ff:fe00:42")}


async def test_advertising_goes_on_when_the_interface_was_made_again(lab, server, client):
    lab.cable(server, "wire0", client, "eth0")
    with server.inside():
        advertiser = Advertiser("wire0")
        await advertiser.start()
        try:
            await until(lambda: heard(client) > 0)
            server.delete("wire0")
            await asyncio.sleep(0.1)
            before = heard(client)
            lab.cable(server, "wire0", client, "eth0")
            await until(lambda: heard(client) > before)
        finally:
            await advertiser.stop()


def solicit(index: int) -> None:
    """Ask for routers, as firmware does, many times a second if it pleases."""
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as wire:
        wire.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        wire.sendto(struct.pack("!BBHI", 133, 0, 0, 0), ("ff02::2", 0, 0, index))


async def until(condition) -> None:
    await asyncio.to_thread(wait_until, condition, "the advertisement is heard")
