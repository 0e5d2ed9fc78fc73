"""What is known about symptoms: pure rules over what was recorded, each with its source."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from provision.lifecycle import EventKind, HostState
from provision.store.events import ALARM, BOOT_TARGET, REPEATED, Event
from provision.trail import (
    SIZE_PROBE,
    Trail,
    file_of,
    is_dhcp,
    is_fetch,
    is_firmware,
    is_ipxe,
    newest_of,
    octets,
)
from pxe.boot import Kernel, Multiboot
from pxe.site import Outcome, Service


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that was recognised."""

    rule: str
    text: str
    """What was seen, one sentence."""
    advice: str
    """What a person should look at."""
    source: str
    """Where the knowledge comes from."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One symptom."""

    name: str
    recognise: Callable[[Trail], str | None]
    """The sentence of the finding, or None when the symptom is absent."""
    advice: str
    source: str


def find(trail: Trail) -> list[Finding]:
    """Every symptom that the trail shows, in the order of the table: causes before effects."""
    return [
        Finding(rule.name, text, rule.advice, rule.source)
        for rule in RULES
        if (text := rule.recognise(trail))
    ]


HARMLESS = ("autoexec.ipxe", "shim_certificate", "revocations", "sbat", ".lst", ".mod", ".lua")
"""Parts of names that clients ask for without needing them."""
SLOW_REPORT = timedelta(minutes=30)
SLOW_INSPECTION = timedelta(minutes=5)
TFTP_ROLLOVER = 65_535
"""Blocks of one file that fit the 16-bit block number (RFC 1350, 5)."""


def _fetched(events: Sequence[Event], *parts: str) -> bool:
    """Whether a file with one of these parts in its name was sent whole."""
    return any(
        is_fetch(e)
        and e.kind == Outcome.SERVED.value
        and e.reason != SIZE_PROBE
        and any(part in file_of(e) for part in parts)
        for e in events
    )


def _asked(events: Sequence[Event], *parts: str) -> bool:
    """Whether a file with one of these parts in its name was asked for, whatever came of it."""
    return any(is_fetch(e) and any(part in file_of(e) for part in parts) for e in events)


def _last_ack(events: Sequence[Event]) -> Event | None:
    return next((e for e in reversed(events) if is_dhcp(e, "ACK") and is_firmware(e)), None)


def _alarms(trail: Trail) -> str | None:
    armed = newest_of(trail.events, EventKind.ARMED)
    alarms = [e for e in trail.events if e.kind == ALARM and (armed is None or e.id > armed.id)]
    if not alarms:
        return None
    more = f" ({len(alarms)} alarms in all)" if len(alarms) > 1 else ""
    return f"{alarms[-1].at:%Y-%m-%d %H:%M:%S}: {alarms[-1].reason}{more}"


def _never_seen(trail: Trail) -> str | None:
    seen = any(e.service in {s.value for s in Service} for e in trail.events)
    return None if seen else f"no packet of {trail.name} was ever seen"


def _met_with_silence(trail: Trail) -> str | None:
    dhcp = [e for e in trail.boot if e.service == Service.DHCP.value]
    silent = [e for e in dhcp if is_dhcp(e, outcome=Outcome.SILENT)]
    if not silent or len(silent) < len(dhcp) or "chose the server" in silent[-1].reason:
        return None
    return f"no question was answered, the last because {silent[-1].reason}"


def _chose_another(trail: Trail) -> str | None:
    other = [e for e in trail.boot if "chose the server" in e.reason]
    return (
        f"{trail.name} took the offer of another DHCP server: {other[-1].reason}" if other else None
    )


def _never_requested(trail: Trail) -> str | None:
    offers = [e for e in trail.boot if is_dhcp(e, "OFFER")]
    answered = any(is_dhcp(e, "ACK", "NAK") for e in trail.boot)
    moved_on = answered or _chose_another(trail) or any(is_fetch(e) for e in trail.boot)
    if len(offers) < 2 or moved_on:
        return None
    sent = sum(int(e.detail.get(REPEATED, 1)) for e in offers)
    return f"{sent} offers were sent and none was ever requested"


def _refused_address(trail: Trail) -> str | None:
    naks = [e for e in trail.boot if is_dhcp(e, "NAK", outcome=Outcome.REFUSED)]
    if not naks or any(is_dhcp(e, "ACK") and e.at >= naks[-1].at for e in trail.boot):
        return None
    return f"the address that it asked for was refused: {naks[-1].reason}"


def _nothing_fetched(trail: Trail) -> str | None:
    ack = _last_ack(trail.boot)
    if ack is None or any(is_fetch(e) for e in trail.boot):
        return None
    return f"it has its address and knows of {ack.detail.get('boot_file')}, but asked for no file"


def _only_probed(trail: Trail) -> str | None:
    probes = [e for e in trail.boot if e.reason == SIZE_PROBE]
    if not probes or _fetched(trail.boot, file_of(probes[-1])):
        return None
    if any(e.kind == Outcome.FAILED.value for e in trail.boot if is_fetch(e)):
        return None
    return f"it asked for the size of {probes[-1].subject} and never for the file"


def _broke_off(trail: Trail) -> Event | None:
    broken = [
        e
        for e in trail.boot
        if e.service == Service.TFTP.value
        and e.kind == Outcome.FAILED.value
        and not _fetched([x for x in trail.boot if x.at >= e.at], file_of(e))
    ]
    return broken[-1] if broken else None


def _no_data_arrives(trail: Trail) -> str | None:
    broken = _broke_off(trail)
    if broken is None or octets(broken):
        return None
    return f"{broken.subject} was asked for by TFTP, and not one block was acknowledged"


def _stops_midway(trail: Trail) -> str | None:
    broken = _broke_off(trail)
    if broken is None or not octets(broken):
        return None
    size = broken.detail.get("blksize", 512)
    blocks = octets(broken) // size if isinstance(size, int) and size else 0
    if blocks >= TFTP_ROLLOVER - 1:
        return None
    return f"{broken.subject} stopped after {blocks} blocks of {size} bytes: {broken.reason}"


def _stops_at_rollover(trail: Trail) -> str | None:
    broken = _broke_off(trail)
    size = broken.detail.get("blksize", 512) if broken else 0
    if broken is None or not isinstance(size, int) or not size:
        return None
    blocks = octets(broken) // size
    if not TFTP_ROLLOVER - 1 <= blocks <= TFTP_ROLLOVER + 64:
        return None
    return f"{broken.subject} stopped where block numbers begin again, after {blocks} blocks"


def _ipxe_never_asked(trail: Trail) -> str | None:
    program = next(
        (p for p in ("undionly", "snponly", "ipxe.efi") if _fetched(trail.boot, p)), None
    )
    if program is None or trail.secure_boot:
        return None
    went_on = any(is_ipxe(e) for e in trail.boot) or _asked(trail.boot, "ipxe/", ".ipxe")
    return None if went_on else "iPXE was sent whole and then asked for nothing"


def _unsigned_under_secure_boot(trail: Trail) -> str | None:
    if not trail.secure_boot or not _fetched(trail.boot, "undionly", "snponly", "ipxe.efi"):
        return None
    return "iPXE was sent to a host with Secure Boot, which runs only signed programs"


def _no_script(trail: Trail) -> str | None:
    ipxe = any(is_dhcp(e, "ACK") and is_ipxe(e) for e in trail.boot)
    if not ipxe or _asked(trail.boot, "ipxe/", ".ipxe"):
        return None
    return "iPXE has its address and did not ask for its script"


def _shim_without_grub(trail: Trail) -> str | None:
    if not _fetched(trail.boot, "shimx64", "shim") or _asked(trail.boot, "grubx64"):
        return None
    return "shim was sent, and it never asked for GRUB"


def _grub_without_configuration(trail: Trail) -> str | None:
    if not _fetched(trail.boot, "grubx64") or _asked(trail.boot, "grub.cfg"):
        return None
    return "GRUB was sent, and it never asked for its configuration"


KERNELS = (Kernel.__name__, Multiboot.__name__)


def _no_kernel(trail: Trail) -> str | None:
    targets = [e for e in trail.boot if e.kind == BOOT_TARGET]
    if not targets or targets[-1].subject not in KERNELS:
        return None
    after = [e for e in trail.boot if e.at >= targets[-1].at]
    if _asked(after, "ramdisk/", "artifacts/") or trail.now - targets[-1].at < timedelta(minutes=1):
        return None
    return f"the script was made ({targets[-1].reason}), and no kernel was asked for"


def _missing_file(trail: Trail) -> str | None:
    refused = [
        e
        for e in trail.boot
        if is_fetch(e)
        and e.kind == Outcome.REFUSED.value
        and not any(
            part in file_of(e) for part in (*HARMLESS, "answer/", "report/", "pxelinux.cfg")
        )
    ]
    if not refused:
        return None
    names = ", ".join(dict.fromkeys(e.subject for e in refused))
    return f"asked for and not served: {names} ({refused[-1].reason})"


def _refused_urls(trail: Trail) -> str | None:
    refused = [
        e
        for e in trail.boot
        if is_fetch(e)
        and e.kind in (Outcome.REFUSED.value, Outcome.FAILED.value)
        and file_of(e).startswith(("answer/", "report/"))
    ]
    return f"{refused[-1].subject} was refused: {refused[-1].reason}" if refused else None


def _armed_and_not_seen(trail: Trail) -> str | None:
    if trail.state is not HostState.ARMED or _never_seen(trail):
        return None
    seen = [e for e in trail.since_change if e.service in {s.value for s in Service}]
    return None if seen else f"{trail.name} is armed, and no packet of it was seen since"


def _armed_and_boots_its_disk(trail: Trail) -> str | None:
    if trail.state is not HostState.ARMED:
        return None
    dhcp = [e for e in trail.since_change if is_dhcp(e)]
    if not dhcp or any(e.detail.get("firmware") for e in dhcp):
        return None
    return f"{trail.name} is armed, but an installed system asked for its address, not the firmware"


def _reboots_while_deploying(trail: Trail) -> str | None:
    if trail.state is not HostState.DEPLOYING:
        return None
    again = [e for e in trail.since_change if e.kind == BOOT_TARGET and e.subject == "LocalDisk"]
    if not again:
        return None
    return f"{trail.name} booted again before its installation reported its end"


def _deploying_in_silence(trail: Trail) -> str | None:
    if trail.state is not HostState.DEPLOYING or not trail.events:
        return None
    quiet = trail.now - trail.events[-1].at
    if quiet < SLOW_REPORT:
        return None
    return f"the installation has said nothing for {int(quiet.total_seconds() // 60)} minutes"


def _inspection_in_silence(trail: Trail) -> str | None:
    if trail.state is not HostState.INSPECTING or trail.changed_at is None:
        return None
    started = newest_of(trail.events, EventKind.INSPECTION_STARTED)
    began = started.at if started else trail.changed_at
    if trail.now - began < SLOW_INSPECTION or not _fetched(trail.boot, "ramdisk/initrd"):
        return None
    return "the inspection ramdisk was sent whole and never reported"


def _failed(trail: Trail) -> str | None:
    if trail.state is not HostState.FAILED:
        return None
    failed = newest_of(trail.events, EventKind.FAILED)
    said = f": {failed.reason}" if failed and failed.reason else ""
    return f"the installation failed{said}"


RULES: Sequence[Rule] = (
    Rule(
        "alarm",
        _alarms,
        "Find out who asked: a single-use URL was used twice or from elsewhere. If an answer held"
        " secrets, change them.",
        "our own rule: an answer opens once, for one host, at one address",
    ),
    Rule(
        "never seen",
        _never_seen,
        "Look at power, cable and VLAN, whether network boot is on in the firmware, whether the"
        " inventory has the MAC address of that port, and whether a relay is needed.",
        "our own rule",
    ),
    Rule(
        "met with silence",
        _met_with_silence,
        "The reason names the rule; change the inventory, or leave the machine to its own server.",
        "our own rule: not answering has a reason",
    ),
    Rule(
        "another DHCP server",
        _chose_another,
        "Two servers answer here. Turn the other one off, or set dhcp: proxy beside it.",
        "RFC 2131, 4.3.2",
    ),
    Rule(
        "offer never requested",
        _never_requested,
        "The offers do not arrive (VLAN, a switch port that forwards only after a delay, a relay"
        " without a way back), another server answers faster, or the firmware dislikes the offer.",
        "RFC 2131, 3.1; xcat-core#4830 (PXE-E18 after a half-formed offer)",
    ),
    Rule(
        "address refused",
        _refused_address,
        "The client remembers an address of another segment or server; it begins anew by itself.",
        "RFC 2131, 4.3.2",
    ),
    Rule(
        "nothing fetched",
        _nothing_fetched,
        "Look for a firewall before UDP port 69 or the HTTP port, and beside another DHCP server"
        " before UDP port 4011: an option 60 of that server sends UEFI there.",
        "fog-docs#188; PXE 2.1, 2.2.2; RFC 1350, 4",
    ),
    Rule(
        "size probe only",
        _only_probed,
        "Asking for the size first is normal; stopping there is not. Look for a firewall that"
        " drops TFTP's data ports, and for an Ethernet MTU below 1500 on the way.",
        "seen with OVMF, which ends its probe with ERROR 8; RFC 2349",
    ),
    Rule(
        "no TFTP data arrives",
        _no_data_arrives,
        "The answer comes from a port of its own: a firewall or NAT on the way must know TFTP.",
        "RFC 1350, 4 (transfer identifiers)",
    ),
    Rule(
        "TFTP stops midway",
        _stops_midway,
        "Look for a smaller MTU on the way (tunnels, VLANs), for lost packets, and for firmware"
        " that cannot take the block size or window that it asked for.",
        "crowbar-core#1078 (block sizes); RFC 2348; RFC 7440",
    ),
    Rule(
        "TFTP stops at block 65535",
        _stops_at_rollover,
        "The client cannot count on after block 65535: fetch large files by HTTP.",
        "RFC 1350, 5: block numbers have 16 bits",
    ),
    Rule(
        "unsigned program",
        _unsigned_under_secure_boot,
        "Set loader: grub for this host, or secure_boot: false if its firmware has it off.",
        "UEFI 2.10, 32.5; distributions sign shim and GRUB, not iPXE",
    ),
    Rule(
        "iPXE does not go on",
        _ipxe_never_asked,
        "iPXE found no network card: its UNDI or SNP driver does not fit this firmware. Try"
        " loader: grub or pxelinux. With Secure Boot on, unsigned iPXE is not started at all:"
        " set secure_boot: true.",
        "UEFI 2.10, 24.1 (simple network protocol); UEFI 2.10, 32.5",
    ),
    Rule(
        "no script",
        _no_script,
        "Look for a firewall before the HTTP port. A 404 for autoexec.ipxe stops some builds.",
        "tinkerbell#424",
    ),
    Rule(
        "shim without GRUB",
        _shim_without_grub,
        "shim asks the server of the DHCP reply, not of the proxy's: beside another DHCP server"
        " that server must name us. Or the signature is not in the firmware's list.",
        "shim#165",
    ),
    Rule(
        "GRUB without configuration",
        _grub_without_configuration,
        "GRUB stands at its prompt. With UEFI HTTP Boot older GRUB asks for no configuration: use"
        " firmware: uefi (TFTP). Otherwise its network driver failed.",
        "seen with OVMF HTTP Boot, shim and Debian's signed GRUB",
    ),
    Rule(
        "no kernel",
        _no_kernel,
        "The loader has its script and did not go on: look at the console for its error.",
        "our own rule",
    ),
    Rule(
        "missing file",
        _missing_file,
        "Put the file below artifacts, or install the boot program's package; rackseed check"
        " names what is missing.",
        "our own rule",
    ),
    Rule(
        "single-use URL refused",
        _refused_urls,
        "Boot the host again: every boot script has fresh URLs.",
        "our own rule: an answer opens once, for one host, at one address",
    ),
    Rule(
        "armed and not seen",
        _armed_and_not_seen,
        "Switch it on or reset it, with network boot first or once.",
        "our own rule",
    ),
    Rule(
        "armed and boots its disk",
        _armed_and_boots_its_disk,
        "The boot order has the disk first: choose network boot once in the firmware or by BMC.",
        "our own rule: firmware sends option 93, an installed system does not (RFC 4578, 2.1)",
    ),
    Rule(
        "reboots while deploying",
        _reboots_while_deploying,
        "The installer ended without its report, or was reset. If the disk starts a good system,"
        " let the answer report 'installed'; otherwise disarm, and arm it again.",
        "our own rule: an arming is used up by the delivery of its answer",
    ),
    Rule(
        "deploying in silence",
        _deploying_in_silence,
        "Look at the console. To give it up: rackseed disarm; then arm it again.",
        "our own rule",
    ),
    Rule(
        "inspection in silence",
        _inspection_in_silence,
        "The ramdisk has no driver for this network card, or its port forwards only after a"
        " delay; its console says which.",
        "our own rule",
    ),
    Rule("failed", _failed, "Mend the cause and arm the host again.", "what the machine reported"),
)
