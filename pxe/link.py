"""The serving interface as the kernel sees it: facts and changes, by netlink."""

import asyncio
import errno
import logging
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing, closing
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address
from typing import Any

from pyroute2.netlink import NLM_F_DUMP, nlmsg
from pyroute2.netlink.rtnl import (
    RTM_GETADDR,
    RTM_GETLINK,
    RTMGRP_IPV4_IFADDR,
    RTMGRP_IPV6_IFADDR,
    RTMGRP_LINK,
)
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from pxe.addresses import MacAddress
from pxe.errors import InterfaceUnusable
from pxe.netlink import ask, index_of, mac_of, open_netlink

log = logging.getLogger(__name__)

IFF_UP = 0x1
IFF_LOWER_UP = 0x10000
IFA_F_UNUSABLE = 0x40 | 0x08
"""IFA_F_TENTATIVE and IFA_F_DADFAILED (linux/if_addr.h)."""
RETRY = 1.0
"""Seconds between two attempts to use an interface that came back."""
WATCHED = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR


@dataclass(frozen=True, slots=True)
class LinkFacts:
    """One interface at one moment."""

    name: str
    index: int
    """The kernel's number; an interface that was deleted and made again has another."""
    mac: MacAddress | None
    """None where there is no Ethernet address, as on a tunnel."""
    up: bool
    """Switched on by its administrator."""
    carrier: bool
    """Something answers at the other end; a bridge without a port that is up has none."""
    addresses: tuple[IPv4Interface, ...] = ()
    link_local: IPv6Address | None = None
    """Only once duplicate address detection has passed it (RFC 4862, 5.4)."""

    @property
    def running(self) -> bool:
        """Whether packets can leave."""
        return self.up and self.carrier


class LinkEvent(Enum):
    """What can happen to an interface."""

    APPEARED = "appeared"
    VANISHED = "vanished"
    UP = "up"
    DOWN = "down"
    ADDRESS_GAINED = "address gained"
    ADDRESS_LOST = "address lost"


@dataclass(frozen=True, slots=True)
class LinkChange:
    """One thing that happened to the watched interface."""

    event: LinkEvent
    facts: LinkFacts
    """As it is now; for VANISHED as it was last."""
    address: IPv4Interface | None = None
    """For the two events about an address."""


def link_facts(interface: str) -> LinkFacts:
    """What the kernel knows of an interface now; about a millisecond, also inside a loop.

    Raises InterfaceUnusable, with the interfaces that exist as its note, when there is none of
    that name.
    """
    with closing(open_netlink()) as netlink:
        if facts := _facts(netlink, interface):
            return facts
        raise _no_interface(netlink, interface)


def serving_link(interface: str, address: IPv4Address, subnet: IPv4Network) -> LinkFacts:
    """`link_facts` of an interface that can serve `address` of `subnet`.

    A missing carrier is allowed: an empty bridge has none until its first machine starts.
    Raises InterfaceUnusable when it does not exist, is down, or lacks the address.
    """
    facts = link_facts(interface)
    if not facts.up:
        error = InterfaceUnusable(f"interface {interface} is down, expected it up")
        error.add_note(f"switch it on:  ip link set {interface} up")
        raise error
    if address not in {found.ip for found in facts.addresses}:
        present = ", ".join(map(str, facts.addresses)) or "no IPv4 address"
        error = InterfaceUnusable(f"interface {interface} has {present}, expected {address}")
        error.add_note(f"add it:  ip address add {address}/{subnet.prefixlen} dev {interface}")
        raise error
    return facts


async def watch(interface: str, known: LinkFacts | None = None) -> AsyncGenerator[LinkChange, None]:
    """Tell what happens to an interface, beginning with how it differs from `known`.

    With `known` left out, an interface that exists begins with APPEARED. What happened between
    two looks may be told as one change; nothing is lost when the kernel's notices overrun their
    buffer (ENOBUFS), because each notice only makes us look. Ends when the iterator is closed.
    """
    loop = asyncio.get_running_loop()
    notices, queries = open_netlink(WATCHED), open_netlink()
    noticed = asyncio.Event()
    noticed.set()
    loop.add_reader(notices.fileno(), noticed.set)
    try:
        while True:
            await noticed.wait()
            noticed.clear()
            _drain(notices)
            now = _facts(queries, interface)
            for change in changes(known, now):
                yield change
            known = now
    finally:
        loop.remove_reader(notices.fileno())
        notices.close()
        queries.close()


async def follow(
    interface: str,
    address: IPv4Address,
    reopen: Callable[[], Awaitable[None]],
    known: LinkFacts | None = None,
) -> None:
    """Call `reopen` each time that the interface was made anew and has its address again.

    Sockets that are bound to an interface by name stay with the one that vanished. `known` is
    the one they are bound to now. Runs until it is cancelled.
    """
    bound = known.index if known is not None else 0
    async with aclosing(watch(interface, known)) as seen:
        async for change in seen:
            facts = change.facts
            if change.event is LinkEvent.VANISHED:
                log.warning("interface vanished, waiting for it interface=%s", interface)
            elif facts.index != bound and address in {found.ip for found in facts.addresses}:
                bound = await _reopen(reopen, facts)


async def _reopen(reopen: Callable[[], Awaitable[None]], facts: LinkFacts) -> int:
    """Try until it works or the interface is another again; returns which one is open now."""
    while index_of(facts.name) == facts.index:
        try:
            await reopen()
        except InterfaceUnusable as error:
            log.warning("interface is back and unusable interface=%s reason=%s", facts.name, error)
            await asyncio.sleep(RETRY)
        else:
            return facts.index
    return 0


def changes(before: LinkFacts | None, now: LinkFacts | None) -> list[LinkChange]:
    """How two looks at one interface differ, in the order in which a server cares."""
    if before is not None and (now is None or now.index != before.index):
        gone = [LinkChange(LinkEvent.VANISHED, before)]
        return gone + changes(None, now)
    if now is None:
        return []
    found = [LinkChange(LinkEvent.APPEARED, now)] if before is None else []
    was_running = before is not None and before.running
    if was_running != now.running:
        found.append(LinkChange(LinkEvent.UP if now.running else LinkEvent.DOWN, now))
    had = set(before.addresses) if before is not None else set()
    has = set(now.addresses)
    found += [LinkChange(LinkEvent.ADDRESS_LOST, now, address) for address in sorted(had - has)]
    found += [LinkChange(LinkEvent.ADDRESS_GAINED, now, address) for address in sorted(has - had)]
    return found


def _drain(notices: Any) -> None:  # noqa: ANN401
    """Empty the socket; what the notices say does not matter, nor that some were lost."""
    raw = notices.socket
    raw.setblocking(False)
    while True:
        try:
            raw.recv(65536)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise


def _facts(netlink: Any, interface: str) -> LinkFacts | None:  # noqa: ANN401
    question = ifinfmsg()
    question["attrs"] = [("IFLA_IFNAME", interface)]
    for link in ask(netlink, question, RTM_GETLINK):
        index, flags = int(link["index"]), int(link["flags"])
        addresses = list(_addresses(netlink, index))
        return LinkFacts(
            interface,
            index,
            mac_of(link.get_attr("IFLA_ADDRESS")),
            bool(flags & IFF_UP),
            bool(flags & IFF_LOWER_UP),
            tuple(sorted(found for found in addresses if isinstance(found, IPv4Interface))),
            next((found for found in addresses if isinstance(found, IPv6Address)), None),
        )
    return None


def _addresses(netlink: Any, index: int) -> Iterator[IPv4Interface | IPv6Address]:  # noqa: ANN401
    """All IPv4 addresses, and the IPv6 link-local ones that may be used already."""
    for found in ask(netlink, _address_question(index), RTM_GETADDR, NLM_F_DUMP):
        text = found.get_attr("IFA_LOCAL") or found.get_attr("IFA_ADDRESS")
        if found["index"] != index or text is None:
            continue
        if found["family"] == socket.AF_INET:
            yield IPv4Interface((text, found["prefixlen"]))
        elif found["family"] == socket.AF_INET6 and not found["flags"] & IFA_F_UNUSABLE:
            address = IPv6Address(text)
            if address.is_link_local:
                yield address


def _address_question(index: int) -> nlmsg:
    question = ifaddrmsg()
    question["family"] = socket.AF_UNSPEC
    question["index"] = index
    return question


def _no_interface(netlink: Any, interface: str) -> InterfaceUnusable:  # noqa: ANN401
    names = [
        str(link.get_attr("IFLA_IFNAME"))
        for link in ask(netlink, ifinfmsg(), RTM_GETLINK, NLM_F_DUMP)
    ]
    error = InterfaceUnusable(f"interface {interface} does not exist")
    near = get_close_matches(interface, names, 1)
    meant = f"did you mean {near[0]}? " if near else ""
    error.add_note(f"{meant}this machine has: {', '.join(sorted(names))}")
    return error
