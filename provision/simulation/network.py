"""The segment of the rehearsal: a bridge in the server's place, one tap per machine."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from pyroute2 import IPRoute

from provision.inventory import views
from provision.inventory.model import Inventory
from provision.simulation.errors import NoWorld

TUN = Path("/dev/net/tun")


def server_address(inventory: Inventory) -> IPv4Address:
    """The inventory's own, else the first address of the subnet that nobody else has.

    Raises NoWorld.
    """
    address = inventory.network.server or views.free_address(inventory)
    if address is None:
        subnet = inventory.network.subnet
        raise NoWorld(f"{inventory.path}: no address of {subnet} is left for the server")
    return address


def make_segment(
    interface: str, address: IPv4Address, subnet: IPv4Network, taps: Sequence[str]
) -> None:
    """Make the bridge, give it the server's address, and plug the taps in.

    Only meant for a world of our own: nothing is removed, it goes with the world.
    Raises NoWorld when the kernel cannot make taps.
    """
    if not TUN.exists():
        error = NoWorld(f"{TUN} does not exist: no virtual machine can be plugged in")
        error.add_note("modprobe tun")
        raise error
    with IPRoute() as netlink:
        (loopback,) = netlink.link_lookup(ifname="lo")
        netlink.link("set", index=loopback, state="up")
        # Ports forward at once: firmware gives up before a spanning tree has settled.
        netlink.link("add", ifname=interface, kind="bridge", br_stp_state=0, br_forward_delay=0)
        (bridge,) = netlink.link_lookup(ifname=interface)
        netlink.addr(
            "add",
            index=bridge,
            address=str(address),
            prefixlen=subnet.prefixlen,
            broadcast=str(subnet.broadcast_address),
        )
        netlink.link("set", index=bridge, state="up")
        for tap in taps:
            netlink.link("add", ifname=tap, kind="tuntap", mode="tap")
            (port,) = netlink.link_lookup(ifname=tap)
            netlink.link("set", index=port, master=bridge, state="up")


def sent_from(tap: str) -> tuple[int, int]:
    """How many frames, of how many octets, a machine or program has sent into the segment."""
    with IPRoute() as netlink:
        (port,) = netlink.link_lookup(ifname=tap)
        (link,) = netlink.get_links(port)
        counted = link.get("stats64")
        return int(counted["rx_packets"]), int(counted["rx_bytes"])
