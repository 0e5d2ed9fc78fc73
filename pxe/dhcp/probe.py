"""Look for other DHCP servers on the segment, because two that give addresses break both."""

import asyncio
import logging
import secrets
import socket
import struct
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address

from pxe.addresses import MacAddress
from pxe.dhcp import options
from pxe.dhcp.filter import REPLIES, attach
from pxe.dhcp.message import BOOT_REPLY, BOOT_REQUEST, BROADCAST, NOWHERE, Message, decode
from pxe.dhcp.options import MessageType
from pxe.errors import DecodeError, InterfaceUnusable, ServerConflict
from pxe.link import link_facts
from pxe.settings import DhcpMode

log = logging.getLogger(__name__)

SERVER_PORT = 67
CLIENT_PORT = 68
ETH_P_IP = 0x0800
ETH_P_ALL = 3
"""Also frames that leave: the answers of a server on this very machine."""
EVERYWHERE = b"\xff" * 6
LONGEST_FRAME = 2048
MOST_SERVERS = 16
"""Enough to refuse to start; who invents thousands must not fill memory or the error."""

PXE_OPTIONS = {
    options.VENDOR_CLASS: b"PXEClient:Arch:00000:UNDI:002001",
    options.ARCHITECTURE: bytes(2),
    options.NETWORK_INTERFACE: bytes((1, 2, 1)),
    options.PARAMETER_LIST: bytes(
        (options.SUBNET_MASK, options.ROUTERS, options.VENDOR_CLASS, options.BOOT_FILE_NAME)
    ),
}
"""A PXE client's, so that proxy servers show themselves too."""


@dataclass(frozen=True, slots=True)
class OtherServer:
    """A DHCP server that answered, and is not ours."""

    address: IPv4Address
    """Its server identifier; behind a relay that is not where the packet came from."""
    mac: MacAddress
    """Who sent the packet: the server, or the relay before it."""
    offered: IPv4Address | None
    """None for a proxy server, which offers boot files beside one that gives addresses."""
    boot_file: str = ""

    @property
    def proxy(self) -> bool:
        """Whether it gives no addresses."""
        return self.offered is None

    def __str__(self) -> str:
        offers = "boot files only (proxy)" if self.proxy else f"the address {self.offered}"
        return f"{self.address} at {self.mac} offers {offers}"


async def probe(
    interface: str,
    expected: Collection[IPv4Address] = (),
    *,
    seconds: float = 4.0,
    sends: int = 2,
) -> list[OtherServer]:
    """Ask who gives addresses on the segment, and listen for `seconds`.

    `expected` are the addresses of our own servers elsewhere, and our own when we serve already;
    when we do not, an answer from our own address is that of a rival on this very machine.
    No lease is taken.
    Four seconds, because dnsmasq pings an address for three before it offers it to a stranger.
    Raises InterfaceUnusable when the interface does not exist, is down, is not Ethernet, or is not
    ours to listen on.
    """
    facts = link_facts(interface)
    if not facts.up or facts.mac is None:
        raise InterfaceUnusable(f"interface {interface} is down or not Ethernet: cannot probe it")
    questions = [
        question(random_mac() if number % 2 == 0 else facts.mac, secrets.randbits(32))
        for number in range(sends)
    ]
    try:
        with _wire(interface) as wire, _host(interface) as host:
            listening = asyncio.ensure_future(_listen(wire, questions, seconds, expected))
            try:
                for asked in questions:
                    _send(asked, facts.mac, wire, host)
                    await asyncio.sleep(seconds / 2 / sends)
                return others(await listening, expected)
            finally:
                listening.cancel()
    except OSError as error:
        unusable = InterfaceUnusable(f"interface {interface} cannot be probed: {error.strerror}")
        if isinstance(error, PermissionError):
            unusable.add_note("run as root, or with CAP_NET_RAW and CAP_NET_BIND_SERVICE")
        raise unusable from error


def refuse_other_servers(found: Iterable[OtherServer], mode: DhcpMode) -> None:
    """Raises ServerConflict, naming them, when there are servers beside which `mode` cannot be.

    A proxy is to stand beside a server that gives addresses, but not beside another proxy.
    """
    rivals = [server for server in found if server.proxy or mode is DhcpMode.AUTHORITATIVE]
    if not rivals:
        return
    error = ServerConflict(
        f"another DHCP server answers on this segment: {'; '.join(map(str, rivals))}"
    )
    if any(server.proxy for server in rivals):
        error.add_note("two servers that offer boot files answer at random: stop one of them")
    else:
        error.add_note("stop it, or set  dhcp: proxy  to give only boot information beside it")
    raise error


def question(client: MacAddress, xid: int) -> Message:
    """A DISCOVER of a PXE client that wants the answer broadcast."""
    return Message(
        BOOT_REQUEST,
        xid,
        client,
        flags=BROADCAST,
        options={options.MESSAGE_TYPE: bytes((MessageType.DISCOVER,)), **PXE_OPTIONS},
    )


def answer_in(frame: bytes, questions: Iterable[Message]) -> OtherServer | None:
    """The server that answered one of our questions by this Ethernet frame, if any did."""
    if (content := reply_in(frame)) is None:
        return None
    sender, source, payload = content
    try:
        reply = decode(payload)
    except DecodeError:
        return None
    asked = {(each.xid, each.chaddr) for each in questions}
    if reply.op != BOOT_REPLY or (reply.xid, reply.chaddr) not in asked:
        return None
    if reply.type not in (MessageType.OFFER, None):  # None: BOOTP
        return None
    named = reply.options.get(options.BOOT_FILE_NAME, b"") or reply.file
    return OtherServer(
        reply.server or source,
        sender,
        None if reply.yiaddr == NOWHERE else reply.yiaddr,
        named.rstrip(b"\0").decode("ascii", "replace"),
    )


def others(found: Iterable[OtherServer], expected: Collection[IPv4Address]) -> list[OtherServer]:
    """Each server once, without ours, by address; one that does both gives addresses."""
    kept: dict[IPv4Address, OtherServer] = {}
    for server in found:
        if server.address in expected:
            continue
        if server.address not in kept or kept[server.address].proxy:
            kept[server.address] = server
    return [kept[address] for address in sorted(kept)]


def reply_in(frame: bytes) -> tuple[MacAddress, IPv4Address, bytes] | None:
    """Sender, source address and UDP payload of a frame to a DHCP client; None for others."""
    if len(frame) < 42 or frame[12:14] != ETH_P_IP.to_bytes(2) or frame[14] >> 4 != 4:
        return None
    header = (frame[14] & 0xF) * 4
    fragment = int.from_bytes(frame[20:22]) & 0x3FFF
    if header < 20 or frame[23] != socket.IPPROTO_UDP or fragment:
        return None
    udp = frame[14 + header :]
    if len(udp) < 8 or int.from_bytes(udp[2:4]) != CLIENT_PORT:
        return None
    return MacAddress(frame[6:12]), IPv4Address(frame[26:30]), udp[8 : int.from_bytes(udp[4:6])]


def frame_of(payload: bytes, source: MacAddress) -> bytes:
    """A broadcast Ethernet frame from a client without an address (RFC 2131, 4.1)."""
    udp = struct.pack("!HHHH", CLIENT_PORT, SERVER_PORT, 8 + len(payload), 0) + payload
    header = struct.pack(
        "!BBHHHBBH4s4s",
        *(0x45, 0, 20 + len(udp), 0, 0, 64, socket.IPPROTO_UDP, 0),
        bytes(4),
        b"\xff" * 4,
    )
    header = header[:10] + checksum(header).to_bytes(2) + header[12:]
    return EVERYWHERE + source.octets + ETH_P_IP.to_bytes(2) + header + udp


def checksum(data: bytes) -> int:
    """The Internet checksum of an even number of octets (RFC 1071)."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def random_mac() -> MacAddress:
    """A locally administered address (IEEE 802-2014, 8.4) that nobody has a reservation for."""
    return MacAddress(b"\x02" + secrets.token_bytes(5))


async def _listen(
    wire: socket.socket,
    questions: Iterable[Message],
    seconds: float,
    expected: Collection[IPv4Address],
) -> list[OtherServer]:
    found: set[OtherServer] = set()
    loop = asyncio.get_running_loop()
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while len(found) < MOST_SERVERS:
                server = answer_in(await loop.sock_recv(wire, LONGEST_FRAME), questions)
                if server is not None and server.address not in expected:
                    found.add(server)
                    log.debug("DHCP server found: %s", server)
    return list(found)


def _send(asked: Message, source: MacAddress, wire: socket.socket, host: socket.socket) -> None:
    """Ask the segment as a client does, and this machine, which hears no frame of its own.

    The frame has the interface's own hardware address as its source, so that switches which
    guard against forged ones let it pass; the client in the message may be another.
    """
    payload = asked.encode()
    wire.send(frame_of(payload, source))
    with suppress(OSError):  # without an address of ours nobody here could answer either
        host.sendto(payload, ("255.255.255.255", SERVER_PORT))


def _wire(interface: str) -> socket.socket:
    """A packet socket that receives only what is for DHCP clients."""
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    wire.setblocking(False)
    attach(wire, REPLIES)
    wire.bind((interface, ETH_P_ALL))
    return wire


def _host(interface: str) -> socket.socket:
    """A UDP socket whose broadcasts this machine's own servers hear too."""
    host = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    host.setblocking(False)
    host.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    host.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
    return host
