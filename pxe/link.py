"""The serving interface as the kernel sees it: facts, changes, and neighbour entries by netlink."""

import asyncio
import errno
import logging
import socket
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing, closing, suppress
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from ipaddress import IPv4Address, IPv4Interface, IPv6Address
from sys import byteorder
from typing import Any

from pyroute2 import IPRSocket
from pyroute2.netlink import (
    NLM_F_ACK,
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_REPLACE,
    NLM_F_REQUEST,
    NLMSG_DONE,
    nlmsg,
)
from pyroute2.netlink.rtnl import (
    RTM_DELNEIGH,
    RTM_GETADDR,
    RTM_GETLINK,
    RTM_NEWNEIGH,
    RTMGRP_IPV4_IFADDR,
    RTMGRP_IPV6_IFADDR,
    RTMGRP_LINK,
)
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import NUD_REACHABLE, ndmsg

from pxe.addresses import MacAddress
from pxe.errors import InterfaceUnusable

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
    with closing(_socket()) as netlink:
        if facts := _facts(netlink, interface):
            return facts
        raise _no_interface(netlink, interface)


def serving_link(interface: str, address: IPv4Address) -> LinkFacts:
    """`link_facts` of an interface that can serve `address`.

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
        error.add_note(f"add it:  ip address add {address}/PREFIX dev {interface}")
        raise error
    return facts


async def watch(interface: str, known: LinkFacts | None = None) -> AsyncGenerator[LinkChange, None]:
    """Tell what happens to an interface, beginning with how it differs from `known`.

    With `known` left out, an interface that exists begins with APPEARED. What happened between
    two looks may be told as one change; nothing is lost when the kernel's notices overrun their
    buffer (ENOBUFS), because each notice only makes us look. Ends when the iterator is closed.
    """
    loop = asyncio.get_running_loop()
    notices, queries = _socket(WATCHED), _socket()
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
    while _index(facts.name) == facts.index:
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


class NeighbourTable:
    """Neighbour entries that let a datagram reach a client which cannot answer ARP yet.

    The entries are NUD_REACHABLE: should we die, the kernel ages them as any other. No more than
    `capacity` of ours exist at once, because the kernel's table is small (1024 by default) and
    shared by all namespaces; the oldest makes room.
    """

    def __init__(self, capacity: int = 256) -> None:
        self._capacity = capacity
        self._entries: OrderedDict[tuple[int, bytes], None] = OrderedDict()
        self._netlink: Any = _socket()
        self._socket = self._netlink.socket
        self._socket.setblocking(False)
        self._add = _NeighbourMessage(RTM_NEWNEIGH, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE)
        self._delete = _NeighbourMessage(RTM_DELNEIGH, 0)

    def add(self, interface: str, address: IPv4Address, mac: MacAddress) -> None:
        """Make the kernel send packets for `address` to `mac` at once, without asking by ARP.

        Raises InterfaceUnusable when the interface is gone, is down or takes no entries.
        """
        index, packed = _index(interface), address.packed
        if index == 0:
            raise InterfaceUnusable(f"interface {interface} does not exist")
        key = (index, packed)
        message = self._add(index, packed, mac.octets)
        self._entries[key] = None
        self._entries.move_to_end(key)
        if len(self._entries) > self._capacity:
            (old_index, old_address), _ = self._entries.popitem(last=False)
            message = self._delete(old_index, old_address) + message
        if number := self._request(message):
            self._entries.pop(key, None)
            raise InterfaceUnusable(
                f"interface {interface} takes no neighbour {address}: {errno.errorcode[number]}"
            )

    def remove(self, interface: str, address: IPv4Address) -> None:
        """Forget an entry of ours; one that is gone already is no error."""
        key = (_index(interface), address.packed)
        if self._entries.pop(key, key) is None:
            self._request(self._delete(*key))

    def close(self) -> None:
        """Remove all entries of ours and the socket."""
        for key in self._entries:
            self._request(self._delete(*key))
        self._entries.clear()
        self._netlink.close()

    def _request(self, message: bytes) -> int:
        """Send, and return the error number of the last answer, 0 for none.

        The kernel works on a netlink request inside `send`, so its answer lies ready after it.
        """
        try:
            self._socket.send(message)
        except OSError as error:
            return error.errno or errno.EIO
        number = 0
        with suppress(BlockingIOError):
            while answer := self._socket.recv(4096):
                number = -int.from_bytes(answer[16:20], byteorder, signed=True)
        return number


class _NeighbourMessage:
    """An RTM_*NEIGH request that pyroute2 encoded once, to be filled by copying.

    Encoding anew takes 40 times as long, and this happens for every offer.
    """

    _INDEX, _ADDRESS, _MAC = 0x5A6B7C8D, bytes.fromhex("01fe02fd"), bytes.fromhex("03fc04fb05fa")

    def __init__(self, kind: int, flags: int) -> None:
        message = ndmsg()
        message["header"]["type"] = kind
        message["header"]["flags"] = NLM_F_REQUEST | flags
        message["family"] = socket.AF_INET
        message["ifindex"] = self._INDEX
        message["state"] = NUD_REACHABLE
        message["attrs"] = [
            ("NDA_DST", str(IPv4Address(self._ADDRESS))),
            ("NDA_LLADDR", self._MAC.hex(":")),
        ]
        message.encode()
        encoded = bytes(message.data)
        before, rest = encoded.split(self._INDEX.to_bytes(4, byteorder))
        middle, rest = rest.split(self._ADDRESS)
        last, end = rest.split(self._MAC)
        self._parts = before, middle, last, end

    def __call__(self, index: int, address: bytes, mac: bytes = bytes(6)) -> bytes:
        before, middle, last, end = self._parts
        return b"".join(
            (before, index.to_bytes(4, byteorder), middle, address, last, mac, end),
        )


def _index(interface: str) -> int:
    """The interface's number now, 0 when there is none of that name."""
    try:
        return socket.if_nametoindex(interface)
    except OSError:
        return 0


def _socket(groups: int = 0) -> Any:  # noqa: ANN401
    """A netlink socket that works inside and outside of a running loop."""
    netlink = IPRSocket(strict_check=True)
    netlink.bind(groups)
    return netlink


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


def _ask(netlink: Any, message: nlmsg, kind: int, flags: int = 0) -> Iterator[Any]:  # noqa: ANN401
    """The answers to one request; an error of the kernel ends them."""
    netlink.put(message, msg_type=kind, msg_flags=NLM_F_REQUEST | flags)
    while True:
        for answer in netlink.get():
            header = answer["header"]
            if header["error"] is not None or header["type"] == NLMSG_DONE:
                return
            yield answer
        if not flags & NLM_F_DUMP:
            return


def _facts(netlink: Any, interface: str) -> LinkFacts | None:  # noqa: ANN401
    question = ifinfmsg()
    question["attrs"] = [("IFLA_IFNAME", interface)]
    for link in _ask(netlink, question, RTM_GETLINK):
        index, flags = int(link["index"]), int(link["flags"])
        addresses = list(_addresses(netlink, index))
        return LinkFacts(
            interface,
            index,
            _mac(link.get_attr("IFLA_ADDRESS")),
            bool(flags & IFF_UP),
            bool(flags & IFF_LOWER_UP),
            tuple(sorted(found for found in addresses if isinstance(found, IPv4Interface))),
            next((found for found in addresses if isinstance(found, IPv6Address)), None),
        )
    return None


def _addresses(netlink: Any, index: int) -> Iterator[IPv4Interface | IPv6Address]:  # noqa: ANN401
    """All IPv4 addresses, and the IPv6 link-local ones that may be used already."""
    for found in _ask(netlink, _address_question(index), RTM_GETADDR, NLM_F_DUMP):
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


def _mac(text: str | None) -> MacAddress | None:
    with suppress(ValueError, TypeError):
        return MacAddress.parse(text or "")
    return None


def _no_interface(netlink: Any, interface: str) -> InterfaceUnusable:  # noqa: ANN401
    names = [
        str(link.get_attr("IFLA_IFNAME"))
        for link in _ask(netlink, ifinfmsg(), RTM_GETLINK, NLM_F_DUMP)
    ]
    error = InterfaceUnusable(f"interface {interface} does not exist")
    near = get_close_matches(interface, names, 1)
    meant = f"did you mean {near[0]}? " if near else ""
    error.add_note(f"{meant}this machine has: {', '.join(sorted(names))}")
    return error
