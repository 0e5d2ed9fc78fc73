"""Everything that an answer's template may see, checked when it is made.

The types serve every installer: kickstart, preseed, autoinstall and XenServer's answer file.
"""

from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Address, IPv4Interface

from kickstarts.errors import BadValue
from kickstarts.roles.base import Base, Role
from kickstarts.values import Secret, check, check_all, check_optional

BOND_MODES = (
    "802.3ad", "active-backup", "balance-rr", "balance-xor", "broadcast", "balance-tlb",
    "balance-alb",
)  # fmt: skip
"""As the kernel calls them (Documentation/networking/bonding.rst)."""
TIME_ZONE, LOCALE, KEYBOARD = "Etc/UTC", "en_US.UTF-8", "us"
"""Where nothing else is said."""
MAX_VLAN = 4094
"""IEEE 802.1Q, 9.6: 0 and 4095 are reserved."""


class Firmware(Enum):
    """How the installed system will be started."""

    BIOS = "bios"
    UEFI = "uefi"


class Layout(Enum):
    """What is made on the disk."""

    LVM = "lvm"
    PLAIN = "plain"
    RAID1 = "raid1"
    """LVM on two mirrored disks; each of them can start the system alone."""


class DiskChoice(Enum):
    """By what a disk is known."""

    SMALLEST = "smallest"
    LARGEST = "largest"
    FIRST = "first"
    SERIAL = "serial"
    PATH = "path"


@dataclass(frozen=True, slots=True)
class DiskLayout:
    """Which disks are written to, and how they are divided."""

    choice: DiskChoice = DiskChoice.SMALLEST
    named: tuple[str, ...] = ()
    """Serial numbers, or paths below /dev/disk: as many as the layout needs."""
    layout: Layout = Layout.LVM

    def __post_init__(self) -> None:
        """Raises BadValue."""
        if self.choice in (DiskChoice.SERIAL, DiskChoice.PATH):
            check_all(self.choice.value, "disk", self.named)
            if len(set(self.named)) != self.count:
                raise BadValue(
                    "disk", f"{self.count} different disks for layout {self.layout.value}"
                )
        elif self.named:
            raise BadValue("disk", f"no disk by name where {self.choice.value} is chosen")

    @property
    def count(self) -> int:
        """How many disks are used."""
        return 2 if self.layout is Layout.RAID1 else 1

    @property
    def words(self) -> str:
        """The choice as people say it."""
        return ", ".join(self.named) or self.choice.value


@dataclass(frozen=True, slots=True)
class Bond:
    """Several ports as one."""

    name: str
    ports: tuple[str, ...]
    """MAC addresses or names of the ports."""
    mode: str = "802.3ad"

    def __post_init__(self) -> None:
        """Raises BadValue."""
        check("port", "bond", self.name)
        check_all("word", "bond.ports", self.ports)
        if self.mode not in BOND_MODES:
            raise BadValue("bond.mode", f"one of {', '.join(BOND_MODES)}")
        if len(set(self.ports)) < 2:
            raise BadValue("bond.ports", "two ports at least")


@dataclass(frozen=True, slots=True)
class Address:
    """One more address of a host."""

    address: IPv4Interface
    mac: str | None = None
    """Of the port; None: where the host's first address is, or the bond that it is in."""
    vlan: int | None = None

    def __post_init__(self) -> None:
        """Raises BadValue."""
        if self.mac is not None:
            check("mac", "addresses.mac", self.mac)
        check_vlan("addresses.vlan", self.vlan)


@dataclass(frozen=True, slots=True)
class Link:
    """A port, a bond or a VLAN on one of them, with its addresses."""

    mac: str | None
    """Of the port; None: the port that boots, or the bond that it is in."""
    vlan: int | None
    addresses: tuple[IPv4Interface, ...]


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """The host's address for the cloud, how it is reached, and what other addresses it has."""

    address: IPv4Interface
    mac: str
    """Of the port that boots: the installer knows ports by it."""
    gateway: IPv4Address | None = None
    dns: tuple[IPv4Address, ...] = ()
    bond: Bond | None = None
    vlan: int | None = None
    more: tuple[Address, ...] = ()

    def __post_init__(self) -> None:
        """Raises BadValue."""
        check("mac", "mac", self.mac)
        check_vlan("vlan", self.vlan)
        inside = {self.mac, *(self.bond.ports if self.bond else ())}
        if any(each.mac in inside for each in self.more):
            raise BadValue("addresses.mac", "a port besides the one that boots and its bond")
        addresses = [self.address.ip, *(each.address.ip for each in self.more)]
        if len(set(addresses)) != len(addresses):
            raise BadValue("addresses", "each address once")
        tags = [link.vlan for link in self.links if link.vlan is not None]
        if len(set(tags)) != len(tags):
            raise BadValue("addresses.vlan", "a VLAN on one port alone")

    @property
    def device(self) -> str:
        """What the address is given to, in the installer's words."""
        return self.bond.name if self.bond else self.mac

    @property
    def links(self) -> tuple[Link, ...]:
        """Every link with all its addresses, that of the first address first."""
        found: dict[tuple[str | None, int | None], list[IPv4Interface]] = {}
        for each in (Address(self.address, vlan=self.vlan), *self.more):
            found.setdefault((each.mac, each.vlan), []).append(each.address)
        return tuple(Link(mac, vlan, tuple(own)) for (mac, vlan), own in found.items())


@dataclass(frozen=True, slots=True)
class User:
    """An administrator: member of the group that may become root."""

    name: str
    keys: tuple[str, ...] = ()
    """OpenSSH public keys."""
    password: Secret | None = None
    """Its hash; None: no password opens the account."""
    full_name: str = ""

    def __post_init__(self) -> None:
        """Raises BadValue."""
        check("user", "administrator", self.name)
        check_all("key", f"administrator {self.name}: keys", self.keys)
        check_hash(f"administrator {self.name}: password", self.password)
        check_optional("text", f"administrator {self.name}: full_name", self.full_name or None)
        if not self.keys and self.password is None:
            raise BadValue(f"administrator {self.name}", "an SSH key or a password's hash")


@dataclass(frozen=True, slots=True)
class Repository:
    """Packages beside those of the installation tree."""

    name: str
    url: str | None = None
    mirrors: str | None = None
    """A list of mirrors, or a metalink."""

    def __post_init__(self) -> None:
        """Raises BadValue."""
        check("name", "repository", self.name)
        check_optional("url", f"repository {self.name}", self.url)
        check_optional("url", f"repository {self.name}", self.mirrors)
        if (self.url is None) == (self.mirrors is None):
            raise BadValue(f"repository {self.name}", "a URL or a list of mirrors, one of them")


@dataclass(frozen=True, slots=True)
class Packages:
    """Where packages come from."""

    tree: str | None = None
    """An installation tree, as a mirror has it; None: the system's own mirrors."""
    repositories: tuple[Repository, ...] = ()
    ours: str | None = None
    """The live state of our package repository, with a slash at its end: there lie the file
    rackseed.repo, with both checks on, and the key."""
    more: tuple[str, ...] = ()
    """Packages that the operator wants on the host besides."""

    def __post_init__(self) -> None:
        """Raises BadValue."""
        check_optional("url", "packages.tree", self.tree)
        check_optional("url", "packages.ours", self.ours)
        check_all("package", "packages.more", self.more)


@dataclass(frozen=True, slots=True)
class SecretsSource:
    """Where a host fetches, once, what must not stand in its answer: KEY=VALUE lines, by TLS."""

    url: Secret
    pin: Secret
    """The digest of the server's key: whoever signed it, no other is spoken to."""

    def __post_init__(self) -> None:
        """Raises BadValue."""
        check("https", "secrets.url", self.url.reveal())
        check("pin", "secrets.pin", self.pin.reveal())


@dataclass(frozen=True, slots=True)
class InstallPlan:
    """One host's installation."""

    system: str
    """A name in `kickstarts.systems`, such as rocky-9."""
    host: str
    network: NetworkSettings
    report_url: Secret
    """Takes JSON: {"kind": "progress" | "installed" | "failed", "message": TEXT}."""
    domain: str | None = None
    role: Role = field(default_factory=Base)
    secrets: SecretsSource | None = None
    firmware: Firmware = Firmware.BIOS
    disks: DiskLayout = field(default_factory=DiskLayout)
    packages: Packages = field(default_factory=Packages)
    administrators: tuple[User, ...] = ()
    root_password: Secret | None = None
    """Its hash; None: root is locked."""
    time_servers: tuple[str, ...] = ()
    time_zone: str = TIME_ZONE
    locale: str = LOCALE
    keyboard: str = KEYBOARD
    log_host: str | None = None
    """Where the installer sends its log."""

    def __post_init__(self) -> None:
        """Raises BadValue."""
        check("name", "system", self.system)
        check("host", "host", self.host)
        check_optional("domain", "domain", self.domain)
        check("url", "report_url", self.report_url.reveal())
        if self.secrets is None and self.role.secrets:
            raise BadValue("secrets", f"a source: the role {self.role.name} needs secrets")
        check_hash("root_password", self.root_password)
        check_all("server", "time_servers", self.time_servers)
        check("zone", "time_zone", self.time_zone)
        check("locale", "locale", self.locale)
        check("keyboard", "keyboard", self.keyboard)
        check_optional("server", "log_host", self.log_host)
        if self.root_password is None and not self.administrators:
            raise BadValue("administrators", "one at least where root is locked")

    @property
    def full_name(self) -> str:
        """The host's name with its domain, where there is one."""
        return f"{self.host}.{self.domain}" if self.domain else self.host


def check_vlan(where: str, vlan: int | None) -> None:
    """Raises BadValue unless it is a VLAN's number, or none."""
    if vlan is not None and not 1 <= vlan <= MAX_VLAN:
        raise BadValue(where, f"a number between 1 and {MAX_VLAN}")


def check_hash(where: str, secret: Secret | None) -> None:
    """Raises BadValue unless the secret is a strong hash; a password itself is refused."""
    if secret is not None:
        check("hash", where, secret.reveal())
