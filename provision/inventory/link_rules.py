"""What must hold of the disks and links of hosts; each rule notes its own sentence."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from kickstarts.plan import Layout
from provision.inventory.draft import Draft
from provision.inventory.links import AddressDraft
from provision.inventory.model import INSTALLED_BY_ANSWER, Install
from provision.inventory.schema import Findings
from provision.inventory.sections import HostDraft
from provision.inventory.values import DISK_CHOICES
from pxe.addresses import MacAddress

LEAST_MEMBERS = 2
BY_PATH = "/dev/disk/by-path/"
"""The same path is in every machine of a kind; a serial number or an id is in one."""


def disks_fit_the_layout(draft: Draft, found: Findings) -> None:
    """A disk for each place in the layout, all of them known in one way."""
    for name, role in draft.resolved.items():
        disks = tuple(disk for disk in (role.get("disk"), role.get("mirror")) if disk)
        _disks_fit(disks, role, f"{draft.roles[name].key}.disk", found)
    for host in draft.hosts:
        if host.disks and (known := draft.resolved.get(host.role or "")) is not None:
            _disks_fit(host.disks[:2], known, f"{host.key}.disk", found)


def _disks_fit(disks: Sequence[str], role: Mapping[str, Any], key: str, found: Findings) -> None:
    layout = role.get("layout") or Layout.LVM.value
    mirrored = layout == Layout.RAID1.value
    ways = {_way(disk) for disk in disks}
    if len(ways) > 1 or (len(disks) > 1 and "choice" in ways):
        message = f"found {' and '.join(disks)}, expected two serial numbers or two paths"
        found.add(key, message)
    elif len(set(disks)) < len(disks):
        found.add(key, f"found {disks[0]} twice, expected two disks")
    elif role.get("install") is Install.IMAGE and (len(disks) > 1 or "path" in ways):
        message = f"found {' and '.join(disks)} for an image, expected smallest, largest, first"
        found.add(key, f"{message}, or the serial number of one disk")
    elif len(disks) > 1 and not mirrored:
        message = f"found two disks for layout {layout}, expected one"
        found.add(key, message, "layout: raid1 uses two")
    elif disks and mirrored and len(disks) < 2 and "choice" not in ways:
        message = f"found one disk for layout {layout}, expected two"
        found.add(key, message, f"write  disk: [{disks[0]}, SECOND]")


def _way(disk: str) -> str:
    if disk in DISK_CHOICES:
        return "choice"
    return "path" if disk.startswith("/") else "serial"


def no_disk_is_in_two_hosts(draft: Draft, found: Findings) -> None:
    """A serial number belongs to one disk, and that is in one machine."""
    first: dict[str, HostDraft] = {}
    for host in draft.hosts:
        for disk in host.disks:
            if disk in DISK_CHOICES or disk.startswith(BY_PATH):
                continue
            if (other := first.setdefault(disk, host)) is not host:
                where = f"host {other.name} in rack {other.rack}"
                line = found.lines[f"{other.key}.disk"]
                message = f"the disk {disk} is that of {where} (line {line}), expected another"
                found.add(f"{host.key}.disk", message)


def bonds_are_whole(draft: Draft, found: Findings) -> None:
    """A bond has ports enough, and the one that boots is among them."""
    for host in draft.hosts:
        if host.bond is None:
            continue
        key, members = f"{host.key}.bond.members", host.bond.members
        if f"{host.key}.bond.members" not in found.lines:
            continue  # told already
        if len(set(members)) < LEAST_MEMBERS:
            found.add(key, "found fewer than two ports, expected two at least")
        elif len(set(members)) < len(members):
            found.add(key, "found a port twice, expected each once")
        elif host.mac is not None and host.mac not in members:
            message = f"{host.mac}, the port that boots, is not among them, expected it to be"
            found.add(key, message, "the host's address moves from that port to the bond")


def addresses_can_be_told_apart(draft: Draft, found: Findings) -> None:
    """Which link an address is on, and which network is reached by which link, is plain."""
    for host in draft.hosts:
        own = {host.mac, *(host.bond.members if host.bond else ())}
        for more in host.addresses:
            if more.mac is not None and more.mac in own:
                message = f"{more.mac} boots or is in the bond, expected another port"
                hint = "without mac an address is on the port that boots, or on its bond"
                found.add(f"{more.key}.mac", message, hint)
        _vlans_are_one(host, found)
        _networks_are_one(draft, host, found)


def _vlans_are_one(host: HostDraft, found: Findings) -> None:
    ports: dict[int, MacAddress | None] = {} if host.vlan is None else {host.vlan: None}
    for more in host.addresses:
        if more.vlan is not None and ports.setdefault(more.vlan, more.mac) != more.mac:
            message = f"VLAN {more.vlan} is on another port of this host, expected it on one"
            found.add(f"{more.key}.vlan", message)


def _networks_are_one(draft: Draft, host: HostDraft, found: Findings) -> None:
    subnet = draft.network.subnet if draft.network else None
    others: list[AddressDraft] = []
    for more in host.addresses:
        if more.address is None:
            continue
        network = more.address.network
        if subnet is not None and network.overlaps(subnet):
            if (more.mac, more.vlan) != (None, host.vlan):
                message = f"{more.address} overlaps the provisioning subnet {subnet} on another"
                hint = "without mac and vlan an address is on the link of the first"
                found.add(more.key, f"{message} link, expected another network", hint)
            continue
        for other in others:
            assert other.address is not None
            apart = (other.mac, other.vlan) != (more.mac, more.vlan)
            if apart and network.overlaps(other.address.network):
                message = f"{more.address} overlaps {other.address} on another link"
                found.add(more.key, f"{message}, expected another network")
        others.append(more)


def nothing_more_is_shared(draft: Draft, found: Findings) -> None:
    """No port and no address is that of two hosts, or twice that of one."""
    ports = {host.mac: host for host in draft.hosts if host.mac}
    addresses = {host.address: host for host in draft.hosts if host.address}
    for host in draft.hosts:
        for key, mac in _more_ports(host):
            if (other := ports.setdefault(mac, host)) is not host:
                message = f"the MAC address {mac} is taken by host {other.name} in rack"
                found.add(key, f"{message} {other.rack}, expected another")
        told: set[object] = set()
        for more in host.addresses:
            if more.address is None:
                continue
            its = more.address.ip
            owner = addresses.setdefault(its, host)
            if owner is not host or its in told or its == host.address:
                message = f"the address {its} is taken by host {owner.name} in rack {owner.rack}"
                found.add(more.key, f"{message}, expected another")
            told.add(its)


def _more_ports(host: HostDraft) -> Iterator[tuple[str, MacAddress]]:
    for mac in dict.fromkeys(host.bond.members if host.bond else ()):
        if mac != host.mac:
            yield f"{host.key}.bond.members", mac
    for more in host.addresses:
        if more.mac is not None and more.mac != host.mac:
            yield f"{more.key}.mac", more.mac


def links_are_for_answers(draft: Draft, found: Findings) -> None:
    """Only an installer's answer gives a host the links that the inventory says."""
    for host in draft.hosts:
        install = draft.resolved.get(host.role or "", {}).get("install")
        if install is None or install in INSTALLED_BY_ANSWER:
            continue
        given: Mapping[str, AddressDraft | object] = {
            "bond": host.bond, "vlan": host.vlan, "addresses": host.addresses or None,
        }  # fmt: skip
        for name in (name for name, value in given.items() if value is not None):
            message = f"found {name} with install: {install.value}, expected none"
            hint = "an installer's answer writes a host's network; an image brings its own"
            found.add(f"{host.key}.{name}", message, hint)


LINK_RULES: Sequence[Callable[[Draft, Findings], None]] = (
    disks_fit_the_layout,
    no_disk_is_in_two_hosts,
    bonds_are_whole,
    addresses_can_be_told_apart,
    nothing_more_is_shared,
    links_are_for_answers,
)
