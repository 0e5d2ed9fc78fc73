"""What a host would be served next, and what that changes; nothing is made or written."""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address

from kickstarts.plan import SecretsSource
from provision import deploy, images
from provision.deploy import Action
from provision.inventory import views
from provision.inventory.model import Host, Install, Inventory
from provision.lifecycle import EventKind, Illegal, advance
from provision.store.hosts import HostRecord
from pxe.boot import BootTarget, Firmware, Kernel, Loader, LocalDisk, Multiboot
from pxe.dhcp.bootfile import NoBoot, boot_file
from pxe.httpboot import NAME as RAM_DISK
from pxe.programs import GRUB_MULTIBOOT, PROGRAMS
from pxe.script import Machine, render
from pxe.settings import Settings

SINGLE_USE = "<single-use>"
"""Stands where a token will be: a plan makes none."""

MASKED_TOKEN = "single-use"
"""The same where a URL must be one; it is masked when people see it."""

MASKED_PIN = f"sha256//{'A' * 43}="
"""The same where a key's digest must be one: our own key may not be made yet."""

UNKNOWN_SERVER = IPv4Address("240.0.0.1")
"""Stands for our own address while the interface has none (RFC 1112, 4: never used)."""

COMPANIONS: Mapping[str, tuple[str, ...]] = {
    "shimx64.efi": ("grubx64.efi",),
    "pxelinux.0": ("ldlinux.c32",),
}
"""What a boot program loads before it looks for its script."""

MADE_OF: Mapping[str, tuple[str, ...]] = {RAM_DISK: ("shimx64.efi", "grubx64.efi")}
"""Boot programs that the server makes when it starts, and of what."""

LATER_COMPANIONS: Mapping[str, tuple[str, ...]] = {
    "pxelinux.0": ("chain.c32", "libcom32.c32", "libutil.c32"),
}
"""What a boot program loads when its script sends it to the local disk."""

STARTERS: Mapping[Loader, tuple[str, ...]] = {
    Loader.GRUB: GRUB_MULTIBOOT,
    Loader.PXELINUX: ("mboot.c32", "libcom32.c32"),
}
"""What a loader fetches to start a hypervisor."""

STEPS: Mapping[Action, tuple[tuple[EventKind, str], ...]] = {
    Action.INSPECT: (
        (EventKind.INSPECTION_STARTED, "the boot script is fetched"),
        (EventKind.INSPECTED, "the hardware is reported"),
    ),
    Action.INSTALL: (
        (EventKind.ANSWER_DELIVERED, "the answer is fetched"),
        (EventKind.INSTALLED, "the installation reports its end"),
    ),
}
"""What moves a host on, in order, when all goes well."""


@dataclass(frozen=True, slots=True)
class HostPlan:
    """The next network boot of one host."""

    host: Host
    record: HostRecord
    programs: tuple[str, ...]
    """Boot programs, the first one as DHCP names it: a file name or a URL."""
    script_name: str
    """The catalog's name of the boot script."""
    target: BootTarget
    script: str
    changes: tuple[str, ...]
    """Each as `armed -> deploying when the answer is fetched`."""

    @property
    def action(self) -> str:
        """What the boot is for, in words."""
        match self.target:
            case Kernel(title=title) | Multiboot(title=title):
                return title
            case LocalDisk(reason=reason):
                return f"local disk: {reason}"
            case _:
                return "a screen for an unknown machine"


def plan_host(inventory: Inventory, host: Host, record: HostRecord, settings: Settings) -> HostPlan:
    """The next boot of `host`, if it stands where `record` says.

    Raises RenderError when its boot script cannot be written.
    """
    loader = loader_of(host)
    target = target_of(inventory, host, record, settings)
    script = render(loader, target, Machine(host.mac, host.address), settings)
    return HostPlan(
        host=host,
        record=record,
        programs=programs_of(host, settings),
        script_name=SCRIPT_NAMES[loader].format(mac=host.mac, dashed=host.mac.dashed),
        target=target,
        script=script,
        changes=changes_of(host, record),
    )


SCRIPT_NAMES: Mapping[Loader, str] = {
    Loader.IPXE: "ipxe/{mac}.ipxe",
    Loader.GRUB: "grub/grub.cfg-01-{dashed}",
    Loader.PXELINUX: "pxelinux.cfg/01-{dashed}",
}
"""Where each loader looks for the script of one machine; pxe/catalog.py answers there."""


def loader_of(host: Host) -> Loader:
    """The loader that reads the host's script: with Secure Boot only the signed one."""
    return Loader.GRUB if host.secure_boot else host.loader


def target_of(
    inventory: Inventory, host: Host, record: HostRecord, settings: Settings
) -> BootTarget:
    """What the host would run, with a word where its tokens will stand."""
    action = deploy.next_action(host, record)
    if isinstance(action, LocalDisk):
        return action
    answer = deploy.answer_url(settings.http_url, SINGLE_USE)
    report = deploy.report_url(settings.http_url, SINGLE_USE)
    if action is Action.INSTALL:
        return deploy.install_target(host, inventory, answer=answer, report=report)
    return deploy.ramdisk(host.mac, "inspect", f"inspecting {host.name}", report=report)


def programs_of(host: Host, settings: Settings) -> tuple[str, ...]:
    """The boot programs that the host fetches before its script, the first one as DHCP names it."""
    firmware = Firmware(views.platform(host), http=views.boots_by_http(host))
    available = {*PROGRAMS, *MADE_OF}
    first = boot_file(firmware, host.mac, views.reservation(host), settings, available)
    if isinstance(first, NoBoot):
        return ()
    return (first, *COMPANIONS.get(first.rpartition("/")[2], ()))


def changes_of(host: Host, record: HostRecord) -> tuple[str, ...]:
    """How the host's state moves on when its next boot goes well."""
    action = deploy.next_action(host, record)
    changes, state = [], record.state
    for event, when in () if isinstance(action, LocalDisk) else STEPS[action]:
        after = advance(state, event)
        if not isinstance(after, Illegal) and after is not state:
            changes.append(f"{state.value} -> {after.value} when {when}")
            state = after
    return tuple(changes)


def masked_secrets(settings: Settings) -> SecretsSource:
    """A source of secrets as long as a real one."""
    return deploy.SecretsServer(f"https://{settings.address}", MASKED_PIN).source(MASKED_TOKEN)


def answer_of(inventory: Inventory, host: Host, settings: Settings) -> str | None:
    """The host's answer with a word in place of its token and of secrets; None when nothing
    makes it.

    Raises AnswerError.
    """
    if views.answered_by_us(host.role):
        return deploy.own_answer(
            inventory, host, settings.http_url, masked=True,
            report=deploy.report_url(settings.http_url, MASKED_TOKEN),
            secrets=masked_secrets(settings),
        )  # fmt: skip
    report = deploy.report_url(settings.http_url, SINGLE_USE)
    if host.role.install is Install.IMAGE:
        return images.shown(host, inventory, report)
    if host.role.answer is None:
        return None
    plan = deploy.install_plan(inventory, host, settings.http_url, report)
    return deploy.render_answer(plan, host.role.answer)


def name_server(text: str) -> str:
    """What was rendered for an unknown server, as people read it."""
    return text.replace(str(UNKNOWN_SERVER), "<this server>")
