"""What a reply consists of: its options, its boot part, and where it goes."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import IPv4Address
from typing import Final, NamedTuple

from pxe.addresses import MacAddress
from pxe.boot import Firmware, Platform
from pxe.dhcp import options as o
from pxe.dhcp.bootfile import HTTP_CLIENT, PXE_CLIENT
from pxe.dhcp.message import (
    BOOT_REPLY,
    BROADCAST,
    FILE_ROOM,
    NOWHERE,
    Message,
)
from pxe.dhcp.options import MessageType
from pxe.reservation import Reservation
from pxe.settings import DhcpMode, Settings

SERVER_PORT: Final = 67  # RFC 2131, 4.1
CLIENT_PORT: Final = 68
BOOT_SERVICE_PORT: Final = 4011  # PXE 2.1, 2.2.1: where proxy clients ask for their boot file
EVERYWHERE: Final = IPv4Address("255.255.255.255")

SKIP_DISCOVERY: Final = o.encapsulate({o.PXE_DISCOVERY_CONTROL: b"\x08"})
"""Load the boot file of this very reply: no menu, no boot server discovery (PXE 2.1, 2.2.3)."""
NO_PROXY: Final = o.encapsulate({o.IPXE_NO_PROXY: b"\x01"})
"""Spares iPXE the two seconds in which it waits for a proxy DHCP server."""

USUAL_REQUESTS: Final = bytes((o.SUBNET_MASK, o.ROUTERS, o.DNS_SERVERS, o.DOMAIN_NAME))
"""What a client gets that sends no option 55."""
PLAIN_BOUND: Final = 1024
"""Sets of options that a server keeps ready."""
_SECOND: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Server:
    """What the server knows before anyone asks."""

    settings: Settings
    programs: Collection[str]
    """Names of the boot programs that can be loaded from us."""
    configuration: Mapping[int, bytes] = field(init=False, repr=False)
    """Options that are the same for everybody, for those who ask for them."""
    identifier: bytes = field(init=False, repr=False)
    is_proxy: bool = field(init=False, repr=False)
    """Whether another server gives the addresses."""
    _plain: dict[tuple[MessageType, bytes | None, int | None], dict[int, bytes]] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )
    _network: int = field(init=False, repr=False)
    _mask: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        set_field = object.__setattr__
        set_field(self, "configuration", dict(_configuration(self.settings)))
        set_field(self, "identifier", self.settings.address.packed)
        set_field(self, "is_proxy", self.settings.mode is DhcpMode.PROXY)
        set_field(self, "_network", int(self.settings.subnet.network_address))
        set_field(self, "_mask", int(self.settings.subnet.netmask))

    def options(
        self, type: MessageType, wanted: bytes | None, time: int | None
    ) -> dict[int, bytes]:
        """The options of a reply that depend on no more than this; the caller's own copy.

        `wanted` is option 55, None for a reply that configures nothing; `time` in seconds is the
        lease's. Machines of one make ask alike, so few are made anew.
        """
        key = type, wanted, time
        known = self._plain.get(key)
        if known is None:
            if len(self._plain) >= PLAIN_BOUND:
                self._plain.clear()
            known = self._plain[key] = dict(self._make_options(*key))
        return known.copy()

    def _make_options(
        self, type: MessageType, wanted: bytes | None, time: int | None
    ) -> Iterator[tuple[int, bytes]]:
        yield o.MESSAGE_TYPE, bytes((type,))
        yield o.SERVER_IDENTIFIER, self.identifier
        if time is not None:
            yield o.LEASE_TIME, _seconds(time)
        if wanted is None:
            return
        yield from ((code, value) for code, value in self.configuration.items() if code in wanted)
        if time is not None and o.RENEWAL_TIME in wanted:
            yield o.RENEWAL_TIME, _seconds(time // 2)  # RFC 2131, 4.4.5
        if time is not None and o.REBINDING_TIME in wanted:
            yield o.REBINDING_TIME, _seconds(time * 7 // 8)

    def serves(self, address: IPv4Address) -> bool:
        """Whether an address is of our subnet."""
        return int(address) & self._mask == self._network


def _configuration(settings: Settings) -> Iterator[tuple[int, bytes]]:
    yield o.SUBNET_MASK, settings.subnet.netmask.packed  # before the routers (RFC 2132, 3.3)
    if settings.gateway:
        yield o.ROUTERS, settings.gateway.packed
    if settings.dns:
        yield o.DNS_SERVERS, o.addresses(*settings.dns)
    if settings.domain:
        yield o.DOMAIN_NAME, settings.domain.encode("ascii")
    yield o.BROADCAST_ADDRESS, settings.subnet.broadcast_address.packed
    if settings.time_servers:
        yield o.TIME_SERVERS, o.addresses(*settings.time_servers)


def _seconds(time: int) -> bytes:
    return min(time, 0xFFFFFFFF).to_bytes(4)


class Arrival(NamedTuple):
    """How a request reached us."""

    port: int = SERVER_PORT
    """Our port, 67 or 4011."""
    peer: IPv4Address = NOWHERE
    peer_port: int = CLIENT_PORT


class Destination(NamedTuple):
    """Where a reply goes."""

    address: IPv4Address
    port: int
    neighbour: MacAddress | None = None
    """The client has not taken its address yet and cannot answer ARP: its hardware address."""


def destination(request: Message, reply: Message, arrival: Arrival) -> Destination:
    """RFC 2131, 4.1, seventh paragraph, and for port 4011 the way back to who asked."""
    if arrival.port == BOOT_SERVICE_PORT and arrival.peer != NOWHERE:
        return Destination(arrival.peer, arrival.peer_port)
    if request.giaddr != NOWHERE:
        return Destination(request.giaddr, SERVER_PORT)
    if reply.type is MessageType.NAK:
        return Destination(EVERYWHERE, CLIENT_PORT)
    if request.ciaddr != NOWHERE:
        return Destination(request.ciaddr, CLIENT_PORT)
    if request.broadcast or reply.yiaddr == NOWHERE:
        return Destination(EVERYWHERE, CLIENT_PORT)
    return Destination(reply.yiaddr, CLIENT_PORT, request.chaddr)


@dataclass(frozen=True, slots=True)
class Boot:
    """What a network booting client is told to load."""

    firmware: Firmware
    file: str
    """A name for TFTP, or a URL."""


def reply_message(
    request: Message,
    type: MessageType,
    server: Server,
    *,
    address: IPv4Address = NOWHERE,
    time: timedelta = timedelta(),
    reservation: Reservation | None = None,
    boot: Boot | None = None,
    configure: bool = True,
) -> Message:
    """An OFFER or ACK.

    With an address it carries a lease of that `time`. Without `configure` it tells what to boot
    and no more.
    """
    settings = server.settings
    wanted = request.options.get(o.PARAMETER_LIST, USUAL_REQUESTS) if configure else None
    lease = None if address == NOWHERE else time // _SECOND
    options = server.options(type, wanted, lease)
    if wanted and reservation is not None and reservation.host and o.HOST_NAME in wanted:
        options[o.HOST_NAME] = reservation.host.encode("ascii", "ignore")
    file = b""
    if boot is not None:
        file = boot.file.encode("ascii")
        options.update(_boot_options(request, file, boot.firmware, settings))
    _echo(request, options)
    return Message(
        BOOT_REPLY, request.xid, request.chaddr, 0, 0, request.flags,
        request.ciaddr if type is MessageType.ACK else NOWHERE,
        address,
        settings.address if boot else NOWHERE,
        request.giaddr,
        b"",
        file if len(file) < FILE_ROOM else b"",
        options,
    )  # fmt: skip


def refusal(request: Message, server: Server, reason: str) -> Message:
    """A NAK; through a relay it must be broadcast (RFC 2131, 4.3.2)."""
    options = {
        o.MESSAGE_TYPE: bytes((MessageType.NAK,)),
        o.SERVER_IDENTIFIER: server.identifier,
        o.ERROR_MESSAGE: reason.encode("ascii", "replace")[: o.LONGEST],
    }
    _echo(request, options)
    flags = request.flags | BROADCAST if request.giaddr != NOWHERE else request.flags
    return Message(
        BOOT_REPLY, request.xid, request.chaddr, flags=flags, giaddr=request.giaddr,
        options=options,
    )  # fmt: skip


def _boot_options(
    request: Message, file: bytes, firmware: Firmware, settings: Settings
) -> dict[int, bytes]:
    options = {o.BOOT_FILE_NAME: file}
    if o.TFTP_SERVER_NAME in request.options.get(o.PARAMETER_LIST, b"") and not firmware.http:
        options[o.TFTP_SERVER_NAME] = str(settings.address).encode("ascii")
    options.update(_discovery_options(firmware, settings.mode))
    if o.MACHINE_IDENTIFIER in request.options:
        options[o.MACHINE_IDENTIFIER] = request.options[o.MACHINE_IDENTIFIER]
    return options


def _discovery_options(firmware: Firmware, mode: DhcpMode) -> dict[int, bytes]:
    """What keeps a client from looking for further servers.

    Option 60 alone sends UEFI to port 4011, so beside an address it comes with 43.6=8 or not at
    all. UEFI gets neither: to EDK2 and its kin a plain offer with a boot file is complete, and
    some of them open an empty menu when option 43 is there. In proxy mode it is meant to ask on
    port 4011, where we answer.
    """
    if firmware.http:
        return {o.VENDOR_CLASS: HTTP_CLIENT}
    direct = {o.VENDOR_CLASS: PXE_CLIENT, o.VENDOR_OPTIONS: SKIP_DISCOVERY}
    if mode is DhcpMode.PROXY:
        uefi = firmware.platform is not Platform.BIOS and not firmware.ipxe
        return {o.VENDOR_CLASS: PXE_CLIENT} if uefi else direct
    if firmware.ipxe:
        return {o.IPXE_OPTIONS: NO_PROXY}
    return direct if firmware.platform is Platform.BIOS else {}


def _echo(request: Message, options: dict[int, bytes]) -> None:
    """What the client or its relay wants back as it was; the relay's own comes last."""
    if o.CLIENT_IDENTIFIER in request.options:  # RFC 6842, 3
        options[o.CLIENT_IDENTIFIER] = request.options[o.CLIENT_IDENTIFIER]
    if o.RELAY_INFORMATION in request.options:  # RFC 3046, 2.2
        options[o.RELAY_INFORMATION] = request.options[o.RELAY_INFORMATION]
