"""Which hosts' answers differ in nothing but their own values: one of them is read for all."""

from dataclasses import replace
from ipaddress import IPv4Interface

from kickstarts.networkd import is_mac
from kickstarts.plan import DiskChoice, InstallPlan, NetworkSettings
from kickstarts.roles.base import Role

HOST = "host"
DISK = "/dev/disk/by-id/"
ADDRESS = IPv4Interface("192.0.2.1/24")
"""RFC 5737: for documentation."""
MAC = "00:00:5e:00:53:01"
"""RFC 7042, 2.1.2: for documentation."""


def kind(plan: InstallPlan) -> InstallPlan:
    """The plan with values that stand for every host's name, addresses and disks.

    A value is checked when its plan is made and has one shape, so who reads the answer to one of
    two plans of a kind reads the other. Whatever could bring another line stays.
    """
    disks = plan.disks
    if disks.named:
        stem = f"{DISK if disks.choice is DiskChoice.PATH else ''}{HOST}"
        disks = replace(disks, named=tuple(f"{stem}{n}" for n, _ in enumerate(disks.named)))
    return replace(
        plan,
        host=HOST,
        network=_network(plan.network),
        disks=disks,
        role=_role(plan.role, plan.full_name),
    )


def _network(network: NetworkSettings) -> NetworkSettings:
    """The same links with other addresses."""
    ports = dict.fromkeys((network.mac, *(each.mac for each in network.more if each.mac)))
    known = {mac: f"{MAC[:-2]}{number:02x}" for number, mac in enumerate(ports, 1)}
    bond = network.bond
    if bond:
        members = (f"{MAC[:-5]}{n:02x}:00" if is_mac(p) else p for n, p in enumerate(bond.ports, 1))
        bond = replace(bond, ports=tuple(members))
    return replace(
        network,
        address=ADDRESS,
        mac=known[network.mac],
        bond=bond,
        more=tuple(
            replace(each, address=IPv4Interface((ADDRESS.ip + n, 24)),
                    mac=known[each.mac] if each.mac else None)
            for n, each in enumerate(network.more, 1)
        ),
    )  # fmt: skip


def _role(role: Role, full_name: str) -> Role:
    cloud = role.cloud
    if cloud is None:
        return role
    itself = cloud.controller == full_name
    return replace(
        role,
        cloud=replace(
            cloud,
            full_name=HOST,
            address=ADDRESS.ip,
            controller=HOST if itself else cloud.controller,
            controller_address=ADDRESS.ip if itself else cloud.controller_address,
        ),
    )
