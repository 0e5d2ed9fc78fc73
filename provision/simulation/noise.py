"""Sends garbage to the server at full speed; a process of its own, see faults.py."""

import fcntl
import os
import random
import struct
import sys
from ipaddress import IPv4Address, IPv4Network

from pyroute2 import IPRoute

from provision.simulation.faults import NOISE_PORT, garbage_frames
from provision.simulation.network import TUN
from pxe.addresses import MacAddress

TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000  # linux/if_tun.h
SEED = 20260101
BATCH = 2_000
"""Different frames that are sent again and again: making them is slower than sending.

First as many of all sizes, then as many full ones: a tap takes these faster than a gigabit a
second, and those faster than full ones would follow one another on such a wire.
"""


def main() -> None:
    """Send until somebody ends us: INTERFACE SERVER SUBNET."""
    interface, server, subnet = sys.argv[1:]
    to = (IPv4Address(server), hardware_address(interface), IPv4Network(subnet))
    chance = random.Random(SEED)
    small, full = (garbage_frames(*to, chance, full=full) for full in (False, True))
    os.nice(10)  # the machines of the rack share our processors
    wire = os.open(TUN, os.O_RDWR)
    fcntl.ioctl(wire, TUNSETIFF, struct.pack("16sH", NOISE_PORT.encode(), IFF_TAP | IFF_NO_PI))
    batch = [next(frames) for frames in (small, full) for _ in range(BATCH)]
    while True:
        for frame in batch:
            os.write(wire, frame)


def hardware_address(interface: str) -> MacAddress:
    """Of the server's own port; not from /sys, which shows the world outside."""
    with IPRoute() as netlink:
        (index,) = netlink.link_lookup(ifname=interface)
        (link,) = netlink.get_links(index)
        return MacAddress.parse(str(link.get("address")))


if __name__ == "__main__":
    main()
