"""From a plan to the text of a kickstart."""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files

from kickstarts.errors import BadValue
from kickstarts.networkd import is_mac
from kickstarts.plan import DiskChoice, Firmware, InstallPlan, Layout, Link
from kickstarts.roles.base import Role
from kickstarts.systems import System, mirrored, system
from kickstarts.templating import environment
from kickstarts.values import MASK, Secret


def render(plan: InstallPlan, *, masked: bool = False) -> str:
    """The kickstart of one host; `masked` for the eyes of people, with no secret in it.

    Raises BadValue, UnknownSystem.
    """
    kind = system(plan.system)
    check_fit(plan, kind)
    template = environment().get_template("base.ks.j2")
    return template.render(_values(plan, kind), reveal=_mask if masked else Secret.reveal)


def check_fit(plan: InstallPlan, kind: System) -> None:
    """What the system can do covers what the plan asks.

    Raises BadValue.
    """
    if plan.role.metapackage is not None and not kind.cloud:
        raise BadValue("role", f"a role without OpenStack on {kind.title}, which has none today")
    hashes = (plan.root_password, *(user.password for user in plan.administrators))
    if not kind.has_yescrypt and any(h and h.reveal().startswith("$y$") for h in hashes):
        raise BadValue("password", f"a SHA-512 hash ($6$) on {kind.title}, which has no yescrypt")


def _values(plan: InstallPlan, kind: System) -> Mapping[str, object]:
    """What the templates see: the plan, its system, and what would be computing in a template."""
    chosen = plan.role.time_servers
    return {
        "plan": plan,
        "system": mirrored(kind, plan.packages.tree, plan.packages.repositories),
        "disks": plan.disks,
        "by_path": plan.disks.choice is DiskChoice.PATH,
        "mirrored": plan.disks.layout is Layout.RAID1,
        "uefi": plan.firmware is Firmware.UEFI,
        **_network(plan),
        # The host's own name: a disk carried into another host does not clash with its group.
        "volume_group": plan.host.replace("-", "_"),
        "time_servers": plan.time_servers if chosen is None else chosen,
        "keys_only": all(user.password is None for user in plan.administrators),
        "steps": steps_of(type(plan.role)),
        "helpers": helpers_of(type(plan.role)),
    }


def _network(plan: InstallPlan) -> Mapping[str, object]:
    """The command `network` for each link, and the addresses that it has no room for."""
    network, (first, *more) = plan.network, plan.network.links
    bond = network.bond
    found = bond is not None and any(is_mac(port) for port in bond.ports)
    words = []
    if bond:
        ports = "$bonded" if found else ",".join(bond.ports)
        words = [f"--bondslaves={ports}", f"--bondopts=mode={bond.mode},miimon=100"]
    own = [f"--gateway={network.gateway}"] if network.gateway else []
    own += [f"--nameserver={','.join(map(str, network.dns))}"] if network.dns else []
    own.append(f"--hostname={plan.full_name}")
    return {
        "bond_found": found,
        "first_network": _command(network.device, first, words, own),
        "more_networks": [
            _command(each.mac or network.device, each, [], ["--nodefroute"]) for each in more
        ],
        "beside": [link.addresses for link in (first, *more) if len(link.addresses) > 1],
    }  # fmt: skip


def _command(device: str, link: Link, before: Sequence[str], after: Sequence[str]) -> str:
    address = link.addresses[0]
    words = [f"--device={device}", *before]
    if link.vlan is not None:
        words.append(f"--vlanid={link.vlan}")
    words += ["--bootproto=static", f"--ip={address.ip}", f"--netmask={address.netmask}"]
    return " ".join(["network", *words, *after, "--onboot=yes", "--activate"])


def steps_of(role: type[Role]) -> Mapping[str, str]:
    """The scripts of a role by name, those of what it extends first."""
    return _scripts(_packages(role), "steps", ".sh")


def helpers_of(role: type[Role]) -> Mapping[str, str]:
    """The programs that a role's steps call, by file name."""
    return {
        name + suffix: text
        for suffix in (".py", ".sh")
        for name, text in _scripts(_packages(role), "helpers", suffix).items()
    }


def _packages(role: type[Role]) -> tuple[str, ...]:
    """The packages of a role and of what it extends, the most general first."""
    modules = (cls.__module__ for cls in reversed(role.__mro__))
    return tuple(dict.fromkeys(name for name in modules if _is_role(name)))


def _is_role(module: str) -> bool:
    return module.startswith("kickstarts.roles.") and module != Role.__module__


@cache
def _scripts(packages: tuple[str, ...], folder: str, suffix: str) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for package in packages:
        place = files(package) / folder
        for file in sorted(place.iterdir(), key=lambda each: each.name) if place.is_dir() else ():
            if file.name.endswith(suffix):
                found[file.name.removesuffix(suffix)] = file.read_text(encoding="utf-8")
    return dict(sorted(found.items()))


def _mask(_: Secret) -> str:
    return MASK
