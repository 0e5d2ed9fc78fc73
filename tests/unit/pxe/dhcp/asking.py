"""Requests as clients send them, and a server that knows little."""

from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv4Network

from pxe.addresses import MacAddress
from pxe.dhcp import options as o
from pxe.dhcp.message import BOOT_REQUEST, BROADCAST, NOWHERE, Message
from pxe.dhcp.options import MessageType
from pxe.dhcp.reply import Server
from pxe.reservation import Pool, Reservation
from pxe.settings import DhcpMode, Settings

MAC = MacAddress.parse("52:54:00:aa:00:01")
STRANGER = MacAddress.parse("52:54:00:bb:00:01")
US = IPv4Address("10.20.0.1")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
RESERVED = Reservation(MAC, IPv4Address("10.20.0.11"), "ctl01")
POOL = Pool(IPv4Address("10.20.3.1"), IPv4Address("10.20.3.4"))
PROGRAMS = frozenset(
    {"undionly.kpxe", "snponly.efi", "shimx64.efi", "grubx64.efi", "pxelinux.0", "ipxe.efi"}
    | {"secureboot.img"}
)
SETTINGS = Settings(
    interface="br-prov",
    address=US,
    subnet=IPv4Network("10.20.0.0/22"),
    gateway=IPv4Address("10.20.0.254"),
    dns=(IPv4Address("10.20.0.2"), IPv4Address("10.20.0.3")),
    time_servers=(IPv4Address("10.20.0.4"),),
    domain="cloud.example.org",
)

BIOS = {o.ARCHITECTURE: b"\0\0", o.VENDOR_CLASS: b"PXEClient:Arch:00000:UNDI:002001"}
UEFI = {o.ARCHITECTURE: b"\0\x07", o.VENDOR_CLASS: b"PXEClient:Arch:00007:UNDI:003000"}
UEFI_HTTP = {o.ARCHITECTURE: b"\0\x10", o.VENDOR_CLASS: b"HTTPClient:Arch:00016:UNDI:003000"}
ABLE_IPXE = {o.USER_CLASS: b"iPXE", o.IPXE_OPTIONS: b"\xb1\x05\x01\x80\x86\x10\x0e\x13\x01\x01"}
INSTALLED = {o.VENDOR_CLASS: b"udhcp 1.35.0"}
EVERYTHING = bytes((1, 3, 6, 12, 15, 28, 42, 43, 51, 54, 58, 59, 60, 66, 67, 97))


def server(
    mode: DhcpMode = DhcpMode.AUTHORITATIVE, pool: Pool | None = None, **changes: object
) -> Server:
    facts = {field: getattr(SETTINGS, field) for field in Settings.__dataclass_fields__}
    programs = changes.pop("programs", PROGRAMS)
    return Server(Settings(**facts | {"mode": mode, "pool": pool} | changes), programs)  # type: ignore[arg-type]


def ask(
    type: MessageType | None = MessageType.DISCOVER,
    *hints: dict[int, bytes],
    requested: str | None = None,
    to: IPv4Address | None = None,
    ciaddr: str = "0.0.0.0",
    giaddr: str = "0.0.0.0",
    client: MacAddress = MAC,
    wants: bytes | None = EVERYTHING,
    broadcast: bool = False,
    hops: int = 0,
    op: int = BOOT_REQUEST,
) -> Message:
    """A request; `hints` are whole options."""
    options: dict[int, bytes] = {}
    if type is not None:
        options[o.MESSAGE_TYPE] = bytes((type,))
    if requested:
        options[o.REQUESTED_ADDRESS] = IPv4Address(requested).packed
    if to:
        options[o.SERVER_IDENTIFIER] = to.packed
    if wants is not None:
        options[o.PARAMETER_LIST] = wants
    for hint in hints:
        options |= hint
    return Message(
        op, 0x1234, client, hops=hops, flags=BROADCAST if broadcast else 0,
        ciaddr=IPv4Address(ciaddr), yiaddr=NOWHERE, giaddr=IPv4Address(giaddr), options=options,
    )  # fmt: skip
