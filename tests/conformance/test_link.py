"""The serving interface against the real kernel."""

import asyncio
import errno
import socket
from collections.abc import AsyncIterator
from contextlib import aclosing
from ipaddress import IPv4Address, IPv4Interface

import pytest

from pxe import link
from pxe.addresses import MacAddress
from pxe.errors import InterfaceUnusable
from pxe.link import (
    LinkChange,
    LinkEvent,
    follow,
    link_facts,
    serving_link,
    watch,
)
from pxe.neighbours import NeighbourTable, neighbour
from tests.lab import Lab, wait_until

HOME = IPv4Interface("10.9.0.1/24")
ETH_P_IP = 0x0800
CLIENT = MacAddress.parse("02:00:00:00:00:42")


@pytest.fixture
def lab():
    with Lab() as made:
        yield made


@pytest.fixture
def machine(lab):
    """A machine with wire0 up, on a cable to another."""
    made, other = lab.namespace("machine"), lab.namespace("other")
    made.sysctl("net.ipv6.conf.default.accept_dad", 0)
    lab.cable(made, "wire0", other, "eth0", left_mac="02:00:00:00:00:01")
    made.address("wire0", str(HOME))
    return made


def test_the_facts_of_an_interface_are_read(machine):
    def settled() -> bool:
        now = machine.call(link_facts, "wire0")
        return now.running and now.link_local is not None

    # The kernel brings up carrier and link-local address a moment after the interface.
    wait_until(settled, "wire0 has a carrier and a link-local address")
    facts = machine.call(link_facts, "wire0")
    assert facts.index == machine.index("wire0")
    assert str(facts.mac) == "02:00:00:00:00:01"
    assert facts.running
    assert facts.addresses == (HOME,)
    assert str(facts.link_local) == "fe80::ff:fe00:1"


def test_facts_are_read_also_inside_a_running_loop(machine):
    async def ask():
        return link_facts("wire0")

    assert machine.call(asyncio.run, ask()).addresses == (HOME,)


def test_a_misspelt_interface_is_answered_with_the_nearest(machine):
    with pytest.raises(InterfaceUnusable, match="wrie0 does not exist") as caught:
        machine.call(link_facts, "wrie0")
    assert caught.value.__notes__ == ["did you mean wire0? this machine has: lo, wire0"]


def test_an_interface_without_the_address_cannot_serve(machine):
    assert machine.call(serving_link, "wire0", HOME.ip, HOME.network).running
    with pytest.raises(InterfaceUnusable, match=r"has 10.9.0.1/24, expected 10.9.0.7"):
        machine.call(serving_link, "wire0", IPv4Address("10.9.0.7"), HOME.network)


def test_an_interface_that_is_down_cannot_serve(machine):
    machine.down("wire0")
    with pytest.raises(InterfaceUnusable, match="wire0 is down"):
        machine.call(serving_link, "wire0", HOME.ip, HOME.network)


async def take(iterator: AsyncIterator[LinkChange], number: int) -> list[LinkEvent]:
    return [(await asyncio.wait_for(anext(iterator), 5)).event for _ in range(number)]


async def test_an_interface_is_watched_through_its_disappearance_and_return(lab, machine):
    other = lab.namespace("another")
    with machine.inside():
        changes = watch("wire0", link_facts("wire0"))
        async with aclosing(changes):
            looking = asyncio.ensure_future(take(changes, 1))
            await asyncio.sleep(0.05)
            machine.delete("wire0")
            assert await looking == [LinkEvent.VANISHED]
            lab.cable(machine, "wire0", other, "eth0")
            assert await take(changes, 1) == [LinkEvent.APPEARED]
            machine.address("wire0", str(HOME))
            seen = []
            while LinkEvent.ADDRESS_GAINED not in seen:
                seen += await take(changes, 1)
            assert LinkEvent.UP in seen
            machine.address("wire0", str(HOME), "del")
            assert await take(changes, 1) == [LinkEvent.ADDRESS_LOST]
            other.down("eth0")
            assert await take(changes, 1) == [LinkEvent.DOWN]


async def test_ports_are_opened_anew_once_the_returned_interface_has_its_address(lab, machine):
    reopened: list[int] = []
    refusals = [InterfaceUnusable("not yet")]

    async def reopen() -> None:
        if refusals:
            raise refusals.pop()
        reopened.append(machine.index("wire0"))

    with machine.inside():
        following = asyncio.ensure_future(follow("wire0", HOME.ip, reopen, link_facts("wire0")))
        await asyncio.sleep(0.05)
        machine.down("wire0")
        machine.up("wire0")
        machine.delete("wire0")
        lab.cable(machine, "wire0", lab.namespace("another"), "eth0")
        await asyncio.sleep(0.05)
        assert reopened == []
        machine.address("wire0", str(HOME))
        while not reopened:
            await asyncio.sleep(0.01)
        assert (reopened, refusals) == ([machine.index("wire0")], [])
        following.cancel()


async def test_notices_lost_in_an_overrun_are_made_good(machine, monkeypatch):
    made = []

    def small(groups: int = 0):
        netlink = original(groups)
        if groups:
            netlink.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            made.append(netlink.socket)
        return netlink

    original = link.open_netlink
    monkeypatch.setattr(link, "open_netlink", small)
    with machine.inside():
        async with aclosing(watch("wire0", link_facts("wire0"))) as changes:
            small(link.WATCHED)  # a witness that nobody reads
            looking = asyncio.ensure_future(take(changes, 1))
            await asyncio.sleep(0.05)
            for number in range(50):
                machine.link("set", index=machine.index("wire0"), mtu=1400 + number)
            machine.down("wire0")
            for witness in made:
                with pytest.raises(OSError) as caught:  # noqa: PT011
                    witness.recv(1 << 16)
                assert caught.value.errno == errno.ENOBUFS
            assert await looking == [LinkEvent.DOWN]


def test_a_neighbour_entry_reaches_a_client_that_answers_no_arp(lab, machine):
    other = lab.namespace("listener")
    lab.cable(machine, "wire1", other, "eth0")
    machine.address("wire1", "10.9.1.1/24")
    wire = other.call(socket.socket, socket.AF_PACKET, socket.SOCK_RAW)
    with wire:
        wire.bind(("eth0", ETH_P_IP))
        wire.settimeout(5)
        table = machine.call(NeighbourTable)
        machine.call(table.add, "wire1", IPv4Address("10.9.1.42"), CLIENT)
        sender = machine.call(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
        sender.sendto(b"an offer", ("10.9.1.42", 68))
        while not (frame := wire.recv(2048)).endswith(b"an offer"):
            pass
        assert frame[:6] == CLIENT.octets
        sender.close()
        machine.call(table.close)


def neighbours(machine) -> set[str]:
    found = machine.call(lambda: list(machine._netlink.get_neighbours(family=socket.AF_INET)))
    return {entry.get("dst") for entry in found}


def test_neighbour_entries_are_bounded_and_removed_at_the_end(machine):
    table = machine.call(NeighbourTable, 8)
    for number in range(2, 102):
        machine.call(table.add, "wire0", IPv4Address(f"10.9.0.{number}"), CLIENT)
    assert neighbours(machine) == {f"10.9.0.{number}" for number in range(94, 102)}
    machine.call(table.remove, "wire0", IPv4Address("10.9.0.95"))
    machine.call(table.remove, "wire0", IPv4Address("10.9.0.95"))
    assert len(neighbours(machine)) == 7
    machine.call(table.close)
    assert neighbours(machine) == set()


def test_neighbour_entries_follow_an_interface_that_was_made_again(lab, machine):
    table = machine.call(NeighbourTable)
    machine.call(table.add, "wire0", IPv4Address("10.9.0.5"), CLIENT)
    machine.delete("wire0")
    with pytest.raises(InterfaceUnusable, match="does not exist"):
        machine.call(table.add, "wire0", IPv4Address("10.9.0.5"), CLIENT)
    lab.cable(machine, "wire0", lab.namespace("another"), "eth0")
    machine.call(table.add, "wire0", IPv4Address("10.9.0.5"), CLIENT)
    assert neighbours(machine) == {"10.9.0.5"}
    machine.call(table.close)


def test_the_owner_of_an_address_is_known_once_packets_went_to_it(lab, machine):
    other = lab.namespace("peer")
    lab.cable(machine, "wire2", other, "eth0")
    machine.address("wire2", "10.9.2.1/24")
    other.address("eth0", "10.9.2.7/24")
    peer = IPv4Address("10.9.2.7")
    assert machine.call(neighbour, "wire2", peer) is None
    machine.run(["ping", "-c1", "-W5", str(peer)])
    assert str(machine.call(neighbour, "wire2", peer)) == other.mac("eth0")
    assert machine.call(neighbour, "wire2", IPv4Address("10.9.2.8")) is None
    assert machine.call(neighbour, "no-such-wire", peer) is None
