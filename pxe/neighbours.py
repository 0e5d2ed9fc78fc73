"""The kernel's table of neighbours: who has which address, written and read by netlink."""

import errno
import socket
from collections import OrderedDict
from contextlib import closing, suppress
from ipaddress import IPv4Address
from sys import byteorder
from typing import Any

from pyroute2.netlink import NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST
from pyroute2.netlink.rtnl import RTM_DELNEIGH, RTM_GETNEIGH, RTM_NEWNEIGH
from pyroute2.netlink.rtnl.ndmsg import NUD_REACHABLE, ndmsg

from pxe.addresses import MacAddress
from pxe.errors import InterfaceUnusable
from pxe.netlink import ask, index_of, mac_of, open_netlink


def neighbour(interface: str, address: IPv4Address) -> MacAddress | None:
    """Who has `address` on the segment, by the kernel's last ARP exchange; None: nobody it knows.

    A peer that we have just sent packets to is known.
    """
    question = ndmsg()
    question["family"] = socket.AF_INET
    question["ifindex"] = index_of(interface)
    question["attrs"] = [("NDA_DST", str(address))]
    with closing(open_netlink()) as netlink:
        for found in ask(netlink, question, RTM_GETNEIGH):
            return mac_of(found.get_attr("NDA_LLADDR"))
    return None


class NeighbourTable:
    """Neighbour entries that let a datagram reach a client which cannot answer ARP yet.

    The entries are NUD_REACHABLE: should we die, the kernel ages them as any other. No more than
    `capacity` of ours exist at once, because the kernel's table is small (1024 by default) and
    shared by all namespaces; the oldest makes room.
    """

    def __init__(self, capacity: int = 256) -> None:
        self._capacity = capacity
        self._entries: OrderedDict[tuple[int, bytes], None] = OrderedDict()
        self._netlink: Any = open_netlink()
        self._socket = self._netlink.socket
        self._socket.setblocking(False)
        self._add = _NeighbourMessage(RTM_NEWNEIGH, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE)
        self._delete = _NeighbourMessage(RTM_DELNEIGH, 0)

    def add(self, interface: str, address: IPv4Address, mac: MacAddress) -> None:
        """Make the kernel send packets for `address` to `mac` at once, without asking by ARP.

        Raises InterfaceUnusable when the interface is gone, is down or takes no entries.
        """
        index, packed = index_of(interface), address.packed
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
        key = (index_of(interface), address.packed)
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
