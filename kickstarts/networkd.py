"""A host's network as systemd-networkd reads it: the same for one port, a bond and a VLAN."""

import re
from collections.abc import Mapping

from kickstarts.plan import MAC, NetworkSettings

FOLDER = "/etc/systemd/network"


def network_files(
    network: NetworkSettings, domain: str | None, *, permanent_mac: bool = True
) -> Mapping[str, str]:
    """The files by path; `permanent_mac` for a systemd that knows PermanentMACAddress (244)."""
    files = {}
    bond, vlan = network.bond, f"vlan{network.vlan}" if network.vlan else None
    addressed = _addressed(network, domain)
    below = f"VLAN={vlan}\nLinkLocalAddressing=no\n" if vlan else addressed
    if bond:
        mode = f"[Bond]\nMode={bond.mode}\nMIIMonitorSec=100ms\n"
        files["10-bond.netdev"] = f"[NetDev]\nName={bond.name}\nKind=bond\n{mode}"
        for number, port in enumerate(bond.ports, 1):
            match = _match(port, permanent_mac)
            files[f"20-port{number}.network"] = f"{match}[Network]\nBond={bond.name}\n"
        files["30-bond.network"] = f"[Match]\nName={bond.name}\n[Network]\n{below}"
    else:
        files["10-port.network"] = f"{_match(network.mac, permanent_mac)}[Network]\n{below}"
    if vlan:
        files["40-vlan.netdev"] = f"[NetDev]\nName={vlan}\nKind=vlan\n[VLAN]\nId={network.vlan}\n"
        files["50-vlan.network"] = f"[Match]\nName={vlan}\n[Network]\n{addressed}"
    return {f"{FOLDER}/{name}": text for name, text in files.items()}


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


def _addressed(network: NetworkSettings, domain: str | None) -> str:
    lines = [f"Address={network.address}"]
    if network.gateway:
        lines.append(f"Gateway={network.gateway}")
    lines += [f"DNS={address}" for address in network.dns]
    if domain:
        lines.append(f"Domains={domain}")
    return "\n".join(lines) + "\n"
