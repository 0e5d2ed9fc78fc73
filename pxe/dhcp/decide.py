"""What to answer a DHCP request: a pure function of the request and of what we know."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from typing import Final, NamedTuple

from pxe.addresses import MacAddress
from pxe.boot import Firmware
from pxe.dhcp.bootfile import NoBoot, boot_file, firmware_of
from pxe.dhcp.leases import OFFER_TIME, LeaseBook
from pxe.dhcp.message import BOOT_REQUEST, NOWHERE, Message
from pxe.dhcp.options import MESSAGE_TYPE, NAMES, MessageType
from pxe.dhcp.reply import (
    BOOT_SERVICE_PORT,
    Arrival,
    Boot,
    Destination,
    Server,
    destination,
    refusal,
    reply_message,
)
from pxe.reservation import Lease, Reservation

MOST_HOPS: Final = 16  # RFC 1542, 4.1.1
REFUSAL: Final = bytes((MessageType.NAK,))
NOBODY: Final = MacAddress(bytes(6))
FRESH: Final = 3 / 4
"""A lease with this share of its time left is told again as it is, without writing it anew: a
machine that boots asks three times in a minute, as firmware, as iPXE and as its system. That holds
for who chose us by our identifier; see `LeaseBook.confirmed`."""

STEP: Final = 1 / 60
"""What is left of a lease is told in this share of its time, rounded down, so that the same reply
is right for a while."""
ALWAYS: Final = datetime.max.replace(tzinfo=UTC)
NEVER: Final = datetime.min.replace(tzinfo=UTC)


class Reply(NamedTuple):
    """Send this message, after noting what it promises."""

    message: Message
    to: Destination
    rule: str
    """Why, for the log and `explain`."""
    limit: int
    """Octets that the client takes."""
    boot: Boot | None = None
    offered: Lease | None = None
    """Hold this address of the pool for the client for a short time."""
    granted: Lease | None = None
    """Keep this lease durably before the reply goes out."""
    until: datetime = NEVER
    """To this moment the same question, whatever its xid and secs, gets the same reply, unless the
    reservation, the server or, for who has no reservation, the pool changes."""

    @property
    def subject(self) -> str:
        """OFFER, ACK or NAK."""
        return NAMES[self.message.options[MESSAGE_TYPE]]

    @property
    def is_refusal(self) -> bool:
        """Whether it is a NAK."""
        return self.message.options[MESSAGE_TYPE] == REFUSAL


class Silence(NamedTuple):
    """Send nothing."""

    reason: str
    firmware: Firmware | None = None
    released: Lease | None = None
    """The client gave this lease of the pool back."""
    declined: IPv4Address | None = None
    """Another machine uses this address of the pool."""
    left: bool = False
    """Another server answers this client: what the store has of it may change without us."""
    alarm: bool = False
    """A person must look at this."""
    pool_is_full: bool = False


class _Question(NamedTuple):
    request: Message
    type: MessageType
    arrival: Arrival
    reservation: Reservation | None
    book: LeaseBook | None
    server: Server
    now: datetime


def decide(
    request: Message,
    reservation: Reservation | None,
    book: LeaseBook | None,
    server: Server,
    arrival: Arrival,
    now: datetime,
) -> Reply | Silence:
    """The answer to one request; `book` is None where no discovery pool is configured.

    Changes nothing: the caller notes what the answer offers, grants, releases or declines.
    """
    type = request.type
    if type is None:
        return Silence("BOOTP without option 53 is not served")
    if reason := _unfit(request, type, server):
        return Silence(reason)
    if reservation is None and server.settings.pool is None:
        return Silence(f"{request.chaddr} has no reservation and there is no discovery pool")
    question = _Question(request, type, arrival, reservation, book, server, now)
    if server.is_proxy or arrival.port == BOOT_SERVICE_PORT:
        return _tell_boot_file(question)
    return _ANSWERS[type](question)


def _unfit(request: Message, type: MessageType, server: Server) -> str | None:
    """Why nobody may be answered who asks like this."""
    if request.op != BOOT_REQUEST:
        return "it is a reply, not a request"
    if type not in _ANSWERS:
        return f"{type.name} is for servers to send"
    if request.hops > MOST_HOPS:
        return f"it came through {request.hops} relays: a loop"
    if request.chaddr.is_multicast or request.chaddr == NOBODY:
        return f"{request.chaddr} is not the address of a machine"
    giaddr, ciaddr = request.giaddr, request.ciaddr
    if giaddr != NOWHERE and (not server.serves(giaddr) or giaddr == server.settings.address):
        return f"the relay {giaddr} serves another subnet than {server.settings.subnet}"
    if ciaddr != NOWHERE and not server.serves(ciaddr) and type is not MessageType.REQUEST:
        # A client from elsewhere asks to keep its address; anything else would reflect packets.
        return f"{ciaddr} is not our subnet's"
    return None


def _offer(question: _Question) -> Reply | Silence:
    """DISCOVER (RFC 2131, 4.3.1)."""
    request, reservation = question.request, question.reservation
    if reservation is not None:
        return _assign(question, MessageType.OFFER, reservation.address)
    if question.book is None:
        return Silence("the discovery pool is not ready")
    address = question.book.choose(request.chaddr, request.requested, question.now)
    if address is None:
        return Silence("every address of the discovery pool is held", pool_is_full=True)
    return _assign(question, MessageType.OFFER, address)


def _acknowledge(question: _Question) -> Reply | Silence:
    """REQUEST; the four cases are told apart as in RFC 2131, 4.3.2, table 4.

    state         server identifier   requested address   ciaddr
    selecting     ours                the offered         zero
    init-reboot   -                   the last            zero
    renewing      -                   -                   the current
    rebinding     -                   -                   the current
    """
    request, server = question.request, question.server
    chosen = request.server
    if chosen is not None and chosen != server.settings.address:
        return Silence(f"it chose the server {chosen}", left=True)
    wanted = request.requested or request.ciaddr
    if wanted == NOWHERE:
        return Silence("a REQUEST that names no address")
    if request.ciaddr not in (NOWHERE, wanted):
        return Silence(f"a REQUEST that names two addresses, {wanted} and {request.ciaddr}")
    if question.reservation is not None:
        if wanted == question.reservation.address:
            return _assign(question, MessageType.ACK, wanted)
        host = question.reservation.host
        return _refuse(question, f"{wanted} is not the address reserved for {host}")
    if question.book is None:
        return Silence("the discovery pool is not ready")
    # RFC 2131 would have us silent about leases that we do not know. Here an unknown lease is one
    # of another server with the same pool, or one that was lost: the store decides.
    if question.book.is_free_for(request.chaddr, wanted, question.now):
        return _assign(question, MessageType.ACK, wanted)
    return _refuse(question, f"{wanted} is not free in the discovery pool")


def _inform(question: _Question) -> Reply | Silence:
    """INFORM (RFC 2131, 4.3.5): configuration for a client that has its address."""
    if question.request.ciaddr == NOWHERE:
        return Silence("an INFORM that names no address")
    return _assign(question, MessageType.ACK, NOWHERE)


def _decline(question: _Question) -> Silence:
    """DECLINE (RFC 2131, 4.3.3): the client found its address in use."""
    request, reservation = question.request, question.reservation
    if request.server not in (None, question.server.settings.address):
        return Silence(f"it declined an address of the server {request.server}")
    if reservation is not None:
        return Silence(
            f"{reservation.host} declined {request.requested}: "
            f"another machine uses the address reserved for it",
            alarm=request.requested == reservation.address,
        )
    held = question.book.lease_of(request.chaddr) if question.book else None
    if held is None or held.address != request.requested:
        return Silence(f"it declined {request.requested}, which it does not hold")
    return Silence(
        f"it declined {held.address}: another machine uses it",
        released=held, declined=held.address, alarm=True,
    )  # fmt: skip


def _release(question: _Question) -> Silence:
    """RELEASE (RFC 2131, 4.3.4)."""
    request = question.request
    if question.reservation is not None:
        return Silence(f"it released {request.ciaddr}; the reservation stays")
    if request.server not in (None, question.server.settings.address):
        return Silence(f"it released an address of the server {request.server}")
    held = question.book.lease_of(request.chaddr) if question.book else None
    if held is None or held.address != request.ciaddr:
        return Silence(f"it released {request.ciaddr}, which it does not hold")
    return Silence(f"it released {held.address}", released=held)


_ANSWERS: Final[Mapping[MessageType, Callable[[_Question], Reply | Silence]]] = {
    MessageType.DISCOVER: _offer,
    MessageType.REQUEST: _acknowledge,
    MessageType.INFORM: _inform,
    MessageType.DECLINE: _decline,
    MessageType.RELEASE: _release,
}


def _assign(question: _Question, type: MessageType, address: IPv4Address) -> Reply | Silence:
    """An OFFER or ACK with everything that belongs to it."""
    request, reservation, server = question.request, question.reservation, question.server
    if address != NOWHERE and not server.serves(address):
        return Silence(f"{address} is not in our subnet {server.settings.subnet}")
    boot = _boot(question)
    if isinstance(boot, NoBoot):
        return Silence(boot.reason)
    if address == NOWHERE or reservation is not None:
        offered = granted = None
        time, until = server.settings.lease_time, ALWAYS
    else:
        offered, granted, time, until = _lease(question, type, address)
    message = reply_message(
        request, type, server,
        address=address, time=time, reservation=reservation, boot=boot,
    )  # fmt: skip
    rule = f"reserved for {reservation.host}" if reservation else "discovery pool"
    return Reply(
        message, destination(request, message, question.arrival), rule, request.limit,
        boot, offered, granted, until,
    )  # fmt: skip


def _lease(
    question: _Question, type: MessageType, address: IPv4Address
) -> tuple[Lease | None, Lease | None, timedelta, datetime]:
    """What to hold for the client, what to store, the time to promise, and `Reply.until`."""
    client, now, book = question.request.chaddr, question.now, question.book
    whole = question.server.settings.lease_time
    # To whom names no server another one may have answered: the store decides, each time.
    for_us = type is MessageType.OFFER or question.request.server is not None
    known = book.confirmed(client) if book is not None and for_us else None
    if known is not None and known.address == address:
        left = known.expires - now
        if left >= whole * FRESH:
            told = left // (whole * STEP) * (whole * STEP)
            return None, None, told, known.expires - max(told, whole * FRESH)
    if type is MessageType.OFFER:
        return Lease(client, address, now + OFFER_TIME), None, whole, NEVER
    return None, Lease(client, address, now + whole), whole, NEVER


def _boot(question: _Question) -> Boot | NoBoot | None:
    """What to load; None for a client that is not network booting."""
    firmware = firmware_of(question.request)
    if firmware is None:
        return None
    server = question.server
    file = boot_file(
        firmware, question.request.chaddr, question.reservation, server.settings, server.programs
    )
    return file if isinstance(file, NoBoot) else Boot(firmware, file)


def _tell_boot_file(question: _Question) -> Reply | Silence:
    """Boot information without an address: proxy mode, and port 4011 in any mode (PXE 2.1, 2.2)."""
    request, arrival = question.request, question.arrival
    boot = _boot(question)
    if boot is None:
        return Silence("it is not network booting")
    if isinstance(boot, NoBoot):
        return Silence(boot.reason)
    expected = MessageType.DISCOVER if arrival.port != BOOT_SERVICE_PORT else MessageType.REQUEST
    if question.type is not expected:
        return Silence(f"{question.type.name} is for the DHCP server")
    if arrival.port == BOOT_SERVICE_PORT and not question.server.serves(arrival.peer):
        return Silence(f"{arrival.peer} on port {BOOT_SERVICE_PORT} is not in our subnet")
    type = MessageType.OFFER if expected is MessageType.DISCOVER else MessageType.ACK
    message = reply_message(request, type, question.server, boot=boot, configure=False)
    return Reply(
        message, destination(request, message, arrival), "boot file only", request.limit, boot,
        until=ALWAYS,
    )  # fmt: skip


def refuse(request: Message, server: Server, arrival: Arrival, reason: str) -> Reply:
    """A NAK: the client begins anew."""
    message = refusal(request, server, reason)
    return Reply(message, destination(request, message, arrival), reason, request.limit)


def _refuse(question: _Question, reason: str) -> Reply:
    return refuse(question.request, question.server, question.arrival, reason)
