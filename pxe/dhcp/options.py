"""The option area of a DHCP message: tag, length, value (RFC 2132, 2; RFC 3396)."""

from collections.abc import Mapping
from enum import IntEnum
from ipaddress import IPv4Address
from typing import Final

from pxe.errors import DecodeError

PAD: Final = 0  # RFC 2132, 3.1
SUBNET_MASK: Final = 1  # RFC 2132, 3.3
ROUTERS: Final = 3  # RFC 2132, 3.5
DNS_SERVERS: Final = 6  # RFC 2132, 3.8
HOST_NAME: Final = 12  # RFC 2132, 3.14
DOMAIN_NAME: Final = 15  # RFC 2132, 3.17
BROADCAST_ADDRESS: Final = 28  # RFC 2132, 5.3
TIME_SERVERS: Final = 42  # RFC 2132, 8.3: NTP
VENDOR_OPTIONS: Final = 43  # RFC 2132, 8.4; for PXE clients PXE 2.1, 2.2.3
REQUESTED_ADDRESS: Final = 50  # RFC 2132, 9.1
LEASE_TIME: Final = 51  # RFC 2132, 9.2
OVERLOAD: Final = 52  # RFC 2132, 9.3
MESSAGE_TYPE: Final = 53  # RFC 2132, 9.6
SERVER_IDENTIFIER: Final = 54  # RFC 2132, 9.7
PARAMETER_LIST: Final = 55  # RFC 2132, 9.8
ERROR_MESSAGE: Final = 56  # RFC 2132, 9.9
MAXIMUM_SIZE: Final = 57  # RFC 2132, 9.10
RENEWAL_TIME: Final = 58  # RFC 2132, 9.11: T1
REBINDING_TIME: Final = 59  # RFC 2132, 9.12: T2
VENDOR_CLASS: Final = 60  # RFC 2132, 9.13
CLIENT_IDENTIFIER: Final = 61  # RFC 2132, 9.14; echoed by RFC 6842
TFTP_SERVER_NAME: Final = 66  # RFC 2132, 9.4
BOOT_FILE_NAME: Final = 67  # RFC 2132, 9.5
USER_CLASS: Final = 77  # RFC 3004
RELAY_INFORMATION: Final = 82  # RFC 3046
ARCHITECTURE: Final = 93  # RFC 4578, 2.1
NETWORK_INTERFACE: Final = 94  # RFC 4578, 2.2
MACHINE_IDENTIFIER: Final = 97  # RFC 4578, 2.3
IPXE_OPTIONS: Final = 175  # ipxe.org, "DHCP options": encapsulated
END: Final = 255  # RFC 2132, 3.2

PXE_DISCOVERY_CONTROL: Final = 6  # in option 43: PXE 2.1, table 2-1
IPXE_HTTP: Final = 19  # in option 175: the program can fetch by HTTP
IPXE_NO_PROXY: Final = 176  # in option 175: do not wait for a proxy DHCP server


class MessageType(IntEnum):
    """Values of option 53 (RFC 2132, 9.6)."""

    DISCOVER = 1
    OFFER = 2
    REQUEST = 3
    DECLINE = 4
    ACK = 5
    NAK = 6
    RELEASE = 7
    INFORM = 8

    __hash__ = int.__hash__  # as a key for each packet; the enumeration's own is Python code


MESSAGE_TYPES: Final[Mapping[int, MessageType]] = {member.value: member for member in MessageType}
"""Looked up for each packet, where calling the enumeration would take five times as long."""
NAMES: Final[Mapping[bytes, str]] = {bytes((member,)): member.name for member in MessageType}
"""By the value of option 53, likewise."""

FIXED_LENGTHS: Final[Mapping[int, int]] = {
    REQUESTED_ADDRESS: 4,
    LEASE_TIME: 4,
    OVERLOAD: 1,
    MESSAGE_TYPE: 1,
    SERVER_IDENTIFIER: 4,
    MAXIMUM_SIZE: 2,
}
"""Octets of the options whose value we read as a number or an address."""

LONGEST = 255
"""Octets of one instance of an option; longer values are split (RFC 3396, 5)."""


def parse(data: bytes, start: int, end: int, into: dict[int, bytes]) -> None:
    """Read the options of `data[start:end]`, joining what came in several parts (RFC 3396, 7).

    A missing end option is accepted. Raises DecodeError for an option that is cut off.
    """
    while start < end:
        code = data[start]
        if code == PAD:
            start += 1
            continue
        if code == END:
            return
        value = start + 2
        if value > end:
            raise DecodeError(f"option {code} has no length")
        start = value + data[value - 1]
        if start > end:
            raise DecodeError(f"option {code} has {data[value - 1]} octets, {end - value} are left")
        if code in into:
            into[code] += data[value:start]
        else:
            into[code] = data[value:start]


def check_lengths(options: Mapping[int, bytes]) -> None:
    """Raises DecodeError when an option of fixed length has another one."""
    for code in options:
        if code in FIXED_LENGTHS and len(options[code]) != FIXED_LENGTHS[code]:
            length = FIXED_LENGTHS[code]
            raise DecodeError(f"option {code} has {len(options[code])} octets, not {length}")


def option(code: int, value: bytes) -> bytes:
    """One option as it goes on the wire, in as many parts as its length needs (RFC 3396, 5)."""
    if len(value) <= LONGEST:
        return bytes((code, len(value))) + value
    return b"".join(
        option(code, value[start : start + LONGEST]) for start in range(0, len(value), LONGEST)
    )


def encapsulate(options: Mapping[int, bytes]) -> bytes:
    """The value of an option that holds options (43, 175)."""
    return b"".join(option(code, value) for code, value in options.items()) + bytes((END,))


def encapsulated(value: bytes) -> Mapping[int, bytes]:
    """What an option that holds options (43, 175) holds; nothing when it is malformed."""
    found: dict[int, bytes] = {}
    try:
        parse(value, 0, len(value), found)
    except DecodeError:
        return {}
    return found


def user_classes(value: bytes) -> tuple[bytes, ...]:
    """The values of option 77: RFC 3004 counts each one, iPXE sends a bare word."""
    classes: list[bytes] = []
    start = 0
    while start < len(value):
        length = value[start]
        start += 1 + length
        if length == 0 or start > len(value):
            return (value,)
        classes.append(value[start - length : start])
    return tuple(classes)


def addresses(*values: IPv4Address) -> bytes:
    """The value of an option that lists addresses."""
    return b"".join(value.packed for value in values)
