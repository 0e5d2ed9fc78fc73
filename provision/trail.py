"""What is recorded of one machine, in words and cut into boots."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from provision.lifecycle import EventKind, HostState
from provision.store.events import ALARM, BOOT_TARGET, DROPPED, REPEATED, Event
from pxe.site import Outcome, Service

PAUSE = timedelta(minutes=10)
"""After so much silence the next packet belongs to another boot."""

FETCHES = frozenset({Service.TFTP.value, Service.HTTP.value})
SIZE_PROBE = "size probe"
"""How the TFTP server calls a request that only asked for the size."""


@dataclass(frozen=True, slots=True)
class Trail:
    """What is known of one machine."""

    name: str
    events: tuple[Event, ...]
    """Everything that was asked for, oldest first."""
    now: datetime
    state: HostState | None = None
    """None: not in the inventory."""
    changed_at: datetime | None = None
    secure_boot: bool = False

    @property
    def boot(self) -> tuple[Event, ...]:
        """The newest boot: from the firmware's first packet on."""
        return tuple(newest_boot(self.events))

    @property
    def since_change(self) -> tuple[Event, ...]:
        """What was seen since the state last changed."""
        begin = self.changed_at
        return tuple(event for event in self.events if begin is None or event.at > begin)


def is_dhcp(event: Event, *subjects: str, outcome: Outcome = Outcome.SERVED) -> bool:
    """Whether an event is one of these DHCP messages with this outcome."""
    dhcp = event.service == Service.DHCP.value and event.kind == outcome.value
    return dhcp and (not subjects or event.subject in subjects)


def is_firmware(event: Event) -> bool:
    """Whether the firmware itself asked: network boot, and not yet iPXE."""
    firmware = str(event.detail.get("firmware", ""))
    return bool(firmware) and not firmware.endswith("iPXE")


def is_ipxe(event: Event) -> bool:
    """Whether iPXE asked."""
    return str(event.detail.get("firmware", "")).endswith("iPXE")


def is_fetch(event: Event) -> bool:
    """Whether a file was asked for."""
    return event.service in FETCHES


def file_of(event: Event) -> str:
    """The name of a fetched file as the catalog knows it, in small letters."""
    return event.subject.replace("\\", "/").lstrip("/").lower()


def octets(event: Event) -> int:
    """How many bytes went out."""
    found = event.detail.get("bytes", 0)
    return found if isinstance(found, int) else 0


def newest_boot(events: Sequence[Event]) -> Sequence[Event]:
    """The events from the newest boot's first packet on.

    A boot begins with an offer to firmware, unless only offers came just before it: a client
    repeats its question until an answer suits it. A count of exchanges comes after its time and
    begins nothing.
    """
    begin, further = 0, True
    for index, event in enumerate(events):
        if REPEATED in event.detail:
            continue
        paused = index > 0 and event.at - events[index - 1].at > PAUSE
        starts = is_dhcp(event, "OFFER") and is_firmware(event)
        if starts and (further or paused):
            begin, further = index, False
        elif not is_dhcp(event, "OFFER") and event.service in {s.value for s in Service}:
            further = True
    return events[begin:]


def describe(event: Event) -> str:
    """One event in words."""
    text = _describe(event)
    repeated = event.detail.get(REPEATED)
    return f"{text} ({repeated} times more)" if repeated else text


def _describe(event: Event) -> str:
    if event.kind == ALARM:
        return f"ALARM: {event.reason}"
    if event.kind == DROPPED:
        return f"{event.detail.get('dropped')} exchanges were not recorded: too many at once"
    if event.kind == BOOT_TARGET:
        return f"boot script made: {event.reason}"
    if event.service == Service.DHCP.value:
        return _describe_dhcp(event)
    if event.service in FETCHES:
        return _describe_fetch(event)
    return _describe_transition(event)


def _describe_dhcp(event: Event) -> str:
    rule = f": {event.reason}" if event.reason else ""
    match event.kind:
        case Outcome.SILENT.value:
            return f"{event.subject} not answered{rule}"
        case Outcome.FAILED.value:
            return f"{event.subject} could not be sent{rule}"
    firmware = event.detail.get("firmware")
    to = f" to {firmware}" if firmware else ""
    what = " and ".join(str(w) for w in (event.address, event.detail.get("boot_file")) if w)
    return " ".join(word for word in (event.subject, what) if word) + to + rule


def _describe_fetch(event: Event) -> str:
    rule = f": {event.reason}" if event.reason else ""
    match event.kind:
        case Outcome.REFUSED.value:
            return f"{event.subject} refused{rule}"
        case Outcome.FAILED.value:
            return f"{event.subject} broke off after {octets(event)} bytes{rule}"
    if event.reason == SIZE_PROBE:
        return f"{event.subject}: only its size was asked for"
    seconds = event.detail.get("seconds")
    took = f" in {seconds} s" if seconds else ""
    return f"{event.subject} sent, {octets(event)} bytes{took}{rule}"


def _describe_transition(event: Event) -> str:
    moved = event.after is not None and event.before is not event.after
    change = f" ({event.before.value} -> {event.after.value})" if moved and event.before and \
        event.after else ""  # fmt: skip
    by = event.detail.get("by")
    who = f" by {by}" if by else ""
    said = f": {event.reason}" if event.reason else ""
    return f"{event.kind}{who}{change}{said}"


def newest_of(events: Iterable[Event], kind: EventKind) -> Event | None:
    """The newest transition of a kind."""
    return next((e for e in reversed(list(events)) if e.kind == kind.value), None)
