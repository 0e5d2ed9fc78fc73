"""Signs in what was recorded of a machine: pure functions that say what they saw, or None."""

from collections.abc import Sequence
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

KERNELS = (Kernel.__name__, Multiboot.__name__)
"""Boot targets that must ask for a kernel next."""
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


def alarms(trail: Trail) -> str | None:
    armed = newest_of(trail.events, EventKind.ARMED)
    since = [e for e in trail.events if e.kind == ALARM and (armed is None or e.id > armed.id)]
    if not since:
        return None
    more = f" ({len(since)} alarms in all)" if len(since) > 1 else ""
    return f"{since[-1].at:%Y-%m-%d %H:%M:%S}: {since[-1].reason}{more}"


def never_seen(trail: Trail) -> str | None:
    seen = any(e.service in {s.value for s in Service} for e in trail.events)
    return None if seen else f"no packet of {trail.name} was ever seen"


def met_with_silence(trail: Trail) -> str | None:
    dhcp = [e for e in trail.boot if e.service == Service.DHCP.value]
    silent = [e for e in dhcp if is_dhcp(e, outcome=Outcome.SILENT)]
    if not silent or len(silent) < len(dhcp) or "chose the server" in silent[-1].reason:
        return None
    return f"no question was answered, the last because {silent[-1].reason}"


def chose_another(trail: Trail) -> str | None:
    other = [e for e in trail.boot if "chose the server" in e.reason]
    return (
        f"{trail.name} took the offer of another DHCP server: {other[-1].reason}" if other else None
    )


def never_requested(trail: Trail) -> str | None:
    offers = [e for e in trail.boot if is_dhcp(e, "OFFER")]
    answered = any(is_dhcp(e, "ACK", "NAK") for e in trail.boot)
    moved_on = answered or chose_another(trail) or any(is_fetch(e) for e in trail.boot)
    if len(offers) < 2 or moved_on:
        return None
    sent = sum(int(e.detail.get(REPEATED, 1)) for e in offers)
    return f"{sent} offers were sent and none was ever requested"


def refused_address(trail: Trail) -> str | None:
    naks = [e for e in trail.boot if is_dhcp(e, "NAK", outcome=Outcome.REFUSED)]
    if not naks or any(is_dhcp(e, "ACK") and e.at >= naks[-1].at for e in trail.boot):
        return None
    return f"the address that it asked for was refused: {naks[-1].reason}"


def nothing_fetched(trail: Trail) -> str | None:
    ack = _last_ack(trail.boot)
    if ack is None or any(is_fetch(e) for e in trail.boot):
        return None
    return f"it has its address and knows of {ack.detail.get('boot_file')}, but asked for no file"


def only_probed(trail: Trail) -> str | None:
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


def no_data_arrives(trail: Trail) -> str | None:
    broken = _broke_off(trail)
    if broken is None or octets(broken):
        return None
    return f"{broken.subject} was asked for by TFTP, and not one block was acknowledged"


def stops_midway(trail: Trail) -> str | None:
    broken = _broke_off(trail)
    if broken is None or not octets(broken):
        return None
    size = broken.detail.get("blksize", 512)
    blocks = octets(broken) // size if isinstance(size, int) and size else 0
    if blocks >= TFTP_ROLLOVER - 1:
        return None
    return f"{broken.subject} stopped after {blocks} blocks of {size} bytes: {broken.reason}"


def stops_at_rollover(trail: Trail) -> str | None:
    broken = _broke_off(trail)
    size = broken.detail.get("blksize", 512) if broken else 0
    if broken is None or not isinstance(size, int) or not size:
        return None
    blocks = octets(broken) // size
    if not TFTP_ROLLOVER - 1 <= blocks <= TFTP_ROLLOVER + 64:
        return None
    return f"{broken.subject} stopped where block numbers begin again, after {blocks} blocks"


def ipxe_never_asked(trail: Trail) -> str | None:
    program = next(
        (p for p in ("undionly", "snponly", "ipxe.efi") if _fetched(trail.boot, p)), None
    )
    if program is None or trail.secure_boot:
        return None
    went_on = any(is_ipxe(e) for e in trail.boot) or _asked(trail.boot, "ipxe/", ".ipxe")
    return None if went_on else "iPXE was sent whole and then asked for nothing"


def unsigned_under_secure_boot(trail: Trail) -> str | None:
    if not trail.secure_boot or not _fetched(trail.boot, "undionly", "snponly", "ipxe.efi"):
        return None
    return "iPXE was sent to a host with Secure Boot, which runs only signed programs"


def no_script(trail: Trail) -> str | None:
    ipxe = any(is_dhcp(e, "ACK") and is_ipxe(e) for e in trail.boot)
    if not ipxe or _asked(trail.boot, "ipxe/", ".ipxe"):
        return None
    return "iPXE has its address and did not ask for its script"


def shim_without_grub(trail: Trail) -> str | None:
    if not _fetched(trail.boot, "shimx64", "shim") or _asked(trail.boot, "grubx64"):
        return None
    return "shim was sent, and it never asked for GRUB"


def grub_without_configuration(trail: Trail) -> str | None:
    if not _fetched(trail.boot, "grubx64") or _asked(trail.boot, "grub.cfg"):
        return None
    return "GRUB was sent, and it never asked for its configuration"


def no_kernel(trail: Trail) -> str | None:
    targets = [e for e in trail.boot if e.kind == BOOT_TARGET]
    if not targets or targets[-1].subject not in KERNELS:
        return None
    after = [e for e in trail.boot if e.at >= targets[-1].at]
    if _asked(after, "ramdisk/", "artifacts/") or trail.now - targets[-1].at < timedelta(minutes=1):
        return None
    return f"the script was made ({targets[-1].reason}), and no kernel was asked for"


def missing_file(trail: Trail) -> str | None:
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


def refused_urls(trail: Trail) -> str | None:
    refused = [
        e
        for e in trail.boot
        if is_fetch(e)
        and e.kind in (Outcome.REFUSED.value, Outcome.FAILED.value)
        and file_of(e).startswith(("answer/", "report/"))
    ]
    return f"{refused[-1].subject} was refused: {refused[-1].reason}" if refused else None


def armed_and_not_seen(trail: Trail) -> str | None:
    if trail.state is not HostState.ARMED or never_seen(trail):
        return None
    seen = [e for e in trail.since_change if e.service in {s.value for s in Service}]
    return None if seen else f"{trail.name} is armed, and no packet of it was seen since"


def armed_and_boots_its_disk(trail: Trail) -> str | None:
    if trail.state is not HostState.ARMED:
        return None
    dhcp = [e for e in trail.since_change if is_dhcp(e)]
    if not dhcp or any(e.detail.get("firmware") for e in dhcp):
        return None
    return f"{trail.name} is armed, but an installed system asked for its address, not the firmware"


def reboots_while_deploying(trail: Trail) -> str | None:
    if trail.state is not HostState.DEPLOYING:
        return None
    again = [e for e in trail.since_change if e.kind == BOOT_TARGET and e.subject == "LocalDisk"]
    if not again:
        return None
    return f"{trail.name} booted again before its installation reported its end"


def deploying_in_silence(trail: Trail) -> str | None:
    if trail.state is not HostState.DEPLOYING or not trail.events:
        return None
    quiet = trail.now - trail.events[-1].at
    if quiet < SLOW_REPORT:
        return None
    return f"the installation has said nothing for {int(quiet.total_seconds() // 60)} minutes"


def inspection_in_silence(trail: Trail) -> str | None:
    if trail.state is not HostState.INSPECTING or trail.changed_at is None:
        return None
    started = newest_of(trail.events, EventKind.INSPECTION_STARTED)
    began = started.at if started else trail.changed_at
    if trail.now - began < SLOW_INSPECTION or not _fetched(trail.boot, "ramdisk/initrd"):
        return None
    return "the inspection ramdisk was sent whole and never reported"


def failed(trail: Trail) -> str | None:
    if trail.state is not HostState.FAILED:
        return None
    failed = newest_of(trail.events, EventKind.FAILED)
    said = f": {failed.reason}" if failed and failed.reason else ""
    return f"the installation failed{said}"
