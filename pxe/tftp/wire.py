"""TFTP packets: bytes to values and back (RFC 1350, RFC 2347)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum

# Of tftpy 0.8.7 only the OACK encoder is sound. Its request decoder knows nothing but ASCII and
# raises UnicodeDecodeError, takes an empty option for an error and walks byte by byte; ERR drops
# the message and has no code 0; ACK lets struct.error out; DAT wants one object for each block.
from tftpy.TftpPacketTypes import TftpPacketOACK

from pxe.errors import DecodeError

REQUEST_MAX = 512
"""Octets in a request (RFC 2347, page 3)."""

MESSAGE_MAX = 400
"""Octets of an error message: with its header never more than the smallest usual block."""

STRAY_END_OPTION = b"\xff"
"""Some ROMs take DHCP's end option (255) for the last letter of an unterminated option 67."""


class Opcode(IntEnum):
    """RFC 1350, section 5; OACK by RFC 2347."""

    RRQ = 1
    WRQ = 2
    DATA = 3
    ACK = 4
    ERROR = 5
    OACK = 6


class ErrorCode(IntEnum):
    """RFC 1350, appendix; 8 by RFC 2347."""

    UNDEFINED = 0
    NOT_FOUND = 1
    ACCESS_VIOLATION = 2
    DISK_FULL = 3
    ILLEGAL_OPERATION = 4
    UNKNOWN_TRANSFER = 5
    FILE_EXISTS = 6
    NO_SUCH_USER = 7
    OPTIONS_REFUSED = 8


class Mode(Enum):
    """How the octets of a file travel (RFC 1350, section 1); `mail` is obsolete there already."""

    OCTET = "octet"
    NETASCII = "netascii"


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """A client wants a file."""

    name: str
    """As in the catalog: slashes only, none in front, none doubled."""
    mode: Mode = Mode.OCTET
    options: tuple[tuple[str, str], ...] = ()
    """In the client's own order and spelling; a name appears once, whatever its case."""


@dataclass(frozen=True, slots=True)
class WriteRequest:
    """A client wants to leave a file here: never granted."""

    name: str


@dataclass(frozen=True, slots=True)
class Acknowledgment:
    """All blocks up to this one arrived (modulo 65536)."""

    block: int


@dataclass(frozen=True, slots=True)
class Failure:
    """An ERROR packet: the sender has ended the transfer."""

    code: int
    message: str


def decode_request(datagram: bytes) -> ReadRequest | WriteRequest:
    """Read what arrives on the well-known port.

    Raises DecodeError for all that is neither a read nor a write request.
    """
    if len(datagram) > REQUEST_MAX:
        raise DecodeError(f"a request of {len(datagram)} octets, at most {REQUEST_MAX} expected")
    opcode = int.from_bytes(datagram[:2]) if len(datagram) >= 2 else -1
    if opcode not in (Opcode.RRQ, Opcode.WRQ):
        raise DecodeError("neither a read nor a write request")
    *strings, rest = datagram[2:].split(b"\0")
    if len(strings) < 2:
        raise DecodeError("a request without a terminated file name and mode")
    name = _name(strings[0])
    if opcode == Opcode.WRQ:
        return WriteRequest(name)
    mode = strings[1].decode("ascii", "replace").lower()
    if mode not in (Mode.OCTET.value, Mode.NETASCII.value):
        raise DecodeError(f"mode {printable(mode)!r}, octet or netascii expected")
    return ReadRequest(name, Mode(mode), _options(strings[2:], rest))


def decode_reply(datagram: bytes) -> Acknowledgment | Failure:
    """Read what a client sends within a transfer.

    Raises DecodeError for all that is neither an ACK nor an ERROR.
    """
    if len(datagram) < 4:
        raise DecodeError(f"a packet of {len(datagram)} octets, at least 4 expected")
    opcode, number = int.from_bytes(datagram[:2]), int.from_bytes(datagram[2:4])
    match opcode:
        case Opcode.ACK:
            return Acknowledgment(number)
        case Opcode.ERROR:
            message = datagram[4:].split(b"\0", 1)[0].decode("utf-8", "replace")
            return Failure(number, printable(message))
        case _:
            raise DecodeError(f"opcode {opcode} within a transfer, ACK or ERROR expected")


def data_header(block: int) -> bytes:
    """The four octets in front of a block; numbers roll over to 0 after 65535."""
    return Opcode.DATA.to_bytes(2) + (block & 0xFFFF).to_bytes(2)


def encode_acknowledgment(block: int) -> bytes:
    """What a client sends for `block`: the server compares with it instead of parsing."""
    return Opcode.ACK.to_bytes(2) + (block & 0xFFFF).to_bytes(2)


def encode_error(code: ErrorCode, message: str) -> bytes:
    """An ERROR packet; messages are for people and stay in ASCII, which every ROM can show."""
    text = printable(message).encode("ascii", "replace")[:MESSAGE_MAX]
    return Opcode.ERROR.to_bytes(2) + code.to_bytes(2) + text + b"\0"


def encode_oack(options: Mapping[str, str]) -> bytes:
    """The options that the server accepted (RFC 2347)."""
    packet = TftpPacketOACK()
    packet.options = options
    return bytes(packet.encode().buffer)


def printable(text: str) -> str:
    """`text` with everything escaped that could forge a line in a log."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _name(raw: bytes) -> str:
    text = raw.rstrip(STRAY_END_OPTION).decode("utf-8", "replace").replace("\\", "/")
    return re.sub("/(?:\\.?/)+", "/", "/" + text)[1:]


def _options(strings: list[bytes], rest: bytes) -> tuple[tuple[str, str], ...]:
    options: dict[str, tuple[str, str]] = {}
    pairs = iter(strings)
    for raw_name in pairs:
        if not raw_name:  # some ROMs fill the packet up with zeros
            return tuple(options.values())
        raw_value = next(pairs, None)
        if raw_value is None:
            raise DecodeError("an option without a value")
        name = raw_name.decode("ascii", "replace")
        options.setdefault(name.lower(), (name, raw_value.decode("ascii", "replace")))
    if rest:
        raise DecodeError("an option that is not terminated")
    return tuple(options.values())
