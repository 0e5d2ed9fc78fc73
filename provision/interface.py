"""The interface of the provisioning network, as this machine has it."""

from ipaddress import IPv4Address

from provision.inventory import views
from provision.inventory.model import Inventory
from pxe.errors import InterfaceUnusable
from pxe.link import link_facts


def server_address(inventory: Inventory) -> IPv4Address:
    """Our own address: as the inventory says, else the one that the interface has.

    Raises InterfaceUnusable when there is none in the subnet.
    """
    network = inventory.network
    if network.server is not None:
        return network.server
    facts = link_facts(network.interface)
    for found in facts.addresses:
        if found.ip in network.subnet:
            return found.ip
    present = ", ".join(map(str, facts.addresses)) or "no IPv4 address"
    error = InterfaceUnusable(
        f"interface {network.interface} has {present}, expected one in {network.subnet}"
    )
    if (example := views.free_address(inventory)) is not None:
        prefix = network.subnet.prefixlen
        error.add_note(f"add one:  ip address add {example}/{prefix} dev {network.interface}")
    raise error
