"""Addresses promised by inventory, and addresses handed out for a time."""

from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Address

from pxe.addresses import MacAddress
from pxe.boot import Loader


@dataclass(frozen=True, slots=True)
class Reservation:
    """One known network port: its address is always the same."""

    client: MacAddress
    address: IPv4Address
    host: str
    loader: Loader = Loader.IPXE
    secure_boot: bool = False
    """Only programs signed for the platform: shim and GRUB, whatever `loader` says."""


@dataclass(frozen=True, slots=True)
class Lease:
    """An address of the discovery pool, held by a client until it expires."""

    client: MacAddress
    address: IPv4Address
    expires: datetime
    """Aware, in UTC."""


@dataclass(frozen=True, slots=True)
class Pool:
    """The discovery range, both ends included."""

    first: IPv4Address
    last: IPv4Address

    def __contains__(self, address: IPv4Address) -> bool:
        return self.first <= address <= self.last

    def __len__(self) -> int:
        return int(self.last) - int(self.first) + 1
