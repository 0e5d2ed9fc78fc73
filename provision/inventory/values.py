"""Readers of single values: from the characters of a scalar to the type used inside.

Each takes the text and returns the value, or raises Mismatch with what was expected.
"""

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from enum import Enum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import TypeVar
from urllib.parse import urlsplit

from kickstarts.errors import BadValue
from kickstarts.plan import BOND_MODES, MAX_VLAN, Layout
from kickstarts.values import SHAPES, check
from provision.inventory.problems import nearest
from pxe.addresses import MacAddress
from pxe.reservation import Pool

E = TypeVar("E", bound=Enum)


class Mismatch(ValueError):
    """A value is not what its key takes; `expected` completes `found X, expected ...`."""

    def __init__(self, expected: str, hint: str | None = None, *, secret: bool = False) -> None:
        super().__init__(expected)
        self.expected = expected
        self.hint = hint
        self.secret = secret
        """What stands there may be one, so nobody quotes it."""


MAX_TEXT = 1000
LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.IGNORECASE)
"""RFC 1123, 2.1: letters, digits and inner hyphens, at most 63."""

MAX_DOMAIN = 253
"""RFC 1035, 2.3.4: 255 octets with length bytes and root."""

MAX_INTERFACE = 15
"""IFNAMSIZ of <linux/if.h>, without its final zero."""

_BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_YAML_NUMBER = re.compile(r"[-+]?[0-9][0-9_]*(\.[0-9]*)?(e[-+]?[0-9]+)?|0x[0-9a-f]+", re.IGNORECASE)


def text(value: str) -> str:
    """One line of printable text."""
    if not value or len(value) > MAX_TEXT or not value.isprintable():
        raise Mismatch(f"one line of 1 to {MAX_TEXT} printable characters")
    return value


def word(value: str) -> str:
    """Text without white space, as a kernel argument, a serial number or a package name is."""
    if not value.isascii() or any(c.isspace() for c in text(value)):
        raise Mismatch("one ASCII word without white space")
    return value


def argument(value: str) -> str:
    """One word of a kernel command line that every loader's language leaves alone."""
    if not re.fullmatch(r"[!#%&()*+,\-./0-9:;<=>?@A-Z\[\]^_a-z|~]+", value):
        raise Mismatch(
            "one word of ASCII without white space, quotes, dollar, backquote, backslash and braces"
        )
    if value.startswith("initrd="):
        raise Mismatch("an argument, not a file", "name the file under the key initrd")
    return value


def arguments(value: str) -> tuple[str, ...]:
    """Several such words on one line."""
    return tuple(argument(part) for part in text(value).split())


def name(value: str) -> str:
    """A name that people choose for a rack, a role or a system."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", value):
        raise Mismatch("a name of letters, digits, '.', '_' and '-'")
    return value


def host_name(value: str) -> str:
    """One label of a host's name."""
    if not LABEL.fullmatch(value):
        hint = "the domain is written once, as cloud.domain" if "." in value else None
        expected = "a host name of letters, digits and inner hyphens, at most 63 (RFC 1123)"
        raise Mismatch(expected, hint)
    if value != value.lower():
        raise Mismatch("a host name in lower case", f"write {value.lower()}")
    return value


def domain(value: str) -> str:
    """A DNS domain name without a dot at its end."""
    labels = value.split(".")
    if len(value) > MAX_DOMAIN or not all(LABEL.fullmatch(label) for label in labels):
        raise Mismatch("a domain name such as cloud.example.org")
    return value.lower()


def boolean(value: str) -> bool:
    """YAML's several spellings of true and false."""
    try:
        return _BOOLEANS[value.lower()]
    except KeyError:
        raise Mismatch("true or false") from None


def port(value: str) -> int:
    """A TCP port."""
    if not value.isdecimal() or not value.isascii() or not 1 <= int(value[:6]) <= 0xFFFF:
        raise Mismatch("a port between 1 and 65535")
    return int(value)


def duration(value: str) -> timedelta:
    """A time such as 90s, 30m, 2h or 1d."""
    match = re.fullmatch(r"([0-9]{1,7})\s*([smhd])", value)
    if not match:
        raise Mismatch("a number and a unit such as 90s, 30m, 2h or 1d")
    return timedelta(seconds=int(match[1]) * _UNITS[match[2]])


def lease_time(value: str) -> timedelta:
    """How long a DHCP lease lasts."""
    time = duration(value)
    if not timedelta(minutes=1) <= time <= timedelta(days=30):
        raise Mismatch("a time between 1m and 30d")
    return time


def address(value: str) -> IPv4Address:
    """An IPv4 address of one machine."""
    try:
        found = IPv4Address(value)
    except ValueError:
        hint = "leave the prefix length to network.subnet" if "/" in value else None
        raise Mismatch("an IPv4 address such as 10.20.0.11", hint) from None
    if found.is_multicast or found.is_unspecified or found == IPv4Address("255.255.255.255"):
        raise Mismatch("the IPv4 address of one machine, not a multicast or broadcast one")
    return found


def address_with_prefix(value: str) -> IPv4Interface:
    """An IPv4 address of one machine with its network's prefix length."""
    expected = "an IPv4 address with a prefix length such as 10.30.0.11/24"
    bare, slash, length = value.partition("/")
    if not slash:
        raise Mismatch(expected, f"write {value}/24" if "." in value else None)
    try:
        found = IPv4Interface((address(bare), int(length)))
    except (ValueError, Mismatch):
        raise Mismatch(expected) from None
    network = found.network
    if network.prefixlen <= 30 and found.ip in (network[0], network[-1]):
        raise Mismatch(f"{expected}, neither the network's own nor its broadcast address")
    return found


def vlan(value: str) -> int:
    """The number of a VLAN."""
    if not value.isdecimal() or not value.isascii() or not 1 <= int(value[:6]) <= MAX_VLAN:
        raise Mismatch(f"a VLAN's number between 1 and {MAX_VLAN}")
    return int(value)


def bond_mode(value: str) -> str:
    """How the ports of a bond share their work."""
    return one_of({mode: mode for mode in BOND_MODES})(value)


def subnet(value: str) -> IPv4Network:
    """An IPv4 network in prefix notation."""
    expected = "an IPv4 network such as 10.20.0.0/22"
    try:
        loose = IPv4Network(value, strict=False)
    except ValueError:
        raise Mismatch(expected) from None
    if "/" not in value:
        raise Mismatch(expected, f"write the prefix length, for example {value}/24")
    if str(loose.network_address) != value.partition("/")[0]:
        raise Mismatch(f"{expected}, without host bits", f"write {loose}")
    if not 8 <= loose.prefixlen <= 30:
        raise Mismatch("a network with a prefix length between 8 and 30")
    return loose


def pool(value: str) -> Pool:
    """A range of addresses, both ends included."""
    first, dash, last = (part.strip() for part in value.partition("-"))
    if not dash:
        raise Mismatch("a range such as 10.20.3.1-10.20.3.250")
    ends = Pool(address(first), address(last))
    if ends.last < ends.first:
        raise Mismatch("a range whose first address is the lower one", f"write {last}-{first}")
    return ends


def mac(value: str) -> MacAddress:
    """The hardware address of one network port."""
    try:
        found = MacAddress.parse(value)
    except ValueError:
        raise Mismatch("a MAC address such as 52:54:00:aa:00:01") from None
    if found.octets == b"\xff" * 6:
        raise Mismatch("the MAC address of one port, not the broadcast address")
    if found.is_multicast:
        expected = "the MAC address of one port, not a multicast one (its first octet is odd)"
        raise Mismatch(expected, f"the first octet is {value[:2]}; a port's own is even")
    if not any(found.octets):
        raise Mismatch("the MAC address of one port, not zeros")
    return found


def relative_path(value: str) -> str:
    """A path that stays below its folder, in the form in which it is served."""
    if value.startswith("/") or ".." in text(value).split("/"):
        raise Mismatch("a path below its folder, without '..' and not beginning with '/'")
    segment = r"[A-Za-z0-9_+~@][A-Za-z0-9._+~@-]*"
    if not re.fullmatch(rf"{segment}(/{segment})*", value):
        raise Mismatch("a path of letters, digits and . _ ~ + @ - parted by single slashes")
    return value


def interface(value: str) -> str:
    """The name of a network interface."""
    if not re.fullmatch(rf"[A-Za-z0-9._@-]{{1,{MAX_INTERFACE}}}", value) or value in (".", ".."):
        raise Mismatch(f"an interface name of at most {MAX_INTERFACE} characters such as eth0")
    return value


def hexadecimal_id(value: str) -> str:
    """The vendor or product number of a PCI device."""
    if not re.fullmatch(r"[0-9a-f]{4}", value, re.IGNORECASE):
        hint = f'write "{value[2:].zfill(4)}"' if value.lower().startswith("0x") else None
        raise Mismatch('four hexadecimal digits in quotes such as "10de"', hint)
    return value.lower()


def looks_like_number(value: str) -> bool:
    """Whether YAML reads the plain scalar as a number, so that other tools lose its digits."""
    return _YAML_NUMBER.fullmatch(value) is not None


DISK_CHOICES = ("smallest", "largest", "first")
DISK_EXPECTED = (
    "smallest, largest, first, or a disk's serial number or path below /dev/disk/by-path"
)


def disk(value: str) -> str:
    """Which disk is written to."""
    if value in DISK_CHOICES:
        return value
    if value.startswith("/dev/"):
        hint = "names such as /dev/sda move between boots; a serial number does not"
        return _shaped("path", value, hint)
    if near := nearest(value, DISK_CHOICES):
        raise Mismatch(DISK_EXPECTED, f"write {near}")
    if len(value) < 3:
        raise Mismatch(DISK_EXPECTED)
    return _shaped("serial", value, None)


def _shaped(shape: str, value: str, hint: str | None) -> str:
    try:
        check(shape, "disk", value)
    except BadValue:
        raise Mismatch(DISK_EXPECTED, hint) from None
    return value


def layout(value: str) -> str:
    """How a disk is divided."""
    return one_of({each.value: each.value for each in Layout})(value)


def shape(name: str) -> Callable[[str], str]:
    """A value as answers take it."""

    def read(value: str) -> str:
        try:
            check(name, "", value)
        except BadValue:
            raise Mismatch(SHAPES[name][1]) from None
        return value

    return read


ssh_key = shape("key")


def password_hash(value: str) -> str:
    """A password as answers take it, which is never the password itself."""
    try:
        return shape("hash")(value)
    except Mismatch as mismatch:
        raise Mismatch(mismatch.expected, "mkpasswd --method=sha-512", secret=True) from None


user = shape("user")


def url(*schemes: str) -> Callable[[str], str]:
    """A URL with one of the schemes, a host, and no password in it."""

    def read(value: str) -> str:
        expected = f"a URL such as {schemes[0]}://10.21.0.11"
        try:
            parts = urlsplit(word(value))
            _ = parts.port
        except ValueError:
            raise Mismatch(expected) from None
        if parts.scheme not in schemes or not parts.hostname:
            raise Mismatch(expected)
        if parts.username is not None or parts.password is not None:
            hint = "write the user as `user:`; passwords belong into the secrets file"
            raise Mismatch(f"{expected} without a user or password", hint)
        return value

    return read


def choice(kind: type[E]) -> Callable[[str], E]:
    """One of the words that an enumeration knows."""
    return one_of({member.value: member for member in kind})


T = TypeVar("T")


def one_of(table: Mapping[str, T]) -> Callable[[str], T]:
    """One of the words of a table."""

    def read(value: str) -> T:
        if value in table:
            return table[value]
        near = nearest(value, table)
        words = ", ".join(table)
        raise Mismatch(f"one of {words}", f"did you mean '{near}'?" if near else None)

    return read
