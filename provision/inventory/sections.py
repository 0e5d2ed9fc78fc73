"""The sections of the inventory file, each read into a draft: what is valid, and None elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from provision.inventory import values
from provision.inventory.document import Node, Scalar, Table
from provision.inventory.links import (
    AddressDraft,
    BondDraft,
    read_addresses,
    read_bond,
    read_disks,
)
from provision.inventory.model import (
    Administrator,
    Bmc,
    Cloud,
    GpuPassthrough,
    HostFirmware,
    Install,
)
from provision.inventory.schema import Findings, NamedSection, Section, describe, quote
from pxe.addresses import MacAddress
from pxe.boot import Loader
from pxe.reservation import Pool
from pxe.settings import DhcpMode

TOP = (
    "network",
    "cloud",
    "administrators",
    "secrets",
    "artifacts",
    "store",
    "systems",
    "roles",
    "racks",
)
NETWORK = (
    "interface",
    "subnet",
    "server",
    "gateway",
    "dns",
    "dhcp",
    "discovery",
    "lease_time",
    "http_port",
)
CLOUD = (
    "domain",
    "openstack",
    "controller",
    "time_servers",
    "time_zone",
    "locale",
    "keyboard",
    "log_host",
)
SYSTEM = (
    "kernel",
    "initrd",
    "initrds",
    "arguments",
    "packages",
    "tree",
    "hypervisor",
    "hypervisor_arguments",
)
ROLE = (
    "extends",
    "install",
    "os",
    "answer",
    "image",
    "metapackage",
    "disk",
    "layout",
    "options",
    "gpu_passthrough",
    "more_packages",
    "root_password",
)
ADMINISTRATOR = ("ssh_keys", "password")
GPU = ("alias", "vendor", "product", "sriov")
HOST = (
    "mac",
    "address",
    "role",
    "firmware",
    "secure_boot",
    "loader",
    "disk",
    "bond",
    "vlan",
    "addresses",
    "bmc",
)
BMC = ("redfish", "ipmi", "user")


@dataclass(frozen=True, slots=True)
class NetworkDraft:
    """The section `network`."""

    interface: str | None
    subnet: IPv4Network | None
    server: IPv4Address | None
    gateway: IPv4Address | None
    dns: tuple[IPv4Address, ...]
    dhcp: DhcpMode
    discovery: Pool | None
    lease_time: timedelta | None
    http_port: int | None


@dataclass(frozen=True, slots=True)
class SystemDraft:
    """One entry of `systems`."""

    name: str
    kernel: str | None
    initrds: tuple[str, ...]
    arguments: tuple[str, ...]
    packages: str | None
    tree: str | None
    hypervisor: str | None
    hypervisor_arguments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RoleDraft:
    """One entry of `roles`, before `extends` is applied."""

    name: str
    key: str
    extends: str | None
    own: Mapping[str, Any]
    """Only what the role says itself, by the names of `model.Role`'s fields."""


@dataclass(frozen=True, slots=True)
class HostDraft:
    """One entry of a rack."""

    name: str
    rack: str
    key: str
    mac: MacAddress | None
    address: IPv4Address | None
    role: str | None
    firmware: HostFirmware | None
    secure_boot: bool
    loader: Loader | None
    bmc: Bmc | None
    disks: tuple[str, ...] = ()
    """Its own; none: those of its role."""
    bond: BondDraft | None = None
    vlan: int | None = None
    addresses: tuple[AddressDraft, ...] = ()


def read_network(top: Section) -> NetworkDraft | None:
    """The provisioning segment."""
    example = "{interface: br-prov, subnet: 10.20.0.0/22}"
    section = top.section("network", NETWORK) if top.require("network", example) else None
    if section is None:
        return None
    section.require("interface", "br-prov")
    section.require("subnet", "10.20.0.0/22")
    return NetworkDraft(
        interface=section.value("interface", values.interface),
        subnet=section.value("subnet", values.subnet),
        server=section.value("server", values.address),
        gateway=section.value("gateway", values.address),
        dns=section.values("dns", values.address) or (),
        dhcp=section.value("dhcp", values.choice(DhcpMode)) or DhcpMode.AUTHORITATIVE,
        discovery=section.value("discovery", values.pool),
        lease_time=section.value("lease_time", values.lease_time),
        http_port=section.value("http_port", values.port),
    )


def read_cloud(top: Section) -> Cloud:
    """The cloud that the hosts become; all of it may be absent."""
    section = top.section("cloud", CLOUD)
    if section is None:
        return Cloud()
    return Cloud(
        domain=section.value("domain", values.domain),
        openstack=section.value("openstack", values.name),
        controller=section.value("controller", values.host_name),
        time_servers=section.values("time_servers", values.address) or (),
        time_zone=section.value("time_zone", values.shape("zone")),
        locale=section.value("locale", values.shape("locale")),
        keyboard=section.value("keyboard", values.shape("keyboard")),
        log_host=section.value("log_host", values.address),
    )


def read_administrators(top: Section) -> tuple[Administrator, ...]:
    """Who may become root on installed hosts."""
    return tuple(
        Administrator(
            name=section.name,
            ssh_keys=section.values("ssh_keys", values.ssh_key) or (),
            password=section.value("password", values.password_hash),
        )
        for section in top.named("administrators", ADMINISTRATOR, values.user)
    )


def read_systems(top: Section) -> dict[str, SystemDraft]:
    """Operating systems whose installers can be booted."""
    return {
        section.name: read_system(section) for section in top.named("systems", SYSTEM, values.name)
    }


def read_system(section: NamedSection) -> SystemDraft:
    """One operating system."""
    section.require("kernel", f"{section.name}/vmlinuz")
    if "initrd" in section and "initrds" in section:
        message = "both initrd and initrds are given, expected one of them"
        section.found.add(section.path("initrd"), message, "put all paths into initrds: [...]")
    elif "initrd" not in section and "initrds" not in section:
        section.require("initrd", f"{section.name}/initrd.img")
    return SystemDraft(
        name=section.name,
        kernel=section.value("kernel", values.relative_path),
        initrds=(
            *(section.values("initrd", values.relative_path) or ()),
            *(section.values("initrds", values.relative_path) or ()),
        ),
        arguments=read_arguments(section, "arguments"),
        packages=section.value("packages", values.text),
        tree=section.value("tree", values.url("http", "https")),
        hypervisor=section.value("hypervisor", values.relative_path),
        hypervisor_arguments=read_arguments(section, "hypervisor_arguments"),
    )


def read_arguments(section: Section, name: str) -> tuple[str, ...]:
    """Kernel arguments, as a list of words or as one line of them."""
    node = section.node(name)
    if isinstance(node, Scalar) and not node.is_null:
        return section.value(name, values.arguments) or ()
    return section.values(name, values.argument) or ()


def read_roles(top: Section) -> dict[str, RoleDraft]:
    """What hosts are for."""
    top.require("roles", "{compute: {install: image, image: compute.raw}}")
    return {section.name: read_role(section) for section in top.named("roles", ROLE, values.name)}


def read_role(section: NamedSection) -> RoleDraft:
    """One role, its own words only."""
    read: dict[str, Any] = {
        "install": section.value("install", values.choice(Install)),
        "os": section.value("os", values.name),
        "answer": section.value("answer", values.relative_path),
        "image": section.value("image", values.relative_path),
        "metapackage": section.value("metapackage", values.name),
        "layout": section.value("layout", values.layout),
        "options": section.pairs("options", values.name, values.text),
        "more_packages": section.values("more_packages", values.shape("package")) or (),
        "root_password": section.value("root_password", values.password_hash),
        "gpu_passthrough": tuple(read_gpu(gpu) for gpu in section.tables("gpu_passthrough", GPU)),
    }
    own = {name: value for name, value in read.items() if name in section}
    if disks := read_disks(section):
        own |= {"disk": disks[0], "mirror": disks[1] if len(disks) > 1 else None}
    return RoleDraft(section.name, section.key, section.value("extends", values.name), own)


def read_gpu(section: Section) -> GpuPassthrough:
    """One PCI device; what is wrong becomes empty and is noted."""
    section.require("alias", "K20m")
    section.require("vendor", '"10de"')
    section.require("product", '"1028"')
    return GpuPassthrough(
        alias=section.value("alias", values.name) or "",
        vendor=read_id(section, "vendor"),
        product=read_id(section, "product"),
        sriov=section.value("sriov", values.boolean) or False,
    )


def read_id(section: Section, name: str) -> str:
    """Four hexadecimal digits, quoted when YAML would make a number of them."""
    node = section.node(name)
    if isinstance(node, Scalar) and not node.quoted and values.looks_like_number(node.text):
        message = f"{quote(node.text)[1:-1]} is a number to YAML, expected four hexadecimal digits"
        digits = node.text.lower().removeprefix("0x")
        section.found.add(section.path(name), f"{message} in quotes", f'write {name}: "{digits}"')
        return ""
    return section.value(name, values.hexadecimal_id) or ""


def read_hosts(top: Section) -> list[HostDraft]:
    """All hosts of all racks, in the order of the file, namesakes included."""
    top.require("racks", "{r1: {host1: {mac: ..., address: ..., role: ...}}}")
    return [
        read_host(section, rack.name)
        for rack in top.named("racks", None, values.name)
        for section in rack.children(HOST, values.host_name)
    ]


def host_names(top: Section) -> list[str]:
    """The names of all hosts, also of those that are not well described."""
    racks = top.node("racks")
    tables = [node for _, node in racks.entries.values()] if isinstance(racks, Table) else []
    return [name for rack in tables if isinstance(rack, Table) for name in rack.entries]


def read_host(section: NamedSection, rack: str) -> HostDraft:
    """One machine."""
    section.require("mac", "52:54:00:aa:00:01")
    section.require("address", "10.20.0.11")
    section.require("role", "compute")
    return HostDraft(
        name=section.name,
        rack=rack,
        key=section.key,
        mac=section.value("mac", values.mac),
        address=section.value("address", values.address),
        role=section.value("role", values.name),
        firmware=(
            section.value("firmware", values.choice(HostFirmware))
            if "firmware" in section
            else HostFirmware.BIOS
        ),
        secure_boot=section.value("secure_boot", values.boolean) or False,
        loader=section.value("loader", values.choice(Loader)),
        bmc=read_bmc(section),
        disks=read_disks(section),
        bond=read_bond(section),
        vlan=section.value("vlan", values.vlan),
        addresses=read_addresses(section),
    )


def read_bmc(host: Section) -> Bmc | None:
    """How to reach a management controller."""
    section = host.section("bmc", BMC)
    if section is None:
        return None
    given = [name for name in ("redfish", "ipmi") if name in section]
    if len(given) != 1:
        found = "both redfish and ipmi are given" if given else "neither redfish nor ipmi is given"
        hint = None if given else "add  redfish: https://10.21.0.11"
        section.found.add(section.key, f"{found}, expected exactly one of them", hint)
    return Bmc(
        redfish=section.value("redfish", values.url("https", "http")),
        ipmi=section.value("ipmi", values.url("ipmi")),
        user=section.value("user", values.word),
    )


def read_top(found: Findings, node: Node) -> Section | None:
    """The whole file as a section; None after noting that it is no mapping."""
    if isinstance(node, Table):
        if not set(TOP) & set(node.entries):
            # Told once and without its words: it may be any file, also one of secrets.
            message = f"no section of an inventory is in it, expected {', '.join(TOP)}"
            found.add("", message, "name the inventory with --inventory PATH")
            return None
        return Section(node, "", found, TOP)
    found.add("", f"the file is {describe(node)}, expected the sections {', '.join(TOP)}")
    return None
