"""From a plan to Ubuntu's autoinstall: cloud-init's user-data and meta-data."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from kickstarts.errors import UnknownSystem
from kickstarts.networkd import is_mac, vlan_name
from kickstarts.plan import Firmware, InstallPlan, Link, NetworkSettings
from kickstarts.preseed import check_packages
from kickstarts.templating import environment
from kickstarts.values import MASK, Secret

NETPLAN_VERSION = 2


@dataclass(frozen=True, slots=True)
class System:
    """One release that Ubuntu's server installer (subiquity) installs."""

    name: str
    title: str
    suite: str
    """As a mirror calls it."""
    has_mirror_selection: bool = True
    """Mirrors may be a list of candidates (2023 on); before, one primary mirror was named."""


SYSTEMS: Mapping[str, System] = {
    system.name: system
    for system in (
        System("ubuntu-22.04", "Ubuntu 22.04", "jammy", has_mirror_selection=False),
        System("ubuntu-24.04", "Ubuntu 24.04", "noble"),
        System("ubuntu-26.04", "Ubuntu 26.04", "resolute"),
    )
}
"""By name, as an inventory calls them."""


@dataclass(frozen=True, slots=True)
class Keyboard:
    """A keyboard in the installer's two words."""

    layout: str
    variant: str


def render(plan: InstallPlan, *, masked: bool = False) -> str:
    """The user-data of one host; `masked` for the eyes of people, with no secret in it.

    Raises BadValue, UnknownSystem.
    """
    kind = system(plan.system)
    check_packages(plan, kind.title)
    values = _values(plan, kind, masked=masked)
    made = environment()
    scripts = {
        name: made.get_template(f"autoinstall/{name}.sh.j2").render(values).rstrip()
        for name in ("early", "late", "error")
    }
    return made.get_template("autoinstall/user-data.yaml.j2").render(values, **scripts)


def meta_data(plan: InstallPlan) -> str:
    """The meta-data that belongs to it, where cloud-init is given both: nothing secret."""
    return f"instance-id: {plan.host}-{plan.network.mac}\nlocal-hostname: {plan.host}\n"


def system(name: str) -> System:
    """One of the systems.

    Raises UnknownSystem.
    """
    if name in SYSTEMS:
        return SYSTEMS[name]
    error = UnknownSystem(f"no autoinstall is known for '{name}', expected {', '.join(SYSTEMS)}")
    if near := get_close_matches(name, SYSTEMS, 1):
        error.add_note(f"did you mean '{near[0]}'?")
    raise error


def netplan(network: NetworkSettings, domain: str | None) -> Mapping[str, object]:
    """The network in netplan's words."""
    bond = network.bond
    main = bond.name if bond else "port"
    others = dict.fromkeys(link.mac for link in network.links if link.mac)
    names: dict[str | None, str] = {
        None: main,
        **{mac: f"more{number}" for number, mac in enumerate(others, 1)},
    }
    own: dict[str, dict[str, object]] = {}
    vlans: dict[str, object] = {}
    for link in network.links:
        addressed = _addressed(network, link, domain)
        if name := vlan_name(link):
            vlans[name] = {"id": link.vlan, "link": names[link.mac], **addressed}
        else:
            own[names[link.mac]] = addressed
    ports: dict[str, object] = {}
    plan: dict[str, object] = {"version": NETPLAN_VERSION, "ethernets": ports}
    if bond:
        members = {(f"port{n}" if is_mac(p) else p): _port(p) for n, p in enumerate(bond.ports, 1)}
        ports |= members
        parameters = {"mode": bond.mode, "mii-monitor-interval": 100}
        made = {"interfaces": list(members), "parameters": parameters}
        plan["bonds"] = {bond.name: made | own.get(main, {})}
    else:
        ports[main] = _port(network.mac) | own.get(main, {})
    ports |= {names[mac]: _port(mac) | own.get(names[mac], {}) for mac in others}
    return plan | ({"vlans": vlans} if vlans else {})


def _addressed(network: NetworkSettings, link: Link, domain: str | None) -> dict[str, object]:
    addressed: dict[str, object] = {"addresses": [str(each) for each in link.addresses]}
    if network.address not in link.addresses:
        return addressed
    if network.gateway:
        addressed["routes"] = [{"to": "default", "via": str(network.gateway)}]
    if network.dns:
        servers: dict[str, object] = {"addresses": [str(each) for each in network.dns]}
        addressed["nameservers"] = servers | ({"search": [domain]} if domain else {})
    return addressed


def _port(port: str) -> dict[str, object]:
    return {"match": {"macaddress": port}} if is_mac(port) else {}


def _values(plan: InstallPlan, kind: System, *, masked: bool) -> Mapping[str, object]:
    chosen = plan.role.time_servers
    layout, _, variant = plan.keyboard.partition("-")
    # What comes from repositories of one's own is installed when these are known, by hand.
    more = () if plan.packages.repositories else plan.packages.more
    return {
        "plan": plan,
        "system": kind,
        "disks": plan.disks,
        "disk_tokens": [f"@rackseed-disk-{n}@" for n in range(1, plan.disks.count + 1)],
        "uefi": plan.firmware is Firmware.UEFI,
        "volume_group": plan.host.replace("-", "_"),
        "keyboard": Keyboard(layout, variant),
        "network": "\n".join(_block(netplan(plan.network, plan.domain))),
        "keys_only": all(user.password is None for user in plan.administrators),
        "time_servers": plan.time_servers if chosen is None else chosen,
        "packages": ("chrony", "curl", *more),
        "reveal": _mask if masked else Secret.reveal,
    }


def _block(value: Mapping[str, object]) -> Iterator[str]:
    """Lines of YAML; texts and lists are written as JSON writes them, which YAML reads."""
    for key, each in value.items():
        if isinstance(each, dict) and each:
            yield f"{key}:"
            yield from (f"  {line}" for line in _block(each))
        else:
            yield f"{key}: {json.dumps(each)}"


def _mask(_: Secret) -> str:
    return MASK
