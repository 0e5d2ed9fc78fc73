"""What must hold between the sections of an inventory; each rule notes its own sentence."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network

from kickstarts.installers import INSTALLERS
from provision.inventory.draft import Draft
from provision.inventory.link_rules import LINK_RULES
from provision.inventory.model import INSTALLED_BY_ANSWER, HostFirmware, Install
from provision.inventory.problems import nearest, suggestion
from provision.inventory.schema import Findings
from provision.inventory.sections import HostDraft, NetworkDraft
from pxe.boot import Loader
from pxe.settings import DhcpMode

CONTROLLER_METAPACKAGE = "node-full"
"""The metapackage that makes a host the controller."""

NEEDED: Mapping[Install, Sequence[tuple[str, str]]] = {
    Install.KICKSTART: (("os", "centos-stream-9"),),
    Install.PRESEED: (("os", "debian-12"),),
    Install.AUTOINSTALL: (("os", "ubuntu-24.04"),),
    Install.ANSWERFILE: (("os", "xcp-ng-8.3"),),
    Install.IMAGE: (("image", "images/compute.raw"),),
    Install.INSPECT: (),
}
"""What each way to install needs of its role, with an example."""


FOR_OUR_ANSWERS = ("layout", "options", "more_packages", "root_password")
"""What a role may say only where the answer is ours."""


def check_all(draft: Draft, found: Findings) -> None:
    """Note everything that does not fit together."""
    for rule in RULES:
        rule(draft, found)


def network_is_consistent(draft: Draft, found: Findings) -> None:
    """Our own addresses lie in the subnet and do not collide."""
    network = draft.network
    if network is None or network.subnet is None:
        return
    for name in ("gateway", "server"):
        address = getattr(network, name)
        if address is not None:
            usable_in(network.subnet, address, f"network.{name}", found)
    if network.server is not None and network.server == network.gateway:
        found.add("network.server", f"{network.server} is the gateway too, expected another")


def discovery_fits(draft: Draft, found: Findings) -> None:
    """The discovery range is ours to give away."""
    network = draft.network
    if network is None or network.discovery is None:
        return
    key, pool = "network.discovery", network.discovery
    if network.dhcp is DhcpMode.PROXY:
        message = (
            "a discovery range with dhcp: proxy, expected none: the other server gives addresses"
        )
        found.add(key, message, "take discovery out, or set dhcp: authoritative")
    if network.subnet is not None:
        for address in dict.fromkeys((pool.first, pool.last)):
            usable_in(network.subnet, address, key, found)
    for name in ("gateway", "server"):
        address = getattr(network, name)
        if address is not None and address in pool:
            message = f"the range holds the {name} {address}, expected addresses free to give"
            found.add(key, message)


def usable_in(subnet: IPv4Network, address: IPv4Address, key: str, found: Findings) -> bool:
    """Whether a machine in `subnet` can own `address`; notes why not."""
    if address not in subnet:
        first, last = subnet[1], subnet[-2]
        message = f"{address} lies outside the subnet {subnet}, expected {first} to {last}"
    elif address == subnet.network_address:
        message = f"{address} is the network's own address, expected {subnet[1]} to {subnet[-2]}"
    elif address == subnet.broadcast_address:
        message = f"{address} is the broadcast address, expected {subnet[1]} to {subnet[-2]}"
    else:
        return True
    found.add(key, message)
    return False


def host_addresses_are_free(draft: Draft, found: Findings) -> None:
    """Each host's address is one that nothing else uses."""
    network = draft.network
    if network is None or network.subnet is None:
        return
    for host in draft.hosts:
        key, address = f"{host.key}.address", host.address
        if address is not None and usable_in(network.subnet, address, key, found):
            nobody_has(network, address, key, found)
        for more in host.addresses:
            its = more.address.ip if more.address else None
            if (
                its is not None
                and its in network.subnet
                and usable_in(network.subnet, its, more.key, found)
            ):
                nobody_has(network, its, more.key, found)


def nobody_has(network: NetworkDraft, address: IPv4Address, key: str, found: Findings) -> None:
    """The address is neither ours, nor the gateway's, nor to be given away."""
    if address == network.gateway:
        found.add(key, f"{address} is the gateway's address, expected one of its own")
    if address == network.server:
        found.add(key, f"{address} is the boot server's address, expected one of its own")
    if network.discovery is not None and address in network.discovery:
        pool = f"{network.discovery.first}-{network.discovery.last}"
        message = f"{address} lies inside the discovery range {pool}, expected it outside"
        found.add(key, message, "unknown machines are given addresses of that range")


def nothing_is_shared(draft: Draft, found: Findings) -> None:
    """No two hosts have the same name, MAC address or address."""
    _unique(((h.key, h.name, h) for h in draft.hosts), "the host name", found)
    _unique(((f"{h.key}.mac", h.mac, h) for h in draft.hosts), "the MAC address", found)
    _unique(((f"{h.key}.address", h.address, h) for h in draft.hosts), "the address", found)


def _unique(entries: Iterable[tuple[str, object, HostDraft]], what: str, found: Findings) -> None:
    first: dict[object, tuple[str, HostDraft]] = {}
    for key, value, host in entries:
        if value is None:
            continue
        if value in first:
            other_key, other = first[value]
            message = f"{what} {value} is taken by host {other.name} in rack {other.rack}"
            found.add(key, f"{message} (line {found.lines[other_key]}), expected another")
        else:
            first[value] = (key, host)


def roles_have_what_they_need(draft: Draft, found: Findings) -> None:
    """Each way to install has its operating system, answer or image."""
    for name, role in draft.resolved.items():
        install: Install | None = role.get("install")
        if install is None:
            continue
        for needed, example in NEEDED[install]:
            if needed not in role:
                message = f"install: {install.value} needs the key '{needed}', which is missing"
                found.add(draft.roles[name].key, message, f"add  {needed}: {example}")


def systems_are_known(draft: Draft, found: Findings) -> None:
    """Each `os` names a system."""
    for role in draft.roles.values():
        os = role.own.get("os")
        if os is not None and os not in draft.systems:
            message = f"there is no system '{os}', expected the name of one in systems"
            found.add(f"{role.key}.os", message, suggestion(os, list(draft.systems)))


def answers_can_be_made(draft: Draft, found: Findings) -> None:
    """An answer without a template of the operator's is for a system that ours are made for."""
    for name, role in draft.resolved.items():
        os, install = role.get("os"), role.get("install")
        if install not in INSTALLED_BY_ANSWER or "answer" in role:
            continue
        ours = [known for known, by in INSTALLERS.items() if by.answer == install.value]
        if os is None or os not in draft.systems or os in ours:
            continue
        message = (
            f"no {install.value} is known for '{os}', expected the key 'answer' or a known system"
        )
        near = nearest(os, ours)
        hint = f"call the system {near}, or " if near else ""
        found.add(draft.roles[name].key, message, f"{hint}add  answer: answers/host.ks.j2")


def nothing_is_said_in_vain(draft: Draft, found: Findings) -> None:
    """What a role says itself is for the way in which it is installed."""
    for role in draft.roles.values():
        install = role.own.get("install")
        if install is None:
            continue
        ours = install in INSTALLED_BY_ANSWER and "answer" not in draft.resolved.get(role.name, {})
        for name in FOR_OUR_ANSWERS if not ours else ():
            if role.own.get(name):
                own = install in INSTALLED_BY_ANSWER
                beside = "a template of your own" if own else f"install: {install.value}"
                message = f"'{name}' is for answers of ours, expected none beside {beside}"
                hint = "take it out, or  answer" if own else "take it out"
                found.add(f"{role.key}.{name}", message, hint)


def hypervisors_are_known(draft: Draft, found: Findings) -> None:
    """An installer that runs above a hypervisor names it; no other one does."""
    for role in draft.roles.values():
        resolved = draft.resolved.get(role.name, {})
        system = draft.systems.get(resolved.get("os") or "")
        above = resolved.get("install") is Install.ANSWERFILE
        if system is None or "install" not in resolved or above == bool(system.hypervisor):
            continue
        key = f"systems.{system.name}"
        if above:
            message = f"install: {Install.ANSWERFILE.value} starts a hypervisor, expected its name"
            found.add(key, message, f"add  hypervisor: {system.name}/xen.gz")
        else:
            how = resolved["install"].value if resolved["install"] else "another way"
            message = f"a hypervisor below an installer of install: {how}, expected none"
            found.add(f"{key}.hypervisor", message)


def hypervisors_can_be_started(draft: Draft, found: Findings) -> None:
    """The boot program of each host can start the hypervisor of its installer."""
    for host in draft.hosts:
        system = draft.systems.get(draft.resolved.get(host.role or "", {}).get("os") or "")
        if system is None or system.hypervisor is None or host.firmware is None:
            continue
        uefi = host.firmware is not HostFirmware.BIOS
        if host.secure_boot:
            message = f"{system.name}'s hypervisor is not signed for Secure Boot, expected it off"
            found.add(f"{host.key}.secure_boot", message, "take secure_boot out, here and there")
        elif uefi and host.loader is not Loader.GRUB:
            message = "on UEFI iPXE starts no hypervisor, expected grub"
            found.add(f"{host.key}.loader", message, "add  loader: grub")


def host_roles_are_known(draft: Draft, found: Findings) -> None:
    """Each host has a role that says how it is installed."""
    for host in draft.hosts:
        key = f"{host.key}.role"
        if host.role is None:
            continue
        if host.role not in draft.roles:
            message = f"there is no role '{host.role}', expected the name of one in roles"
            found.add(key, message, suggestion(host.role, list(draft.roles)))
        elif "install" not in draft.resolved.get(host.role, {"install": None}):
            words = ", ".join(install.value for install in Install)
            message = f"the role '{host.role}' does not say how it is installed, expected 'install'"
            found.add(key, message, f"add to roles.{host.role}  install: one of {words}")


def one_controller(draft: Draft, found: Findings) -> None:
    """`cloud.controller` names a host, and no other host is made a controller."""
    first = draft.cloud.controller
    if first is not None and first not in draft.host_names:
        message = f"there is no host '{first}', expected the name of one in racks"
        found.add("cloud.controller", message, suggestion(first, draft.host_names))
        first = None
    for host in controllers(draft):
        if first is None:
            first = host.name
        elif host.name != first:
            message = f"a second controller beside {first}, expected one in the whole inventory"
            hint = f"only one host may have a role with metapackage: {CONTROLLER_METAPACKAGE}"
            found.add(f"{host.key}.role", message, hint)


def controllers(draft: Draft) -> list[HostDraft]:
    """The hosts whose role makes them a controller."""
    return [
        host
        for host in draft.hosts
        if draft.resolved.get(host.role or "", {}).get("metapackage") == CONTROLLER_METAPACKAGE
    ]


def loaders_fit_the_firmware(draft: Draft, found: Findings) -> None:
    """The boot program can run on the firmware, and Secure Boot would accept it."""
    for host in draft.hosts:
        if host.firmware is None:
            continue
        uefi = host.firmware is not HostFirmware.BIOS
        if host.secure_boot and not uefi:
            message = "Secure Boot with firmware bios, expected firmware uefi or uefi-http"
            found.add(f"{host.key}.secure_boot", message, "add  firmware: uefi")
        key, loader = f"{host.key}.loader", host.loader
        if loader is Loader.PXELINUX and uefi:
            message = f"pxelinux runs only on BIOS, this host has {host.firmware.value}"
            found.add(key, f"{message}; expected ipxe or grub", "take loader out for the default")
        elif loader is Loader.GRUB and not uefi:
            message = "GRUB is served only to UEFI, this host has bios; expected ipxe or pxelinux"
            found.add(key, message, "take loader out for the default")
        elif loader is Loader.IPXE and host.secure_boot:
            message = "iPXE is not signed for Secure Boot, expected grub"
            found.add(key, message, "take loader out: Secure Boot means shim and GRUB")


RULES: Sequence[Callable[[Draft, Findings], None]] = (
    network_is_consistent,
    discovery_fits,
    host_addresses_are_free,
    nothing_is_shared,
    roles_have_what_they_need,
    systems_are_known,
    answers_can_be_made,
    nothing_is_said_in_vain,
    hypervisors_are_known,
    hypervisors_can_be_started,
    host_roles_are_known,
    one_controller,
    loaders_fit_the_firmware,
    *LINK_RULES,
)
