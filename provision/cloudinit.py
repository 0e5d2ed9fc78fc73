"""What cloud-init is told of a host whose image was written: a NoCloud seed.

The seed is a small file system called CIDATA (cloud-init's "NoCloud" data source). It comes with
the single-use answer, so nobody else can fetch it, and the ramdisk gives it a partition.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import yaml

from kickstarts.plan import Link, NetworkSettings
from provision.inventory import views
from provision.inventory.model import Administrator, Host, Inventory
from pxe import fat

LABEL = "CIDATA"
MASK = "***"
LINE = 10_000
"""Characters; keys stay on one line, for people to compare."""
MAY_BECOME_ROOT = "ALL=(ALL) ALL"
BECOMES_ROOT = "ALL=(ALL) NOPASSWD:ALL"
"""For administrators whom no password opens an account."""
POSTED = (
    *("pub_key_rsa", "pub_key_ecdsa", "pub_key_ed25519"),
    *("instance_id", "hostname", "fqdn"),
)
"""What the installed system tells of itself at last."""
TRIES = 30
"""How often it tries to; cloud-init waits three seconds before each."""


def seed(host: Host, inventory: Inventory, report_url: str) -> bytes:
    """The seed's file system. Raises BadValue for links that cannot be."""
    found = documents(host, inventory, report_url)
    return fat.image({name: text.encode() for name, text in found.items()}, LABEL)


def documents(
    host: Host, inventory: Inventory, report_url: str, *, masked: bool = False
) -> Mapping[str, str]:
    """The seed's files; `masked` for people to look at. Raises BadValue."""
    if masked:
        people = tuple(replace(w, password=w.password and MASK) for w in inventory.administrators)
        inventory = replace(inventory, administrators=people)
    found = {
        "user-data": user_data(host, inventory, report_url),
        "meta-data": meta_data(host, report_url),
        "network-config": network_config(views.network_settings(host, inventory), inventory),
    }
    heads = {"user-data": "#cloud-config\n"}
    return {
        name: heads.get(name, "") + yaml.safe_dump(document, sort_keys=False, width=LINE)
        for name, document in found.items()
    }


def user_data(host: Host, inventory: Inventory, report_url: str) -> dict[str, Any]:
    """Name, people, disk, clock, and whom to tell when all is done."""
    told: dict[str, Any] = {
        "hostname": host.name,
        "fqdn": views.full_name(host, inventory),
        "manage_etc_hosts": "localhost",
        "ssh_pwauth": False,
        "disable_root": True,
        "users": [_user(who) for who in inventory.administrators],
        "growpart": {"mode": "auto", "devices": ["/"]},
        "resize_rootfs": True,
    }
    if servers := [str(address) for address in inventory.cloud.time_servers]:
        told["ntp"] = {"enabled": True, "servers": servers}
    return told | {"phone_home": {"url": report_url, "post": list(POSTED), "tries": TRIES}}


def meta_data(host: Host, report_url: str) -> dict[str, str]:
    """Another instance at each deployment, so that nothing of an earlier one is kept."""
    mark = hashlib.blake2b(report_url.encode(), digest_size=6).hexdigest()
    return {"instance-id": f"{host.name}-{mark}", "local-hostname": host.name}


def network_config(network: NetworkSettings, inventory: Inventory) -> dict[str, Any]:
    """Ports by their MAC addresses, a bond of them, VLANs on either (netplan's format)."""
    bond = network.bond
    macs = [*(bond.ports if bond else (network.mac,)), *(link.mac for link in network.links)]
    ports = {mac: f"port{n}" for n, mac in enumerate(dict.fromkeys(filter(None, macs)), 1)}
    main = bond.name if bond else ports[network.mac]
    ethernets: dict[str, Any] = {
        name: {"match": {"macaddress": mac}, "set-name": name, "dhcp4": False}
        for mac, name in ports.items()
    }
    found: dict[str, Any] = {"version": 2, "ethernets": ethernets}
    if bond:
        parameters = {"mode": bond.mode, "mii-monitor-interval": 100}
        below = [ports[mac] for mac in bond.ports]
        found["bonds"] = {main: {"interfaces": below, "parameters": parameters, "dhcp4": False}}
    for link in network.links:
        own = _addressed(network, link, inventory)
        device = ports[link.mac] if link.mac else main
        if link.vlan is not None:
            tagged = {"id": link.vlan, "link": device, **own}
            found.setdefault("vlans", {})[f"vlan{link.vlan}"] = tagged
        else:
            place = found["bonds"] if bond and device == main else ethernets
            place[device] |= own
    return found


def _addressed(network: NetworkSettings, link: Link, inventory: Inventory) -> dict[str, Any]:
    told: dict[str, Any] = {"addresses": [str(address) for address in link.addresses]}
    if network.address not in link.addresses:
        return told
    if network.gateway:
        told["gateway4"] = str(network.gateway)  # read by every cloud-init, `routes` is not
    servers: Mapping[str, Any] = {
        "addresses": [str(address) for address in network.dns],
        "search": [inventory.cloud.domain] if inventory.cloud.domain else [],
    }
    if network.dns:
        told["nameservers"] = {key: value for key, value in servers.items() if value}
    return told


def _user(who: Administrator) -> dict[str, Any]:
    told: dict[str, Any] = {
        "name": who.name,
        "shell": "/bin/bash",
        "groups": ["adm"],
        "sudo": MAY_BECOME_ROOT if who.password else BECOMES_ROOT,
        "lock_passwd": who.password is None,
        "ssh_authorized_keys": list(who.ssh_keys),
        "passwd": who.password,
    }
    return {key: value for key, value in told.items() if value not in ([], None)}
