"""IPv6 router advertisements that offer nothing, because firmware waits for one.

Old iPXE waits for a router before its first fetch, also when it has an IPv4 address: 16 seconds
were measured with Debian 12's ROM, and 0.2 with this. An advertisement with no prefix, no router
lifetime and no flags ends the wait and configures nothing: no address, no default route, no
DHCPv6 (RFC 4861, 4.2 and 6.2.3).
"""

import asyncio
import logging
import random
import socket
import struct
from collections.abc import Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from sys import byteorder

from pxe.addresses import MacAddress
from pxe.errors import InterfaceUnusable
from pxe.link import LinkEvent, LinkFacts, link_facts, watch

log = logging.getLogger(__name__)

ROUTER_SOLICITATION = 133
ROUTER_ADVERTISEMENT = 134
SOURCE_LINK_LAYER_ADDRESS = 1
HOP_LIMIT = 255
"""Nothing else is believed: it proves that no router forwarded the packet (RFC 4861, 3.1)."""
ALL_NODES = IPv6Address("ff02::1")
ALL_ROUTERS = IPv6Address("ff02::2")
ICMP6_FILTER = 1
"""The socket option of RFC 3542, 3.2, which Python does not name."""

# RFC 4861, 10, in seconds
MAX_INITIAL_RTR_ADVERT_INTERVAL = 16.0
MAX_INITIAL_RTR_ADVERTISEMENTS = 3
MIN_DELAY_BETWEEN_RAS = 3.0
MAX_RA_DELAY_TIME = 0.5
MAX_RTR_ADV_INTERVAL = 600.0
"""The default of RFC 4861, 6.2.1; firmware solicits, so nobody waits for the next one."""

MOST_WAITING = 32
"""How many are answered alone at a time; a flood of invented hosts gets one answer to all."""
RETRY = 1.0
"""Seconds until we look again for a link-local address, which takes about two after `up`."""


def encode_advertisement(mac: MacAddress | None) -> bytes:
    """A router advertisement (RFC 4861, 4.2) that offers nothing; the kernel adds the checksum."""
    hop_limit = flags = lifetime = reachable = retransmit = 0  # 0: unspecified by this router
    fixed = struct.pack(
        "!BBHBBHII", ROUTER_ADVERTISEMENT, 0, 0, hop_limit, flags, lifetime, reachable, retransmit
    )
    if mac is None:
        return fixed
    return fixed + struct.pack("!BB6s", SOURCE_LINK_LAYER_ADDRESS, 1, mac.octets)


def is_solicitation(data: bytes, hop_limit: int, source: IPv6Address) -> bool:
    """Whether an ICMPv6 message is a router solicitation to believe (RFC 4861, 6.1.1)."""
    if hop_limit != HOP_LIMIT or len(data) < 8 or data[:2] != bytes((ROUTER_SOLICITATION, 0)):
        return False
    options = data[8:]
    while options:
        length = 8 * options[1] if len(options) > 1 else 0
        if length == 0 or length > len(options):
            return False
        if options[0] == SOURCE_LINK_LAYER_ADDRESS and source.is_unspecified:
            return False
        options = options[length:]
    return True


@dataclass(slots=True)
class Schedule:
    """When which advertisement is due (RFC 4861, 6.2.4 and 6.2.6); the clock comes in.

    To all nodes no more than one goes out in three seconds. Who asks in between is answered
    alone, so that nobody waits for those three seconds when a whole rack starts.
    """

    due: float
    """When the next one to all nodes is."""
    chance: Callable[[], float] = random.random
    """A number from 0 to below 1, for the random delays that keep routers apart."""
    _last: float = float("-inf")
    _initial: int = MAX_INITIAL_RTR_ADVERTISEMENTS
    _waiting: dict[IPv6Address, float] = field(default_factory=dict)

    @property
    def wake(self) -> float:
        """When something is due."""
        return min(self.due, *self._waiting.values()) if self._waiting else self.due

    def solicited(self, now: float, source: IPv6Address) -> None:
        """Somebody asked; an answer to all that is due soon anyway serves them too."""
        if self.due <= now + MAX_RA_DELAY_TIME or source in self._waiting:
            return
        delay = self.chance() * MAX_RA_DELAY_TIME
        soonest = self._last + MIN_DELAY_BETWEEN_RAS
        if now >= soonest or source.is_unspecified or len(self._waiting) >= MOST_WAITING:
            self.due = min(self.due, max(now, soonest) + delay)
        else:
            self._waiting[source] = now + delay

    def restarted(self, now: float) -> None:
        """The interface came up: advertise soon, then often for a while."""
        self._initial = MAX_INITIAL_RTR_ADVERTISEMENTS
        self.due = max(now, self._last + MIN_DELAY_BETWEEN_RAS)

    def take(self, now: float) -> Sequence[IPv6Address]:
        """Whom to advertise to now; each is told once."""
        if now >= self.due:
            self._waiting.clear()
            return (ALL_NODES,)
        ready = [host for host, due in self._waiting.items() if due <= now]
        for host in ready:
            del self._waiting[host]
        return ready

    def sent(self, now: float) -> None:
        """All nodes were told: plan the next one that nobody asked for."""
        self._last = now
        self._initial -= 1
        interval = MAX_RTR_ADV_INTERVAL * (0.33 + 0.67 * self.chance())
        if self._initial > 0:
            interval = min(interval, MAX_INITIAL_RTR_ADVERT_INTERVAL)
        self.due = now + interval

    def failed(self, now: float) -> None:
        """Nothing can be sent now: look again soon."""
        self.due = now + RETRY


class Advertiser:
    """Advertises on one interface, from `start` to `stop`, also after it vanished and returned."""

    def __init__(self, interface: str) -> None:
        self._interface = interface
        self._task: asyncio.Task[None] | None = None
        self._socket: socket.socket | None = None
        self._index = 0
        self._wake = asyncio.Event()
        self._schedule = Schedule(0.0)
        self._hindered = ""

    async def start(self) -> None:
        """Begin; raises InterfaceUnusable when the interface does not exist now."""
        facts = link_facts(self._interface)
        loop = asyncio.get_running_loop()
        self._schedule = Schedule(loop.time())
        self._task = loop.create_task(self._run(facts), name=f"advertise {self._interface}")

    async def stop(self) -> None:
        """End; nobody needs a farewell, since nobody was told to use us as a router."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))
            self._task = None

    async def _run(self, facts: LinkFacts) -> None:
        known: LinkFacts | None = facts
        while True:
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._follow(known))
                    tasks.create_task(self._advertise())
            except* OSError as lost:
                # Netlink may be short of memory for a while. Nobody waits for this task.
                log.warning(
                    "router advertisements interrupted interface=%s reason=%s",
                    self._interface, lost.exceptions[0],
                )  # fmt: skip
            finally:
                self._close()
            await asyncio.sleep(RETRY)
            known = None

    async def _follow(self, known: LinkFacts | None) -> None:
        async with aclosing(watch(self._interface, known)) as changes:
            async for change in changes:
                if change.event is LinkEvent.VANISHED:
                    self._close()
                if change.event is LinkEvent.UP:
                    self._schedule.restarted(asyncio.get_running_loop().time())
                    self._wake.set()

    async def _advertise(self) -> None:
        time = asyncio.get_running_loop().time
        while True:
            self._wake.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), max(0.0, self._schedule.wake - time()))
            for target in self._schedule.take(time()):
                self._note(self._send(target))
                if target != ALL_NODES:
                    continue
                if self._hindered:
                    self._schedule.failed(time())
                else:
                    self._schedule.sent(time())

    def _note(self, hindrance: str) -> None:
        """Warn once when something begins to hinder us."""
        if hindrance and hindrance != self._hindered:
            log.warning(
                "no router advertisement interface=%s reason=%r", self._interface, hindrance
            )
        self._hindered = hindrance

    def _send(self, target: IPv6Address) -> str:
        """Send one; returns what hinders us, or nothing."""
        try:
            facts = link_facts(self._interface)
            if facts.link_local is None:
                return "no IPv6 link-local address (yet)"
            sender = self._opened(facts.index)
            source = struct.pack("=16sI", facts.link_local.packed, facts.index)
            sender.sendmsg(
                [encode_advertisement(facts.mac)],
                [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, source)],
                0,
                (str(target), 0, 0, facts.index),
            )
        except InterfaceUnusable as error:
            return str(error)
        except OSError as error:
            self._close()
            return f"{error.strerror}"
        log.debug("router advertisement interface=%s to=%s", self._interface, target)
        return ""

    def _opened(self, index: int) -> socket.socket:
        """The socket on the interface as it is now; a new one when it was made again."""
        if self._socket is None or self._index != index:
            self._close()
            self._socket, self._index = open_socket(self._interface, index), index
            asyncio.get_running_loop().add_reader(self._socket, self._receive, self._socket)
        return self._socket

    def _receive(self, receiver: socket.socket) -> None:
        try:
            data, ancillary, _, peer = receiver.recvmsg(1500, socket.CMSG_SPACE(4))
        except BlockingIOError:
            return
        except OSError as error:
            log.debug("solicitation lost interface=%s reason=%s", self._interface, error.strerror)
            return
        hops = [
            int.from_bytes(value, byteorder)
            for level, kind, value in ancillary
            if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT)
        ]
        source = IPv6Address(peer[0].partition("%")[0])
        if hops and is_solicitation(data, hops[0], source):
            self._schedule.solicited(asyncio.get_running_loop().time(), source)
            self._wake.set()

    def _close(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None


def open_socket(interface: str, index: int) -> socket.socket:
    """An ICMPv6 socket that hears only solicitations, and those on one interface; needs root."""
    made = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    try:
        made.setblocking(False)
        blocked = [0xFFFFFFFF] * 8
        blocked[ROUTER_SOLICITATION >> 5] &= ~(1 << (ROUTER_SOLICITATION & 31))
        made.setsockopt(socket.IPPROTO_ICMPV6, ICMP6_FILTER, struct.pack("=8I", *blocked))
        made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, HOP_LIMIT)
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, HOP_LIMIT)
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        group = struct.pack("=16sI", ALL_ROUTERS.packed, index)
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group)
    except OSError:
        made.close()
        raise
    return made
