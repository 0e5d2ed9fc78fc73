"""A host's network as systemd-networkd reads it: the same for one port, a bond and a VLAN."""

import re
from collections.abc import Mapping
from functools import partial

from kickstarts.plan import Link, NetworkSettings
from kickstarts.values import MAC

FOLDER = "/etc/systemd/network"


def network_files(
    network: NetworkSettings, domain: str | None, *, permanent_mac: bool = True
) -> Mapping[str, str]:
    """The files by path; `permanent_mac` for a systemd that knows PermanentMACAddress (244)."""
    files = {}
    bond = network.bond
    below = partial(_below, network, domain)
    if bond:
        mode = f"[Bond]\nMode={bond.mode}\nMIIMonitorSec=100ms\n"
        files["10-bond.netdev"] = f"[NetDev]\nName={bond.name}\nKind=bond\n{mode}"
        for number, port in enumerate(bond.ports, 1):
            match = _match(port, permanent_mac)
            files[f"20-port{number}.network"] = f"{match}[Network]\nBond={bond.name}\n"
        files["30-bond.network"] = f"[Match]\nName={bond.name}\n[Network]\n{below(None)}"
    else:
        files["10-port.network"] = f"{_match(network.mac, permanent_mac)}[Network]\n{below(None)}"
    others = dict.fromkeys(link.mac for link in network.links if link.mac)
    for number, mac in enumerate(others, 1):
        match = _match(mac, permanent_mac)
        files[f"35-more{number}.network"] = f"{match}[Network]\n{below(mac)}"
    for link in network.links:
        if name := vlan_name(link):
            made = f"[NetDev]\nName={name}\nKind=vlan\n[VLAN]\nId={link.vlan}\n"
            files[f"40-{name}.netdev"] = made
            own = _addressed(network, link, domain)
            files[f"50-{name}.network"] = f"[Match]\nName={name}\n[Network]\n{own}"
    return {f"{FOLDER}/{name}": text for name, text in files.items()}


def vlan_name(link: Link) -> str | None:
    """What the device of a VLAN is called; None for a link without one."""
    return None if link.vlan is None else f"vlan{link.vlan}"


def _below(network: NetworkSettings, domain: str | None, mac: str | None) -> str:
    """What a port or a bond carries itself, and which VLANs are on it."""
    links = [link for link in network.links if link.mac == mac]
    vlans = "".join(f"VLAN={vlan_name(link)}\n" for link in links if link.vlan is not None)
    plain = next((link for link in links if link.vlan is None), None)
    if plain is None:
        return f"{vlans}LinkLocalAddressing=no\n"
    return vlans + _addressed(network, plain, domain)


def is_mac(port: str) -> bool:
    """Whether a port is told by its MAC address and not by its name."""
    return re.fullmatch(MAC, port.lower()) is not None


def _match(port: str, permanent_mac: bool) -> str:
    """A port by its own MAC address, which a bond covers with that of its first port."""
    if not is_mac(port):
        return f"[Match]\nName={port}\n"
    if permanent_mac:
        return f"[Match]\nPermanentMACAddress={port}\n"
    return f"[Match]\nMACAddress={port}\nType=ether\n"


def _addressed(network: NetworkSettings, link: Link, domain: str | None) -> str:
    lines = [f"Address={address}" for address in link.addresses]
    if network.address in link.addresses:
        # Names are asked for and strangers reached where the first address is.
        if network.gateway:
            lines.append(f"Gateway={network.gateway}")
        lines += [f"DNS={address}" for address in network.dns]
        if domain:
            lines.append(f"Domains={domain}")
    return "\n".join(lines) + "\n"
