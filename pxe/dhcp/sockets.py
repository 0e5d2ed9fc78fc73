"""The UDP sockets of a DHCP server: one interface, broadcasts, and our own address as source."""

import errno
import socket
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from ipaddress import IPv4Address
from typing import Final

from pxe.dhcp.batch import Batch, name_of, peer_of
from pxe.dhcp.message import LARGEST, LARGEST_LIMIT
from pxe.dhcp.reply import EVERYWHERE, Arrival, Destination
from pxe.errors import InterfaceUnusable

SO_RCVBUFFORCE: Final = 33  # socket(7): beyond net.core.rmem_max, for CAP_NET_ADMIN
RECEIVE_BUFFER: Final = 1024 * 1024
"""Octets, about 1,500 requests: what several racks send at once while leases go to a slow disk,
and less than what we answer before the first of them asks again."""

AT_ONCE: Final = 64
"""Datagrams for one call of the kernel."""


class DhcpSocket:
    """One port on one interface, never blocking."""

    def __init__(self, interface: str, address: IPv4Address, port: int) -> None:
        """Open the port; replies leave with `address` as their source.

        Raises InterfaceUnusable when the interface or the port cannot be had.
        """
        self.port = port
        self._arrived = Batch(AT_ONCE, LARGEST + 1)
        self._leaving = Batch(AT_ONCE, LARGEST_LIMIT)
        self._socket = _udp()
        self._telling = _udp()
        """For replies. Its source is our address without our telling it each time."""
        self._asking = _udp()
        """For replies that wait in the kernel until ARP found their destination. Relays that do
        not exist can fill its buffer; clients are served through the other."""
        try:
            self._open(interface, address, port)
        except OSError as error:
            self.close()
            raise _unusable(interface, port, error) from error

    def _open(self, interface: str, address: IPv4Address, port: int) -> None:
        for opened in (self._socket, self._telling, self._asking):
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode() + b"\0")
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        self._socket.bind(("", port))
        for sender in (self._telling, self._asking):
            sender.bind((str(address), port))
            # Nothing has this source, so the kernel gives it nothing to receive (udp(7)).
            sender.connect((str(EVERYWHERE), port))
        set_option = self._socket.setsockopt
        set_option(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        with suppress(PermissionError):
            set_option(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive(self, most: int) -> Sequence[tuple[bytes, Arrival]]:
        """What has arrived, about that many datagrams at most. Raises OSError."""
        found: list[tuple[bytes, Arrival]] = []
        while len(found) < most:
            got = self._arrived.receive(self._socket.fileno())
            found += [(data, _arrival(self.port, name)) for data, name in got]
            if len(got) < AT_ONCE:
                break
        return found

    def send(self, replies: Sequence[tuple[bytes, Destination]]) -> list[int]:
        """Send replies whose neighbour entries are there already.

        Returns error numbers in order, 0 for what left.
        """
        numbers = [0] * len(replies)
        places: tuple[list[int], list[int]] = ([], [])
        for place, (_, to) in enumerate(replies):
            places[to.neighbour is None and to.address != EVERYWHERE].append(place)
        for sender, mine in zip((self._telling, self._asking), places, strict=True):
            for start in range(0, len(mine), AT_ONCE):
                part = mine[start : start + AT_ONCE]
                named = [(replies[place][0], _name(replies[place][1])) for place in part]
                done = self._leaving.send(sender.fileno(), named)
                for place, number in zip(part, done, strict=True):
                    numbers[place] = number
        return numbers

    def close(self) -> None:
        for opened in (self._socket, self._telling, self._asking):
            opened.close()


def _udp() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)


@lru_cache(1024)
def _arrival(port: int, name: bytes) -> Arrival:
    """Nearly always from 0.0.0.0 or a relay: not worth making anew."""
    address, peer_port = peer_of(name)
    return Arrival(port, IPv4Address(address), peer_port)


def _name(to: Destination) -> bytes:
    return name_of(to.address.packed, to.port)


def refuse_shared_port(interface: str, port: int) -> None:
    """See that no other program on this machine takes the same packets.

    Servers such as dnsmasq allow their port to be shared, so opening ours would succeed and both
    would answer. Raises InterfaceUnusable.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as alone:
        try:
            alone.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode() + b"\0")
            alone.bind(("", port))
        except OSError as error:
            raise _unusable(interface, port, error) from error


def _unusable(interface: str, port: int, error: OSError) -> InterfaceUnusable:
    match error.errno:
        case errno.ENODEV:
            return InterfaceUnusable(f"interface {interface} does not exist")
        case errno.EPERM | errno.EACCES:
            unusable = InterfaceUnusable(f"port {port} on {interface} is for root only")
            unusable.add_note("run as root, or with CAP_NET_BIND_SERVICE and CAP_NET_RAW")
        case errno.EADDRINUSE:
            unusable = InterfaceUnusable(f"port {port} on {interface} is taken by another program")
            unusable.add_note(f"find it:  ss --udp --listening --processes 'sport = :{port}'")
        case _:
            unusable = InterfaceUnusable(f"port {port} on {interface}: {error.strerror}")
    return unusable
