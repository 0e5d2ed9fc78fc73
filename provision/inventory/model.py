"""The inventory: one frozen value, everything else is derived from it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from enum import Enum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pxe.addresses import MacAddress
from pxe.boot import Loader
from pxe.reservation import Pool
from pxe.settings import DhcpMode


class HostFirmware(Enum):
    """How a host boots; the rehearsal gives its virtual machine the same."""

    BIOS = "bios"
    UEFI = "uefi"
    UEFI_HTTP = "uefi-http"


class Install(Enum):
    """How a role is installed."""

    KICKSTART = "kickstart"
    PRESEED = "preseed"
    AUTOINSTALL = "autoinstall"
    ANSWERFILE = "answerfile"
    """Of XCP-ng and XenServer."""
    IMAGE = "image"
    INSPECT = "inspect"
    """Nothing is installed: the host is only inspected."""


INSTALLED_BY_ANSWER = frozenset(
    {Install.KICKSTART, Install.PRESEED, Install.AUTOINSTALL, Install.ANSWERFILE}
)
"""Where the system's own installer reads an answer file."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands in a file."""

    path: Path
    line: int
    """Counted from 1; 0 is the file as a whole."""

    def __str__(self) -> str:
        return f"{self.path}:{self.line}" if self.line else str(self.path)


@dataclass(frozen=True, slots=True)
class Network:
    """The provisioning segment."""

    interface: str
    subnet: IPv4Network
    server: IPv4Address | None = None
    """Our own address; None: the one that `interface` has in `subnet`."""
    gateway: IPv4Address | None = None
    dns: tuple[IPv4Address, ...] = ()
    dhcp: DhcpMode = DhcpMode.AUTHORITATIVE
    discovery: Pool | None = None
    lease_time: timedelta = timedelta(hours=1)
    http_port: int = 80
    place: Place | None = None
    """Of the key `interface`."""


@dataclass(frozen=True, slots=True)
class Cloud:
    """The cloud that the hosts become."""

    domain: str | None = None
    openstack: str | None = None
    controller: str | None = None
    """The name of the one controller host."""
    time_servers: tuple[IPv4Address, ...] = ()
    time_zone: str | None = None
    """This and what follows, for answers of ours; None: their own default."""
    locale: str | None = None
    keyboard: str | None = None
    log_host: IPv4Address | None = None
    """Where installers send their logs, by syslog."""


@dataclass(frozen=True, slots=True)
class System:
    """An operating system whose installer can be booted. Paths are below `artifacts`."""

    name: str
    kernel: str
    initrds: tuple[str, ...]
    arguments: tuple[str, ...] = ()
    packages: Path | None = None
    """Repository for its hosts, as `rackseed rpm publish` makes it; served over HTTP."""
    tree: str | None = None
    """URL of an installation tree on a mirror; None: the distributor's own."""
    hypervisor: str | None = None
    """What is loaded below the kernel, by Multiboot."""
    hypervisor_arguments: tuple[str, ...] = ()
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class GpuPassthrough:
    """A PCI device handed to guests, as nova's `[pci] alias` names it."""

    alias: str
    vendor: str
    """Four hexadecimal digits."""
    product: str
    """Four hexadecimal digits."""
    sriov: bool = False
    """It could be divided, which Nova is to know; guests get it whole."""


@dataclass(frozen=True, slots=True)
class Role:
    """What a host is for; `extends` is already applied."""

    name: str
    install: Install
    os: str | None = None
    """Names a `System`; needed unless `install` is image or inspect."""
    answer: Path | None = None
    """The operator's own template of the installer's answer file, resolved beside the inventory;
    None: ours, for a system that it is made for."""
    image: Path | None = None
    """Disk image that is written to the disk, a path below `artifacts`, as served; needed for
    `install: image`."""
    metapackage: str | None = None
    disk: str = "smallest"
    """`smallest`, `largest`, `first`, a serial number, or a path below /dev/disk. Of a host's role:
    the host's own, where it names one."""
    mirror: str | None = None
    """The second disk of layout raid1, where the first one is named."""
    layout: str = "lvm"
    """`lvm`, `plain` or `raid1`; for answers of ours."""
    options: tuple[tuple[str, str], ...] = ()
    """What the metapackage's role lets choose; for answers of ours."""
    gpu_passthrough: tuple[GpuPassthrough, ...] = ()
    more_packages: tuple[str, ...] = ()
    """Of the system's own, besides what every host gets; for answers of ours."""
    root_password: str | None = field(default=None, repr=False)
    """Its hash; for answers of ours. None: root is locked."""
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Administrator:
    """Who may become root on installed hosts; for answers of ours."""

    name: str
    ssh_keys: tuple[str, ...] = ()
    password: str | None = field(default=None, repr=False)
    """Its hash."""


@dataclass(frozen=True, slots=True)
class Bmc:
    """How to reach a host's management controller; exactly one of the URLs."""

    redfish: str | None = None
    ipmi: str | None = None
    user: str | None = None


@dataclass(frozen=True, slots=True)
class Bond:
    """Ports that carry a host's address together, once it is installed."""

    members: tuple[MacAddress, ...]
    mode: str
    name: str


@dataclass(frozen=True, slots=True)
class MoreAddress:
    """An address that an installed host has besides that of its port that boots."""

    address: IPv4Interface
    mac: MacAddress | None = None
    """Of the port; None: the one that boots, or its bond."""
    vlan: int | None = None


@dataclass(frozen=True, slots=True)
class Host:
    """A machine."""

    name: str
    rack: str
    mac: MacAddress
    address: IPv4Address
    role: Role
    firmware: HostFirmware = HostFirmware.BIOS
    secure_boot: bool = False
    loader: Loader = Loader.IPXE
    bond: Bond | None = None
    vlan: int | None = None
    """That the installed host puts on what it sends from its address; it boots without."""
    addresses: tuple[MoreAddress, ...] = ()
    bmc: Bmc | None = None
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Inventory:
    """A whole, valid inventory: what the loader let through needs no further check."""

    path: Path
    network: Network
    cloud: Cloud
    systems: Mapping[str, System]
    roles: Mapping[str, Role]
    hosts: Mapping[str, Host]
    """By name, in the order of the file."""
    artifacts: Path
    """Folder of kernels, initrds and images, served read-only."""
    store: str
    """SQLAlchemy URL of the state and events."""
    secrets: Path | None = None
    """File of secrets, mode 0600; its contents are never shown."""
    administrators: tuple[Administrator, ...] = ()
    by_mac: Mapping[MacAddress, Host] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_mac = {host.mac: host for host in self.hosts.values()}
        object.__setattr__(self, "by_mac", MappingProxyType(by_mac))

    def __reduce__(self) -> tuple[Callable[..., "Inventory"], tuple[object, ...]]:
        """Read-only mappings cannot be pickled: they travel as dictionaries."""
        values = (getattr(self, each.name) for each in fields(self) if each.init)
        return _arrived, tuple(dict(v) if isinstance(v, Mapping) else v for v in values)


def _arrived(*values: object) -> Inventory:  # the fields, in order
    own: list[Any] = [MappingProxyType(v) if isinstance(v, dict) else v for v in values]
    return Inventory(*own)
