"""Disks and links of hosts and roles, as the file has them."""

from dataclasses import dataclass
from ipaddress import IPv4Interface

from kickstarts.plan import BOND_MODES
from provision.inventory import values
from provision.inventory.schema import Section
from pxe.addresses import MacAddress

BOND = ("members", "mode", "name")
ADDRESS = ("address", "mac", "vlan")
MOST_DISKS = 2


@dataclass(frozen=True, slots=True)
class BondDraft:
    """The section `bond` of a host."""

    members: tuple[MacAddress, ...]
    mode: str
    name: str


@dataclass(frozen=True, slots=True)
class AddressDraft:
    """One entry of a host's `addresses`."""

    key: str
    address: IPv4Interface | None
    mac: MacAddress | None
    vlan: int | None


def read_disks(section: Section) -> tuple[str, ...]:
    """Which disks are written to: one, or both of a mirror."""
    disks = section.values("disk", values.disk) or ()
    if len(disks) > MOST_DISKS:
        message = f"found {len(disks)} disks, expected one, or two for layout raid1"
        section.found.add(section.path("disk"), message)
    return disks


def read_bond(host: Section) -> BondDraft | None:
    """The ports that carry the host's address together."""
    section = host.section("bond", BOND)
    if section is None:
        return None
    section.require("members", "[52:54:00:aa:00:01, 52:54:00:aa:00:02]")
    return BondDraft(
        members=section.values("members", values.mac) or (),
        mode=section.value("mode", values.bond_mode) or BOND_MODES[0],
        name=section.value("name", values.shape("port")) or "bond0",
    )


def read_addresses(host: Section) -> tuple[AddressDraft, ...]:
    """What other addresses the host has."""
    drafts = []
    for section in host.tables("addresses", ADDRESS):
        section.require("address", "10.30.0.11/24")
        draft = AddressDraft(
            key=section.key,
            address=section.value("address", values.address_with_prefix),
            mac=section.value("mac", values.mac),
            vlan=section.value("vlan", values.vlan),
        )
        drafts.append(draft)
    return tuple(drafts)
