"""The inventory as the server under rehearsal gets it: the same rack, another installation.

Network, hosts, addresses, firmware and loaders stay as they are. What would need the outside
world is replaced: roles install the marker image, and state is kept in a store of its own.
"""

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import yaml

from provision.inventory.model import Host, HostFirmware, Inventory, Role

IMAGE_NAME = "marker.img"


def document(
    inventory: Inventory,
    server: IPv4Address,
    artifacts: Path,
    store: str,
    own_images: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """The rehearsed inventory, ready to be written as YAML.

    Roles whose hosts are in `own_images` keep theirs, and get the administrators too.
    """
    kept = {inventory.hosts[name].role.name for name in own_images or {}}
    network, cloud = inventory.network, inventory.cloud
    pool = network.discovery
    racks: dict[str, dict[str, Any]] = {}
    for host in inventory.hosts.values():
        racks.setdefault(host.rack, {})[host.name] = _host(host, inventory.roles[host.role.name])
    return {
        "network": _without_none(
            {
                "interface": network.interface,
                "subnet": str(network.subnet),
                "server": str(server),
                "gateway": _text(network.gateway),
                "dns": [str(address) for address in network.dns] or None,
                "dhcp": network.dhcp.value,
                "discovery": None if pool is None else f"{pool.first}-{pool.last}",
                "lease_time": f"{int(network.lease_time.total_seconds())}s",
                "http_port": network.http_port,
            }
        ),
        "cloud": _without_none(
            {
                "domain": cloud.domain,
                "time_servers": [str(address) for address in cloud.time_servers] or None,
            }
        ),
        **({"administrators": _administrators(inventory)} if kept else {}),
        "artifacts": str(artifacts),
        "store": store,
        "roles": {
            role.name: {
                "install": "image",
                "image": str(role.image) if role.name in kept else IMAGE_NAME,
                "disk": _disk(role),
            }
            for role in _roles(inventory)
        },
        "racks": racks,
    }


def write(document: Mapping[str, Any], path: Path) -> None:
    """Write it where the server reads it."""
    text = yaml.safe_dump(dict(document), sort_keys=False, default_style=None)
    path.write_text(text, encoding="utf-8")


def _roles(inventory: Inventory) -> Iterable[Role]:
    used = {host.role.name for host in inventory.hosts.values()}
    return (role for name, role in inventory.roles.items() if name in used)


def _administrators(inventory: Inventory) -> dict[str, Any]:
    return {
        who.name: _without_none({"ssh_keys": list(who.ssh_keys) or None, "password": who.password})
        for who in inventory.administrators
    }


def _disk(role: Role) -> str:
    """The ramdisk knows no paths, and writes to one disk."""
    return "first" if role.disk.startswith("/") else role.disk


def _host(host: Host, general: Role) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "mac": str(host.mac),
        "address": str(host.address),
        "role": host.role.name,
        "firmware": host.firmware.value,
        "loader": host.loader.value,
    }
    if (disk := _disk(host.role)) != _disk(general):
        facts["disk"] = disk
    if host.firmware is HostFirmware.BIOS:
        return facts
    return facts | {"secure_boot": host.secure_boot}


def _text(value: IPv4Address | None) -> str | None:
    return None if value is None else str(value)


def _without_none(facts: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in facts.items() if value is not None}
