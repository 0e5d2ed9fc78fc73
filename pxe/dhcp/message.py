"""DHCP messages: bytes to values and back (RFC 951, 1542, 2131, 2132, 3396)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Address
from struct import Struct, unpack
from types import MappingProxyType
from typing import Final, NamedTuple

from pxe.addresses import MacAddress
from pxe.dhcp import options as o
from pxe.dhcp.options import MessageType
from pxe.errors import DecodeError

BOOT_REQUEST: Final = 1  # RFC 2131, 2: op
BOOT_REPLY: Final = 2
ETHERNET: Final = 1  # htype, IANA "ARP Parameters"
ETHERNET_LENGTH: Final = 6
BROADCAST: Final = 0x8000  # RFC 2131, 2, figure 2
MAGIC: Final = b"\x63\x82\x53\x63"  # RFC 2131, 3
NOWHERE: Final = IPv4Address(0)

HEADER: Final = Struct("!BBBBIHHIIII6s10x64s128s4s")
"""op, htype, hlen, hops, xid, secs, flags, four addresses, chaddr, sname, file, magic."""
SNAME = slice(44, 108)
FILE = slice(108, 236)
SNAME_ROOM: Final = 64
FILE_ROOM: Final = 128
FILE_OVERLOADED: Final = 1  # bits of option 52 (RFC 2132, 9.3)
SNAME_OVERLOADED: Final = 2

SMALLEST: Final = 300
"""Octets; shorter replies are padded, for relays and clients of BOOTP times (RFC 1542, 2.1)."""
USUAL_LIMIT: Final = 576 - 28
"""Octets that every client takes (RFC 2131, 2), less the IP and UDP headers."""
LARGEST_LIMIT: Final = 1500 - 28
"""Octets of one Ethernet frame; firmware claims up to 65280 (option 57) and cannot join parts."""
LARGEST: Final = 4096
"""Octets of a message that we look at."""


_ipv4 = lru_cache(8192)(IPv4Address)
"""The same addresses come and go; making one takes as long as reading ten options."""
_mac = lru_cache(8192)(MacAddress)


class Message(NamedTuple):
    """One DHCP message on Ethernet.

    A tuple, as are the other values made for each packet: a frozen dataclass takes four times as
    long to make.
    """

    op: int
    xid: int
    chaddr: MacAddress
    hops: int = 0
    secs: int = 0
    flags: int = 0
    ciaddr: IPv4Address = NOWHERE
    yiaddr: IPv4Address = NOWHERE
    siaddr: IPv4Address = NOWHERE
    giaddr: IPv4Address = NOWHERE
    sname: bytes = b""
    """Up to its first NUL; empty when it held options."""
    file: bytes = b""
    """Up to its first NUL; empty when it held options."""
    options: Mapping[int, bytes] = MappingProxyType({})
    """Whole values by tag, without pad, overload and end, which `encode` adds."""

    @property
    def broadcast(self) -> bool:
        """Whether the client cannot receive unicast before it has its address."""
        return bool(self.flags & BROADCAST)

    @property
    def type(self) -> MessageType | None:
        """Option 53; None in BOOTP."""
        value = self.options.get(o.MESSAGE_TYPE)
        return None if value is None else o.MESSAGE_TYPES[value[0]]

    @property
    def requested(self) -> IPv4Address | None:
        """Option 50."""
        return self._address(o.REQUESTED_ADDRESS)

    @property
    def server(self) -> IPv4Address | None:
        """Option 54."""
        return self._address(o.SERVER_IDENTIFIER)

    @property
    def limit(self) -> int:
        """Octets of the longest UDP payload that the sender takes (option 57)."""
        value = self.options.get(o.MAXIMUM_SIZE)
        if value is None:
            return USUAL_LIMIT
        return min(max(int.from_bytes(value) - 28, USUAL_LIMIT), LARGEST_LIMIT)

    @property
    def architectures(self) -> tuple[int, ...]:
        """Option 93, best first; an odd last octet is left out."""
        value = self.options.get(o.ARCHITECTURE, b"")
        count = len(value) // 2
        return unpack(f"!{count}H", value[: count * 2])

    @property
    def vendor_class(self) -> bytes:
        """Option 60 without NULs at its end."""
        return self.options.get(o.VENDOR_CLASS, b"").rstrip(b"\0")

    @property
    def user_classes(self) -> tuple[bytes, ...]:
        """Option 77, in the spelling of RFC 3004 or of iPXE."""
        return o.user_classes(self.options.get(o.USER_CLASS, b""))

    def _address(self, code: int) -> IPv4Address | None:
        value = self.options.get(code)
        return None if value is None else _ipv4(value)

    def encode(self, limit: int = USUAL_LIMIT) -> bytes:
        """The message as it goes on the wire, at most `limit` octets.

        Options that find no room go into `file` and `sname` where these are empty.
        Raises ValueError when that is not enough, or a value does not fit its field.
        """
        (
            op, xid, chaddr, hops, secs, flags,
            ciaddr, yiaddr, siaddr, giaddr, sname, file, options,
        ) = self  # fmt: skip
        if len(sname) > SNAME_ROOM or len(file) > FILE_ROOM:
            raise ValueError("sname or file is too long")
        area = b"".join([_written(code, value) for code, value in options.items()])
        if HEADER.size + len(area) + 1 > limit:
            area, file, sname = self._spread(limit - HEADER.size)
        header = HEADER.pack(
            op, ETHERNET, ETHERNET_LENGTH, hops, xid, secs, flags,
            int(ciaddr), int(yiaddr), int(siaddr), int(giaddr),
            chaddr.octets, sname, file, MAGIC,
        )  # fmt: skip
        return (header + area + b"\xff").ljust(SMALLEST, b"\0")

    def _spread(self, room: int) -> tuple[bytes, bytes, bytes]:
        """Options area (without its end), file and sname, as option 52 allows."""
        areas = [_Area(room - 4)]  # option 52 itself and the end
        file = sname = None
        if not self.file:
            areas.append(file := _Area(FILE_ROOM - 1))
        if not self.sname:
            areas.append(sname := _Area(SNAME_ROOM - 1))
        for code, value in self.options.items():
            _place(code, value, areas)
        overload = FILE_OVERLOADED * (file is not None) | SNAME_OVERLOADED * (sname is not None)
        if overload:
            areas[0].filled += o.option(o.OVERLOAD, bytes((overload,)))
        return (
            bytes(areas[0].filled),
            self.file if file is None else bytes(file.filled) + b"\xff",
            self.sname if sname is None else bytes(sname.filled) + b"\xff",
        )


@dataclass(slots=True)
class _Area:
    size: int
    filled: bytearray = field(default_factory=bytearray)

    @property
    def room(self) -> int:
        return self.size - len(self.filled)


def _place(code: int, value: bytes, areas: Sequence[_Area]) -> None:
    """Put an option where it fits whole, else in parts, in the order that readers join them."""
    whole = _written(code, value)
    for area in areas:
        if len(whole) <= area.room:
            area.filled += whole
            return
    overhead = len(_written(code, b""))
    for area in areas:
        while value and area.room > overhead:
            part = min(area.room - overhead, o.LONGEST)
            area.filled += _written(code, value[:part])
            value = value[part:]
    if value:
        raise ValueError(f"option {code} finds no room")


_ADDED_BY_ENCODE = frozenset({o.PAD, o.OVERLOAD, o.END})


@lru_cache(1024)
def _written(code: int, value: bytes) -> bytes:
    if code in _ADDED_BY_ENCODE:
        raise ValueError(f"option {code} is not for callers to set")
    if code == o.BOOT_FILE_NAME:
        # Some firmware reads the name up to a NUL, past its length: give it one. Without,
        # the end option becomes part of the name, and a TFTP request asks for `name\xff`.
        return o.option(code, value) + b"\0"
    return o.option(code, value)


def decode(data: bytes) -> Message:
    """Read one UDP payload. Raises DecodeError for anything that is not DHCP on Ethernet."""
    size = len(data)
    if size < HEADER.size or size > LARGEST:
        raise DecodeError(f"{size} octets are not a DHCP message")
    (
        op, htype, hlen, hops, xid, secs, flags,
        ciaddr, yiaddr, siaddr, giaddr, chaddr, sname, file, magic,
    ) = HEADER.unpack_from(data)  # fmt: skip
    if magic != MAGIC:
        raise DecodeError("the magic cookie is missing")
    if op != BOOT_REQUEST and op != BOOT_REPLY:
        raise DecodeError(f"op is {op}, neither request nor reply")
    if htype != ETHERNET or hlen != ETHERNET_LENGTH:
        raise DecodeError(f"hardware type {htype} with {hlen} octets is not Ethernet")
    options: dict[int, bytes] = {}
    o.parse(data, HEADER.size, size, options)
    o.check_lengths(options)
    if o.OVERLOAD in options:
        sname, file = _read_overloaded(data, options)
    if o.MESSAGE_TYPE in options and options[o.MESSAGE_TYPE][0] not in o.MESSAGE_TYPES:
        raise DecodeError(f"message type {options[o.MESSAGE_TYPE][0]} is not one of RFC 2131")
    return Message(
        op, xid, _mac(chaddr), hops, secs, flags,
        _ipv4(ciaddr) if ciaddr else NOWHERE,
        _ipv4(yiaddr) if yiaddr else NOWHERE,
        _ipv4(siaddr) if siaddr else NOWHERE,
        _ipv4(giaddr) if giaddr else NOWHERE,
        sname.partition(b"\0")[0], file.partition(b"\0")[0], options,
    )  # fmt: skip


def _read_overloaded(data: bytes, options: dict[int, bytes]) -> tuple[bytes, bytes]:
    """Read the options of `file`, then of `sname` (RFC 3396, 5), and return both fields' text."""
    overload = options.pop(o.OVERLOAD)[0]
    if not 1 <= overload <= FILE_OVERLOADED | SNAME_OVERLOADED:
        raise DecodeError(f"option {o.OVERLOAD} is {overload}, not 1, 2 or 3")
    sname, file = data[SNAME], data[FILE]
    if overload & FILE_OVERLOADED:
        o.parse(data, FILE.start, FILE.stop, options)
        file = b""
    if overload & SNAME_OVERLOADED:
        o.parse(data, SNAME.start, SNAME.stop, options)
        sname = b""
    options.pop(o.OVERLOAD, None)
    o.check_lengths(options)
    return sname, file
