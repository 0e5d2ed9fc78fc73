"""The DHCP server that stays, for inventories that work beside one: dnsmasq, on its own."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from pathlib import Path

from pyroute2 import IPRoute, NetNS

from provision.inventory.model import Inventory
from provision.run import start
from provision.simulation.errors import NoWorld
from provision.simulation.network import server_address
from provision.simulation.world import held_back

OUR_END, ITS_END = "standing0", "standing1"


@contextmanager
def standing_server(
    dnsmasq: Path, inventory: Inventory, folder: Path, log_file: Path
) -> Iterator[None]:
    """Run dnsmasq in a network namespace of its own, joined to the bridge by a cable.

    It gives every host the address that the inventory promises, and nothing about booting.
    """
    address = standing_address(inventory)
    prefix = inventory.network.subnet.prefixlen
    # It waits for its interface, which can only be handed over once its namespace is there.
    words = ["unshare", "--net", "--", *dnsmasq_argv(dnsmasq, inventory, folder)]
    with start(words, stderr=log_file) as child, IPRoute() as netlink:
        netlink.link("add", ifname=OUR_END, kind="veth", peer={"ifname": ITS_END})
        (ours,) = netlink.link_lookup(ifname=OUR_END)
        (its,) = netlink.link_lookup(ifname=ITS_END)
        (bridge,) = netlink.link_lookup(ifname=inventory.network.interface)
        _await_namespace(child.pid)
        netlink.link("set", index=its, net_ns_pid=child.pid)
        netlink.link("set", index=ours, master=bridge, state="up")
        with held_back():  # it forks, and ends what it forked by SIGTERM
            namespace = NetNS(f"/proc/{child.pid}/ns/net")
        with namespace as inside:
            (port,) = inside.link_lookup(ifname=ITS_END)
            inside.addr("add", index=port, address=str(address), prefixlen=prefix)
            inside.link("set", index=port, state="up")
        yield


def standing_address(inventory: Inventory) -> IPv4Address:
    """Its own: usually the gateway's, as on a small site."""
    network = inventory.network
    if network.gateway is not None and network.gateway in network.subnet:
        return network.gateway
    taken = {host.address for host in inventory.hosts.values()} | {server_address(inventory)}
    return next(address for address in network.subnet.hosts() if address not in taken)


def dnsmasq_argv(dnsmasq: Path, inventory: Inventory, folder: Path) -> list[str]:
    """Static leases for the hosts, no DNS, no TFTP, no boot file."""
    network = inventory.network
    return [
        str(dnsmasq),
        *("--no-daemon", "--conf-file=/dev/null", "--port=0", "--bind-dynamic"),
        *(f"--interface={ITS_END}", f"--dhcp-leasefile={folder / 'dnsmasq.leases'}"),
        *("--log-dhcp", "--dhcp-authoritative"),
        f"--dhcp-range={network.subnet.network_address},static,{network.subnet.netmask},1h",
        *(f"--dhcp-host={host.mac},{host.address}" for host in inventory.hosts.values()),
    ]


def _await_namespace(pid: int) -> None:
    ours = Path("/proc/self/ns/net").readlink()
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid}/ns/net").readlink() == ours:
        if time.monotonic() > deadline:
            raise NoWorld("the standing DHCP server got no network namespace of its own")
        time.sleep(0.01)
