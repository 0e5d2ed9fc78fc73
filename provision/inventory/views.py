"""The inventory in the words of the libraries: pure functions from hosts to their types."""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from types import MappingProxyType

from provision.inventory.model import Host, HostFirmware, Inventory, Place, Role, System
from pxe.addresses import MacAddress
from pxe.boot import Platform
from pxe.reservation import Reservation
from pxe.settings import Settings

ARTIFACTS = "artifacts/"
"""Where the catalog shows the folder of artifacts."""
REPOSITORIES = "rpm/"
"""Where the catalog shows package repositories, each under its system's name."""
METAPACKAGES = "openstack-"
"""How the names of our metapackages begin, which roles leave out."""


def reservation(host: Host) -> Reservation:
    """The address that one host is promised."""
    return Reservation(
        client=host.mac,
        address=host.address,
        host=host.name,
        loader=host.loader,
        secure_boot=host.secure_boot,
    )


def reservations(inventory: Inventory) -> Mapping[MacAddress, Reservation]:
    """The addresses that all hosts are promised."""
    return MappingProxyType({host.mac: reservation(host) for host in inventory.hosts.values()})


def by_address(inventory: Inventory) -> Mapping[IPv4Address, Host]:
    """The hosts by address."""
    return MappingProxyType({host.address: host for host in inventory.hosts.values()})


def settings(inventory: Inventory, server_address: IPv4Address) -> Settings:
    """The segment as the boot server at `server_address` sees it."""
    network = inventory.network
    return Settings(
        interface=network.interface,
        address=server_address,
        subnet=network.subnet,
        mode=network.dhcp,
        gateway=network.gateway,
        dns=network.dns,
        time_servers=inventory.cloud.time_servers,
        domain=inventory.cloud.domain,
        pool=network.discovery,
        lease_time=network.lease_time,
        http_port=network.http_port,
    )


def full_name(host: Host, inventory: Inventory) -> str:
    """The host's name with the cloud's domain, where there is one."""
    domain = inventory.cloud.domain
    return f"{host.name}.{domain}" if domain else host.name


def system_of(role: Role, inventory: Inventory) -> System | None:
    """The operating system whose installer a role boots; None for image and inspect."""
    return None if role.os is None else inventory.systems[role.os]


def package_of(role: Role) -> str | None:
    """The package that makes a host what its role says."""
    return None if role.metapackage is None else f"{METAPACKAGES}{role.metapackage}"


def artifact_name(path: str) -> str:
    """The catalog's name of a path below the folder of artifacts."""
    return f"{ARTIFACTS}{path}"


def repositories(inventory: Inventory) -> Mapping[str, Path]:
    """The folders of the systems' package repositories, by the systems' names."""
    found = {s.name: s.packages for s in inventory.systems.values() if s.packages is not None}
    return MappingProxyType(found)


def packages_url(role: Role, inventory: Inventory, base_url: str) -> str | None:
    """Where the hosts of a role find the packages of their system, with a slash at its end."""
    system = system_of(role, inventory)
    if system is None or system.packages is None:
        return None
    return f"{base_url}/{REPOSITORIES}{system.name}/"


@dataclass(frozen=True, slots=True)
class Need:
    """Something in the inventory that needs a file."""

    place: Place
    key: str


def artifact_needs(inventory: Inventory) -> Mapping[str, Need]:
    """Every path below the folder of artifacts that a host needs, with what names it first."""
    top = Place(inventory.path, 1)
    needs: dict[str, Need] = {}
    for host in inventory.hosts.values():
        role = host.role
        if system := system_of(role, inventory):
            for path in (system.kernel, *system.initrds):
                needs.setdefault(path, Need(system.place or top, f"systems.{system.name}"))
        if role.image is not None:
            needs.setdefault(str(role.image), Need(role.place or top, f"roles.{role.name}.image"))
    return MappingProxyType(needs)


def platform(host: Host) -> Platform:
    """The kind of boot program that the host's firmware can run, on the usual x86 servers."""
    return Platform.BIOS if host.firmware is HostFirmware.BIOS else Platform.UEFI_X64


def boots_by_http(host: Host) -> bool:
    """Whether the firmware itself wants a URL (UEFI HTTP Boot)."""
    return host.firmware is HostFirmware.UEFI_HTTP
