"""What a server must know of itself and of the segment it serves."""

from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from ipaddress import IPv4Address, IPv4Network

from pxe.reservation import Pool


class DhcpMode(Enum):
    """Whether we give addresses, or only boot information beside a server that does."""

    AUTHORITATIVE = "authoritative"
    PROXY = "proxy"


@dataclass(frozen=True, slots=True)
class Settings:
    """One server on one segment."""

    interface: str
    address: IPv4Address
    """The server's own address on `interface`: option 54, siaddr, the host of every URL."""
    subnet: IPv4Network
    mode: DhcpMode = DhcpMode.AUTHORITATIVE
    gateway: IPv4Address | None = None
    dns: tuple[IPv4Address, ...] = ()
    time_servers: tuple[IPv4Address, ...] = ()
    domain: str | None = None
    pool: Pool | None = None
    """Where unknown machines get an address; None: they are met with silence."""
    lease_time: timedelta = field(default=timedelta(hours=1))
    http_port: int = 80
    """80 unless it is taken: GRUB before 2.12 knows no other port."""

    @property
    def http_url(self) -> str:
        """Base of every plain URL, without a slash at its end."""
        port = "" if self.http_port == 80 else f":{self.http_port}"
        return f"http://{self.address}{port}"
