"""From an inventory file to one `Inventory`, or to every problem at once."""

import os
import stat
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType

from provision.inventory import values
from provision.inventory.document import read_document
from provision.inventory.draft import Draft, resolve_roles
from provision.inventory.model import (
    Bond,
    Cloud,
    Host,
    HostFirmware,
    Inventory,
    MoreAddress,
    Network,
    Role,
    System,
)
from provision.inventory.problems import InventoryInvalid
from provision.inventory.rules import check_all, controllers
from provision.inventory.schema import Findings, Section
from provision.inventory.sections import (
    HostDraft,
    NetworkDraft,
    host_names,
    read_administrators,
    read_cloud,
    read_hosts,
    read_network,
    read_roles,
    read_systems,
    read_top,
)
from pxe.boot import Loader

STORES = ("sqlite", "postgresql", "postgresql+psycopg")
"""The databases whose URLs are understood."""

OTHERS = stat.S_IRWXG | stat.S_IRWXO
"""The permission bits that a file of secrets must not have."""


def load(path: Path, *, default_store: str | None = None) -> Inventory:
    """Read and check an inventory.

    `default_store` is used when the file names none; without it `default_store_url()` is.

    Raises InventoryInvalid with every problem that was found.
    """
    node, problems = read_document(path)
    found = Findings(path, problems)
    top = read_top(found, node)
    if top is None:
        raise InventoryInvalid(found.problems)
    draft = read_draft(top)
    administrators = read_administrators(top)
    check_all(draft, found)
    store = read_store(top) or default_store or default_store_url()
    artifacts = path.parent / (read_folder(top, "artifacts") or "artifacts")
    secrets = read_secrets(top)
    keep_private(draft, artifacts, store, secrets, found)
    if found.problems or draft.network is None:
        raise InventoryInvalid(found.problems)
    roles = build_roles(draft, found)
    return Inventory(
        path=path,
        network=build_network(draft.network, found),
        cloud=build_cloud(draft),
        systems=MappingProxyType(build_systems(draft, found)),
        roles=MappingProxyType(roles),
        hosts=MappingProxyType({h.name: build_host(h, roles, found) for h in draft.hosts}),
        artifacts=artifacts,
        store=store,
        secrets=secrets,
        administrators=administrators,
    )


def default_store_url(environment: Mapping[str, str] | None = None) -> str:
    """Where state is kept unless something else is said: the system's place for root, else ours."""
    environment = os.environ if environment is None else environment
    if os.geteuid() == 0:
        folder = Path("/var/lib")
    else:
        home = environment.get("HOME") or str(Path.home())
        folder = Path(environment.get("XDG_STATE_HOME") or Path(home, ".local", "state"))
    return f"sqlite:///{folder / 'rackseed' / 'rackseed.db'}"


def read_draft(top: Section) -> Draft:
    """Read every section."""
    roles = read_roles(top)
    return Draft(
        network=read_network(top),
        cloud=read_cloud(top),
        systems=read_systems(top),
        roles=roles,
        resolved=resolve_roles(roles, top.found),
        hosts=read_hosts(top),
        host_names=host_names(top),
    )


def read_folder(top: Section, name: str) -> str | None:
    """A path as a person wrote it; relative ones begin beside the inventory."""
    return top.value(name, values.text)


def read_secrets(top: Section) -> Path | None:
    """The file of secrets: there, and readable by its owner alone."""
    named = read_folder(top, "secrets")
    if named is None:
        return None
    path = top.found.path.parent / named
    try:
        status = path.stat()
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        message = f"{path} cannot be read ({why}), expected a file with mode 0600"
        top.found.add("secrets", message, f"install -m 600 /dev/null {path}")
        return None
    mode = stat.S_IMODE(status.st_mode)
    if not stat.S_ISREG(status.st_mode):
        top.found.add("secrets", f"{path} is not a file, expected a file with mode 0600")
    elif mode & OTHERS:
        message = f"{path} has mode {mode:04o}, expected 0600: others may read it"
        top.found.add("secrets", message, f"chmod 600 {path}")
    return path


def keep_private(
    draft: Draft, artifacts: Path, store: str, secrets: Path | None, found: Findings
) -> None:
    """Nothing that is not for every machine on the segment lies in a folder that is served."""
    served = {"artifacts": artifacts}
    for name, system in draft.systems.items():
        if system.packages:
            served[f"systems.{name}.packages"] = found.path.parent / system.packages
    private: dict[str, Path | None] = {
        "the inventory": found.path,
        "the secrets": secrets,
        "the store": Path(store.removeprefix("sqlite:///"))
        if store.startswith("sqlite:")
        else None,
    }
    for name, role in draft.resolved.items():
        if role.get("answer"):
            private[f"the answer of role {name}"] = found.path.parent / role["answer"]
    for key, folder in served.items():
        real = os.path.realpath(folder)  # Path.resolve fails on a loop of links
        held = (
            what
            for what, path in private.items()
            if path is not None and Path(os.path.realpath(path)).is_relative_to(real)
        )
        if what := next(held, None):
            message = f"{folder} holds {what}, expected only files for every machine to read"
            word = key.rpartition(".")[2]
            found.add(key, message, f"name a folder of its own:  {word}: {word}")


def read_store(top: Section) -> str | None:
    """The URL of the state; a relative SQLite path begins beside the inventory."""
    node = top.node("store")
    if node is None:
        return None
    url = top.value("store", store_url)
    if url is None or not url.startswith("sqlite:"):
        return url
    path = (top.found.path.parent / url.removeprefix("sqlite:///")).absolute()
    return f"sqlite:///{path}"


def store_url(value: str) -> str:
    """A SQLAlchemy URL of a database that we know."""
    scheme, separator, rest = values.word(value).partition("://")
    if not separator:
        raise values.Mismatch(STORE_EXPECTED, f"write sqlite:///{value}")
    if scheme not in STORES:
        raise values.Mismatch(STORE_EXPECTED, f"known: {', '.join(STORES)}")
    if scheme == "sqlite" and rest.lstrip("/") in ("", ":memory:"):
        raise values.Mismatch(STORE_EXPECTED, "a store in memory forgets what is armed")
    if scheme != "sqlite" and ":" in rest.rpartition("@")[0]:
        hint = "give the whole URL in the environment as RACKSEED_STORE"
        raise values.Mismatch("a URL without a password in it", hint)
    return value


STORE_EXPECTED = "a URL such as sqlite:///rack.db or postgresql://boot@db.example.org/rackseed"


def build_network(draft: NetworkDraft, found: Findings) -> Network:
    """The segment, from a draft without problems."""
    assert draft.interface is not None
    assert draft.subnet is not None
    return Network(
        interface=draft.interface,
        subnet=draft.subnet,
        server=draft.server,
        gateway=draft.gateway,
        dns=draft.dns,
        dhcp=draft.dhcp,
        discovery=draft.discovery,
        lease_time=draft.lease_time or timedelta(hours=1),
        http_port=draft.http_port or 80,
        place=found.place("network.interface"),
    )


def build_cloud(draft: Draft) -> Cloud:
    """The cloud; the only controller need not be named."""
    only = next((host.name for host in controllers(draft)), None)
    return replace(draft.cloud, controller=draft.cloud.controller or only)


def build_systems(draft: Draft, found: Findings) -> dict[str, System]:
    """The operating systems."""
    return {
        name: System(
            name=name,
            kernel=system.kernel or "",
            initrds=system.initrds,
            arguments=system.arguments,
            packages=found.path.parent / system.packages if system.packages else None,
            tree=system.tree,
            hypervisor=system.hypervisor,
            hypervisor_arguments=system.hypervisor_arguments,
            place=found.place(f"systems.{name}"),
        )
        for name, system in draft.systems.items()
    }


def build_roles(draft: Draft, found: Findings) -> dict[str, Role]:
    """The roles that can be installed; one without `install` only serves to be extended."""
    folder = found.path.parent
    roles = {}
    for name, merged in draft.resolved.items():
        if "install" in merged:
            paths = {
                "answer": folder / merged["answer"] if "answer" in merged else None,
                "image": Path(merged["image"]) if "image" in merged else None,
            }
            place = found.place(draft.roles[name].key)
            roles[name] = Role(name=name, place=place, **{**merged, **paths})
    return roles


def _role_of(draft: HostDraft, role: Role) -> Role:
    """The role with the host's own disks."""
    if not draft.disks:
        return role
    first, *rest = draft.disks
    return replace(role, disk=first, mirror=rest[0] if rest else None)


def build_host(draft: HostDraft, roles: Mapping[str, Role], found: Findings) -> Host:
    """One machine."""
    assert draft.mac is not None
    assert draft.address is not None
    assert draft.role is not None
    bond = draft.bond
    return Host(
        name=draft.name,
        rack=draft.rack,
        mac=draft.mac,
        address=draft.address,
        role=_role_of(draft, roles[draft.role]),
        firmware=draft.firmware or HostFirmware.BIOS,
        secure_boot=draft.secure_boot,
        loader=draft.loader or (Loader.GRUB if draft.secure_boot else Loader.IPXE),
        bond=Bond(bond.members, bond.mode, bond.name) if bond else None,
        vlan=draft.vlan,
        addresses=tuple(
            MoreAddress(more.address, more.mac, more.vlan)
            for more in draft.addresses
            if more.address is not None
        ),
        bmc=draft.bmc,
        place=found.place(draft.key),
    )
