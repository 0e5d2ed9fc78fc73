"""The inventory in the words of the libraries: pure functions from hosts to their types."""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from types import MappingProxyType

from kickstarts.errors import BadValue
from kickstarts.plan import (
    KEYBOARD,
    LOCALE,
    TIME_ZONE,
    Address,
    Bond,
    DiskChoice,
    DiskLayout,
    Firmware,
    InstallPlan,
    Layout,
    NetworkSettings,
    Packages,
    SecretsSource,
    User,
)
from kickstarts.roles import base as role_base
from kickstarts.roles import by_metapackage
from kickstarts.values import Secret
from provision.inventory.model import (
    INSTALLED_BY_ANSWER,
    Host,
    HostFirmware,
    Inventory,
    Place,
    Role,
    System,
)
from provision.inventory.values import DISK_CHOICES
from pxe.addresses import MacAddress
from pxe.boot import Platform
from pxe.reservation import Reservation
from pxe.settings import Settings

ARTIFACTS = "artifacts/"
"""Where the catalog shows the folder of artifacts."""
REPOSITORIES = "rpm/"
"""Where the catalog shows package repositories, each under its system's name."""
RELEASE = "rackseed-release"
"""The package that names our repository and brings its key."""
DEVICES = "GPUS"
"""The setting by which a role's steps know the devices that guests are given."""
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


def free_address(inventory: Inventory) -> IPv4Address | None:
    """The first address of the subnet that the inventory gives to nobody; None in a full one."""
    network = inventory.network
    taken = {network.gateway, *network.dns, *inventory.cloud.time_servers}
    taken |= {host.address for host in inventory.hosts.values()}
    return next(
        (
            address
            for address in network.subnet.hosts()
            if address not in taken and not (network.discovery and address in network.discovery)
        ),
        None,
    )


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


def answered_by_us(role: Role) -> bool:
    """Whether the role's hosts get an answer of ours: the operator wrote none."""
    return role.install in INSTALLED_BY_ANSWER and role.answer is None


def secrets_of(role: Role) -> tuple[str, ...]:
    """What a host of the role fetches after its answer, by name.

    Raises UnknownRole.
    """
    return by_metapackage(package_of(role)).secrets if answered_by_us(role) else ()


def install_plan(
    host: Host, inventory: Inventory, base_url: str, *, report: str, secrets: SecretsSource | None
) -> InstallPlan:
    """What a host's answer is made of; `report` is its URL.

    Raises BadValue, UnknownRole.
    """
    role, cloud = host.role, inventory.cloud
    kind = by_metapackage(package_of(role))
    if role.options and kind.metapackage is None:
        raise BadValue("options", "none on a role without a metapackage: they are its to know")
    made = kind.of(cloud_around(host, inventory)) if kind.metapackage else kind()
    if role.gpu_passthrough and not made.settings.get(DEVICES):
        raise BadValue("gpu_passthrough", f"none: hosts with {package_of(role)} hand no devices on")
    ours = packages_url(role, inventory, base_url)
    system = system_of(role, inventory)
    return InstallPlan(
        system=role.os or "",
        host=host.name,
        domain=inventory.cloud.domain,
        network=network_settings(host, inventory),
        report_url=Secret(report),
        secrets=secrets if kind.secrets else None,
        role=made,
        firmware=Firmware.BIOS if host.firmware is HostFirmware.BIOS else Firmware.UEFI,
        disks=disk_layout(role),
        packages=Packages(
            tree=system.tree if system else None,
            ours=f"{ours}current/" if ours else None,
            more=role.more_packages,
        ),
        root_password=Secret(role.root_password) if role.root_password else None,
        administrators=tuple(
            User(who.name, who.ssh_keys, Secret(who.password) if who.password else None)
            for who in inventory.administrators
        ),
        time_servers=tuple(map(str, cloud.time_servers)),
        time_zone=cloud.time_zone or TIME_ZONE,
        locale=cloud.locale or LOCALE,
        keyboard=cloud.keyboard or KEYBOARD,
        log_host=str(cloud.log_host) if cloud.log_host else None,
    )


def network_settings(host: Host, inventory: Inventory) -> NetworkSettings:
    """The links of an installed host.

    Raises BadValue.
    """
    network, bond = inventory.network, host.bond
    return NetworkSettings(
        address=IPv4Interface((host.address, network.subnet.prefixlen)),
        mac=str(host.mac),
        gateway=network.gateway,
        dns=network.dns,
        bond=Bond(bond.name, tuple(map(str, bond.members)), bond.mode) if bond else None,
        vlan=host.vlan,
        more=tuple(
            Address(more.address, str(more.mac) if more.mac else None, more.vlan)
            for more in host.addresses
        ),
    )


def disk_layout(role: Role) -> DiskLayout:
    """The disk of a role as answers take it."""
    if role.disk in DISK_CHOICES:
        return DiskLayout(DiskChoice(role.disk), (), Layout(role.layout))
    choice = DiskChoice.PATH if role.disk.startswith("/") else DiskChoice.SERIAL
    named = (role.disk,) if role.mirror is None else (role.disk, role.mirror)
    return DiskLayout(choice, named, Layout(role.layout))


def cloud_around(host: Host, inventory: Inventory) -> role_base.Cloud:
    """The cloud as one of its hosts sees it.

    Raises BadValue.
    """
    name = inventory.cloud.controller
    controller = inventory.hosts.get(name) if name else None
    if controller is None:
        raise BadValue("cloud.controller", f"a host: {host.name} is to be part of its cloud")
    seen = (each.role for each in inventory.hosts.values()) if host is controller else (host.role,)
    gpus = dict.fromkeys(gpu for role in seen for gpu in role.gpu_passthrough)
    return role_base.Cloud(
        full_name=full_name(host, inventory),
        address=host.address,
        controller=full_name(controller, inventory),
        controller_address=controller.address,
        subnet=inventory.network.subnet,
        time_servers=tuple(map(str, inventory.cloud.time_servers)),
        gpus=tuple(role_base.Gpu(gpu.alias, gpu.vendor, gpu.product, gpu.sriov) for gpu in gpus),
        options=host.role.options,
    )


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
            hypervisor = () if system.hypervisor is None else (system.hypervisor,)
            for path in (*hypervisor, system.kernel, *system.initrds):
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
