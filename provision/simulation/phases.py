"""How far a machine is, told by the server's events and by its own console: no effects here."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum, IntEnum

from provision.lifecycle import EventKind
from provision.simulation.marker import LINE
from provision.store.events import ALARM, BOOT_TARGET, Event


class Phase(IntEnum):
    """The furthest thing that is known to have happened, in the order of a boot."""

    WAITING = 0
    """Its turn has not come: the machine is off."""
    POWER = 1
    DHCP = 2
    """It was offered an address."""
    PROGRAM = 3
    """It has its boot program."""
    SCRIPT = 4
    KERNEL = 5
    RAMDISK = 6
    """It has the whole ramdisk: the kernel starts now."""
    ANSWER = 7
    IMAGE = 8
    """It is writing the image, or has written it."""
    INSTALLED = 9
    REBOOTING = 10
    """It asked for an address again."""
    LOCAL_DISK = 11
    """It was told to start its disk."""
    ARRIVED = 12
    FAILED = 13

    @property
    def words(self) -> str:
        """For people."""
        return self.name.lower().replace("_", " ")

    @property
    def is_over(self) -> bool:
        """Nothing more will happen to this machine."""
        return self in (Phase.ARRIVED, Phase.FAILED)


class Goal(Enum):
    """How far a machine must come to have arrived."""

    RAMDISK = "ramdisk"
    """The inspection ramdisk runs and reported the hardware."""
    INSTALLED = "installed"
    """The image is on the disk and the machine said so."""
    DISK = "disk"
    """The second boot started from that disk."""
    SYSTEM = "system"
    """Roles of images that take a seed write their own, and its cloud-init said that it is up."""


BEYOND = frozenset({Goal.DISK, Goal.SYSTEM})
"""Goals for which a written disk is not enough."""


@dataclass(frozen=True, slots=True)
class Mark:
    """When a phase began."""

    phase: Phase
    at: datetime


@dataclass(frozen=True, slots=True)
class Progress:
    """One machine's way so far."""

    marks: tuple[Mark, ...] = ()
    octets: int = 0
    """Bytes that the server sent to it over TFTP and HTTP."""
    reason: str = ""
    """Why it failed."""
    secure_boot: bool | None = None
    """What the running machine said of it; None: nothing."""
    alarms: tuple[str, ...] = ()

    @property
    def phase(self) -> Phase:
        """The furthest."""
        return self.marks[-1].phase if self.marks else Phase.WAITING

    @property
    def seconds(self) -> float | None:
        """From power-on to the end; None while it is not over."""
        if not self.marks or not self.phase.is_over:
            return None
        return (self.marks[-1].at - self.marks[0].at).total_seconds()

    def spans(self) -> list[tuple[Phase, float]]:
        """How many seconds each phase took."""
        pairs = zip(self.marks, self.marks[1:], strict=False)
        return [(one.phase, (next_.at - one.at).total_seconds()) for one, next_ in pairs]


SCRIPT_NAME = re.compile(r"(ipxe/|pxelinux\.cfg/|(grub/)?(x86_64-efi/)?grub\.cfg)")
PROGRAM_NAME = re.compile(r"[^/]+\.(0|c32|efi|kpxe|img)")
"""Programs lie at the top of the served tree."""
KERNEL_NAME = re.compile(r"ramdisk/vmlinuz")
INITRD_NAME = re.compile(r"ramdisk/initrd\.img")
ARTIFACT_NAME = re.compile(r"artifacts/.+")

FETCHED: Sequence[tuple[re.Pattern[str], Phase]] = (
    (SCRIPT_NAME, Phase.SCRIPT),
    (KERNEL_NAME, Phase.KERNEL),
    (INITRD_NAME, Phase.RAMDISK),
    (ARTIFACT_NAME, Phase.IMAGE),
    (PROGRAM_NAME, Phase.PROGRAM),
)
"""What a served name tells; the first that matches counts."""

LOST = re.compile(r'BdsDxe: starting Boot\w+ "(UiApp|EFI Internal Shell)"|^grub> ', re.MULTILINE)
"""UEFI (EDK II) has no boot entry left, or GRUB got no configuration."""
LOST_REASON = "the firmware or GRUB found nothing to start and waits for a person"

SECURE_BOOT = re.compile(r"rackseed: inspected [^\r\n]*\bsecure_boot=(true|false)\b")
"""What the ramdisk found in the firmware; the kernel itself is quiet."""
STOPPED = re.compile(r"rackseed: STOPPED: ([^\r\n]*)")
"""The ramdisk's last words when it cannot go on."""
ON_DISK = "the image is on "
"""How the ramdisk's progress begins when the installed system is to report itself (image.sh)."""
GIVEN_UP = "rackseed: given up"
"""What our boot scripts say when kernel or ramdisk did not come (pxe/templates)."""


def reached(progress: Progress, phase: Phase, at: datetime, reason: str = "") -> Progress:
    """`progress` with a new phase; one that is not further changes nothing."""
    if progress.phase.is_over or phase <= progress.phase:
        return progress
    return replace(progress, marks=(*progress.marks, Mark(phase, at)), reason=reason)


def after_event(progress: Progress, event: Event, goal: Goal) -> Progress:
    """What one event of this machine tells."""
    if progress.phase is Phase.WAITING:
        return progress
    progress = replace(progress, octets=progress.octets + _octets(event))
    if event.kind == ALARM:
        return replace(progress, alarms=(*progress.alarms, event.reason))
    if (event.service, event.kind) == ("site", EventKind.FAILED.value):
        return reached(progress, Phase.FAILED, event.at, event.reason or "it reported a failure")
    if event.kind == BOOT_TARGET and event.subject == "LocalDisk":
        if progress.phase >= Phase.INSTALLED:
            return reached(progress, Phase.LOCAL_DISK, event.at)
        why = f"it was told to start its disk before anything was installed: {event.reason}"
        return reached(progress, Phase.FAILED, event.at, why)
    phase = _told_by(event, progress, goal)
    return progress if phase is None else reached(progress, phase, event.at)


def after_console(progress: Progress, text: str, now: datetime, goal: Goal) -> Progress:
    """What the machine's serial console tells so far."""
    if progress.secure_boot is None and (found := SECURE_BOOT.search(text)):
        progress = replace(progress, secure_boot=found[1] == "true")
    if stopped := STOPPED.search(text):
        why = f"the ramdisk stopped: {stopped[1]}"
        return reached(progress, Phase.FAILED, now, why)
    if LOST.search(text):
        return reached(progress, Phase.FAILED, now, LOST_REASON)
    if GIVEN_UP in text and progress.phase < Phase.INSTALLED:
        why = "the boot script gave up: the kernel or its ramdisk did not load"
        return reached(progress, Phase.FAILED, now, why)
    if goal in BEYOND and LINE in text and progress.phase >= Phase.INSTALLED:
        return reached(progress, Phase.ARRIVED, now)
    return progress


def _told_by(event: Event, progress: Progress, goal: Goal) -> Phase | None:
    match event.kind:
        case EventKind.ANSWER_DELIVERED.value:
            return Phase.ANSWER
        case EventKind.INSTALLED.value if progress.phase >= Phase.INSTALLED:
            return Phase.ARRIVED
        case EventKind.INSTALLED.value:
            return Phase.INSTALLED if goal in BEYOND else Phase.ARRIVED
        case EventKind.PROGRESS.value if event.detail.get("message", "").startswith(ON_DISK):
            return Phase.INSTALLED if goal in BEYOND else Phase.ARRIVED
        case EventKind.INSPECTED.value if goal is Goal.RAMDISK:
            return Phase.ARRIVED
        case EventKind.PROGRESS.value if progress.phase is Phase.ANSWER:
            return Phase.IMAGE
    if event.kind != "served":
        return None
    again = progress.phase >= Phase.INSTALLED
    if event.service == "dhcp":
        return Phase.REBOOTING if again else Phase.DHCP
    if again:
        return None
    name = event.subject.lstrip("/")
    return next((phase for pattern, phase in FETCHED if pattern.match(name)), None)


def _octets(event: Event) -> int:
    if event.service not in ("tftp", "http"):
        return 0
    return int(event.detail.get("bytes", 0))
