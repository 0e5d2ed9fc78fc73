"""One deployment, decided: what a host boots, what its tokens open, what its answer says."""

import hashlib
import ipaddress
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from enum import Enum
from ipaddress import IPv4Address
from pathlib import Path

import jinja2

from kickstarts import installers
from kickstarts.errors import KickstartError
from kickstarts.plan import SecretsSource
from kickstarts.values import Secret
from provision.errors import AnswerError as AnswerError
from provision.installing import QUIET, installer
from provision.inventory import views
from provision.inventory.model import (
    Bond,
    GpuPassthrough,
    Host,
    Install,
    Inventory,
    MoreAddress,
)
from provision.lifecycle import HostState
from provision.secrets import read_secrets
from provision.store.hosts import HostRecord
from provision.store.tokens import Purpose, TokenRecord
from pxe.addresses import MacAddress
from pxe.boot import BootTarget, Kernel, LocalDisk, UnknownMachine
from pxe.site import ReportKind

ANSWER_LIFETIME = timedelta(hours=1)
"""From the boot script to the installer's fetch: an old BMC may take minutes, never an hour."""
REPORT_LIFETIME = timedelta(days=2)
"""From the boot script to the last report: a slow installation over a slow mirror fits."""

RAMDISK_KERNEL = "ramdisk/vmlinuz"
RAMDISK_INITRD = "ramdisk/initrd.img"
CONSOLES = ("console=tty0", "console=ttyS0,115200")
"""The last one is where the ramdisk's own words go."""


class Action(Enum):
    """What the ramdisk is asked to do, or that an installer is to run."""

    INSPECT = "inspect"
    INSTALL = "install"


def next_action(host: Host, record: HostRecord) -> Action | LocalDisk:
    """What the host's next network boot is for."""
    match record.state:
        case HostState.ENROLLED | HostState.INSPECTING:
            return Action.INSPECT
        case HostState.ARMED if host.role.install is Install.INSPECT:
            return Action.INSPECT
        case HostState.ARMED:
            return Action.INSTALL
        case HostState.AVAILABLE:
            return LocalDisk(f"{host.name} is available, inspected and not armed")
        case HostState.DEPLOYING:
            return LocalDisk(f"{host.name} is deploying and its arming is used up")
        case HostState.ACTIVE:
            return LocalDisk(f"{host.name} is active and not armed")
        case HostState.FAILED:
            return LocalDisk(f"{host.name} failed and is not armed again")


def new_token() -> str:
    """256 random bits that may stand in a URL."""
    return secrets.token_urlsafe(32)


def report_token(answer_token: str) -> str:
    """The token under which the machine that fetched an answer may report.

    It follows from the answer's token, so the answer can tell it though only hashes are kept;
    who holds the report's token cannot find the answer's.
    """
    return hashlib.blake2b(answer_token.encode(), digest_size=32, person=b"report").hexdigest()


def secrets_token(answer_token: str) -> str:
    """The token under which the installed system fetches its secrets; as `report_token`."""
    return hashlib.blake2b(answer_token.encode(), digest_size=32, person=b"secrets").hexdigest()


def answer_url(base_url: str, token: str) -> str:
    """Where an answer is fetched once."""
    return f"{base_url}/answer/{token}"


@dataclass(frozen=True, slots=True)
class SecretsServer:
    """Where this server hands out secrets."""

    base_url: str
    """Of HTTPS."""
    pin: str
    """The digest of its key."""

    def source(self, token: str) -> SecretsSource:
        """What the host is told that holds this token."""
        return SecretsSource(Secret(answer_url(self.base_url, token)), Secret(self.pin))


def report_url(base_url: str, token: str) -> str:
    """Where a machine reports."""
    return f"{base_url}/report/{token}"


def ramdisk(
    mac: MacAddress, action: str, title: str, *, report: str, answer: str | None = None
) -> Kernel:
    """Our own ramdisk with its orders on the kernel command line."""
    orders = [f"rackseed.mac={mac}", f"rackseed.action={action}", f"rackseed.report={report}"]
    if answer is not None:
        orders.append(f"rackseed.answer={answer}")
    return Kernel(RAMDISK_KERNEL, (RAMDISK_INITRD,), (*orders, *CONSOLES, QUIET), title)


def install_target(host: Host, inventory: Inventory, *, answer: str, report: str) -> BootTarget:
    """What installs an armed host."""
    if system := views.system_of(host.role, inventory):
        return installer(host, system, answer)
    image = host.role.image.name if host.role.image else host.role.name
    return ramdisk(host.mac, "image", f"installing {host.name} ({image})", report=report,
                   answer=answer)  # fmt: skip


def unknown_machine(mac: MacAddress, address: IPv4Address) -> UnknownMachine:
    """What to tell the person in front of a machine that is not in the inventory."""
    return UnknownMachine(
        (
            "This machine is not in the inventory.",
            "To add it, write below its rack:",
            f"  NAME: {{mac: {mac}, address: {address}, role: ROLE}}",
            "Its own disk starts now.",
        )
    )


@dataclass(frozen=True, slots=True)
class Rejected:
    """Why a token is not honoured."""

    reason: str
    alarm: bool = False
    """Somebody else may hold the token: a person should look."""


def judge_answer(
    token: TokenRecord | None, host: HostRecord | None, address: IPv4Address, now: datetime
) -> Rejected | None:
    """Whether a token opens its answer; None: it does."""
    if token is None or token.purpose is not Purpose.ANSWER or host is None:
        return Rejected("no answer is known under this URL")
    if rejected := _judge_single_use(token, "the answer was", address, now, ANSWER_LIFETIME):
        return rejected
    if host.state is not HostState.ARMED or host.arming != token.arming:
        return Rejected(f"{host.name} is {host.state.value}, not armed for this answer")
    return None


def judge_secrets(
    token: TokenRecord,
    host: HostRecord | None,
    address: IPv4Address,
    now: datetime,
    *,
    encrypted: bool,
) -> Rejected | None:
    """Whether a token opens the secrets of a host that is being installed; None: it does."""
    if rejected := _judge_single_use(token, "the secrets were", address, now, REPORT_LIFETIME):
        return rejected
    if not encrypted:  # no kickstart of ours does that
        return Rejected("the secrets were asked for in the clear, expected HTTPS", alarm=True)
    if host is None or host.state is not HostState.DEPLOYING or host.arming != token.arming:
        state = "unknown" if host is None else host.state.value
        return Rejected(f"the secrets are for an installation, the host is {state}")
    return None


def _judge_single_use(
    token: TokenRecord, what_was: str, address: IPv4Address, now: datetime, lifetime: timedelta
) -> Rejected | None:
    """What stands in the way of anything that is handed out once."""
    if token.used_at is not None:
        return Rejected(f"{what_was} already delivered", alarm=True)
    if address != token.address:
        wrong = f"{what_was} asked for from {address}, expected {token.address}"
        return Rejected(wrong, alarm=True)
    return _judge_age(token, now, lifetime)


def _judge_age(token: TokenRecord, now: datetime, lifetime: timedelta) -> Rejected | None:
    if token.withdrawn_at is not None:
        return Rejected("the URL was withdrawn: a newer boot script or another order replaced it")
    if now - token.made_at > lifetime:
        return Rejected(f"the URL is older than {lifetime}")
    return None


def judge_report(
    token: TokenRecord | None, kind: ReportKind, address: IPv4Address, now: datetime
) -> Rejected | None:
    """Whether a token takes a report; None: it does. A repetition of the last report is fine.

    So is the end of an installation that had failed: its steps can be resumed on the host.
    """
    if token is None or token.purpose is not Purpose.REPORT:
        return Rejected("no report is expected under this URL")
    if address != token.address:
        return Rejected(f"a report came from {address}, it is for {token.address}", alarm=True)
    resumed = token.closed_by == ReportKind.FAILED.value and kind is ReportKind.INSTALLED
    if token.closed_by not in (None, kind.value) and not resumed:
        return Rejected(f"this boot session ended with '{token.closed_by}'")
    return _judge_age(token, now, REPORT_LIFETIME)


@dataclass(frozen=True, slots=True)
class InstallPlan:
    """Everything that an answer's template may see."""

    host: str
    fqdn: str
    mac: MacAddress
    address: IPv4Address
    prefix: int
    """Length of the subnet's prefix in bits."""
    netmask: IPv4Address
    gateway: IPv4Address | None
    dns: tuple[IPv4Address, ...]
    role: str
    os: str | None
    disk: str
    """`smallest`, `largest`, `first`, a serial number, or a path below /dev/disk."""
    metapackage: str | None
    report_url: str = field(repr=False)
    """Takes JSON: {"kind": "progress" | "installed" | "failed", "message": TEXT}."""
    artifacts_url: str = ""
    """The folder of artifacts, with a slash at its end."""
    packages_url: str | None = None
    """The system's package repository, with a slash at its end; below it `current/` is live."""
    domain: str | None = None
    openstack: str | None = None
    controller: str | None = None
    controller_address: IPv4Address | None = None
    time_servers: tuple[IPv4Address, ...] = ()
    gpu_passthrough: tuple[GpuPassthrough, ...] = ()
    mirror: str | None = None
    """The second disk, where two are named."""
    bond: Bond | None = None
    """With `name`, `mode` and `members`, their MAC addresses."""
    vlan: int | None = None
    addresses: tuple[MoreAddress, ...] = ()
    """Each with `address` and its prefix, and `mac` and `vlan`, which may be none."""

    def __post_init__(self) -> None:
        """Raises AnswerError for a text that could end its line in the answer."""
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, str) and not value.isprintable():
                raise AnswerError(f"{each.name} holds a control character, which no answer may")


def install_plan(inventory: Inventory, host: Host, base_url: str, report: str) -> InstallPlan:
    """What the answer of a host is made of."""
    network, cloud = inventory.network, inventory.cloud
    controller = inventory.hosts.get(cloud.controller) if cloud.controller else None
    return InstallPlan(
        host=host.name,
        fqdn=views.full_name(host, inventory),
        mac=host.mac,
        address=host.address,
        prefix=network.subnet.prefixlen,
        netmask=ipaddress.IPv4Address(network.subnet.netmask),
        gateway=network.gateway,
        dns=network.dns,
        role=host.role.name,
        os=host.role.os,
        disk=host.role.disk,
        metapackage=host.role.metapackage,
        report_url=report,
        artifacts_url=f"{base_url}/{views.ARTIFACTS}",
        packages_url=views.packages_url(host.role, inventory, base_url),
        domain=cloud.domain,
        openstack=cloud.openstack,
        controller=cloud.controller,
        controller_address=controller.address if controller else None,
        time_servers=cloud.time_servers,
        gpu_passthrough=host.role.gpu_passthrough,
        mirror=host.role.mirror,
        bond=host.bond,
        vlan=host.vlan,
        addresses=host.addresses,
    )


def own_answer(
    inventory: Inventory,
    host: Host,
    base_url: str,
    *,
    report: str,
    secrets: SecretsSource | None,
    masked: bool,
) -> str:
    """Our own answer for a host's installer; `masked` for people to look at.

    Raises AnswerError.
    """
    try:
        plan = views.install_plan(host, inventory, base_url, report=report, secrets=secrets)
        return installers.answer(plan, masked=masked)
    except KickstartError as error:
        raised = AnswerError(str(error))
        for note in getattr(error, "__notes__", ()):
            raised.add_note(note)
        raise raised from None


def secrets_answer(host: Host, inventory: Inventory) -> str:
    """What a host fetches after its answer: `KEY=value` lines, for its role alone.

    Raises AnswerError.
    """
    if inventory.secrets is None:
        raise AnswerError(f"{inventory.path} names no file of secrets; {host.name} needs some")
    wanted = views.secrets_of(host.role)
    known = read_secrets(inventory.secrets)
    if missing := [name for name in wanted if name not in known]:
        error = AnswerError(f"{inventory.secrets} lacks {', '.join(missing)}")
        error.add_note("rackseed secrets init")
        raise error
    return "".join(f"{name}={known[name].reveal()}\n" for name in wanted)


def render_answer(plan: InstallPlan, template: Path) -> str:
    """The operator's template, filled.

    Raises AnswerError with file and line.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template.parent),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    values = {each.name: getattr(plan, each.name) for each in fields(plan)}
    try:
        return environment.get_template(template.name).render(values)
    except jinja2.TemplateSyntaxError as error:
        place = f"{template.parent / (error.name or template.name)}:{error.lineno}"
        raise AnswerError(f"{place}: {error.message}") from None
    except jinja2.TemplateNotFound as error:
        missing = template.parent / (error.name or template.name)
        raise AnswerError(f"{missing}: cannot be read, expected a template") from None
    except (jinja2.TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        # What a template computes is the operator's; its mistake must not end the server.
        raise AnswerError(f"{template}: {error}") from None


COMPRESSIONS: Mapping[str, str] = {".gz": "gzip", ".xz": "xz", ".zst": "zstd"}
"""By the image's last suffix; any other is a raw image."""


def image_answer(image: Path, url: str, *, sha256: str, size: int, disk: str) -> str:
    """The ramdisk's orders for writing an image: `key=value` lines."""
    orders = {
        "image": url,
        "sha256": sha256,
        "size": str(size),
        "disk": disk,
        "compression": COMPRESSIONS.get(image.suffix, "none"),
    }
    if bad := next((key for key, value in orders.items() if not value.isprintable()), None):
        raise AnswerError(f"{bad} holds a control character, which no answer may")
    return "".join(f"{key}={value}\n" for key, value in orders.items())
