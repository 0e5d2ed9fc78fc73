from datetime import UTC, datetime, timedelta

import pytest

from provision.simulation import phases
from provision.simulation.marker import LINE
from provision.simulation.phases import Goal, Phase, Progress
from provision.store.events import Event

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return BEGIN + timedelta(seconds=seconds)


def event(kind: str, service: str = "site", subject: str = "", seconds: float = 1, **detail):
    return Event(at(seconds), service, kind, "cmp01", detail={"subject": subject, **detail})


def told(*events: Event, goal: Goal = Goal.DISK) -> Progress:
    progress = phases.reached(Progress(), Phase.POWER, at(0))
    for each in events:
        progress = phases.after_event(progress, each, goal)
    return progress


DHCP = event("served", "dhcp", "OFFER")
INSTALLED = event("installed")
LOCAL = event("boot target", subject="LocalDisk", reason="cmp01 is active and not armed")
WHOLE_BOOT = [
    DHCP,
    event("served", "tftp", "snponly.efi", bytes=300_000),
    event("served", "http", "/ipxe/52:54:00:aa:00:01.ipxe", bytes=700),
    event("boot target", subject="Kernel", reason="installing cmp01"),
    event("served", "http", "/ramdisk/vmlinuz", bytes=8_000_000),
    event("served", "http", "/ramdisk/initrd.img", bytes=9_000_000),
    event("served", "http", "/answer/…", bytes=200),
    event("answer delivered"),
    event("progress", message="writing the image"),
    event("served", "http", "/artifacts/marker.img", bytes=16_000_000),
    INSTALLED,
    DHCP,
    LOCAL,
]


def test_a_whole_boot_passes_every_phase_in_order() -> None:
    progress = phases.after_console(told(*WHOLE_BOOT), f"\r\n{LINE}\r\n", at(60), Goal.DISK)
    assert [mark.phase for mark in progress.marks] == [
        phase for phase in Phase if phase not in (Phase.WAITING, Phase.FAILED)
    ]
    assert progress.octets == 33_300_900
    assert progress.seconds == 60


@pytest.mark.parametrize(
    ("name", "phase"),
    [
        ("undionly.kpxe", Phase.PROGRAM),
        ("pxelinux.0", Phase.PROGRAM),
        ("//grubx64.efi", Phase.PROGRAM),
        ("/secureboot.img", Phase.PROGRAM),
        ("pxelinux.cfg/01-52-54-00-aa-00-01", Phase.SCRIPT),
        ("/grub/grub.cfg-01-52-54-00-aa-00-01", Phase.SCRIPT),
        ("/grub/x86_64-efi/grub.cfg", Phase.SCRIPT),
        ("ramdisk/vmlinuz", Phase.KERNEL),
        ("/ramdisk/initrd.img", Phase.RAMDISK),
        ("/artifacts/marker.img", Phase.IMAGE),
        ("/healthz", Phase.POWER),
    ],
)
def test_what_was_fetched_tells_the_phase(name: str, phase: Phase) -> None:
    assert told(event("served", "http", name)).phase is phase


@pytest.mark.parametrize("kind", ["refused", "failed exchange", "silent"])
def test_what_was_not_served_moves_nobody(kind: str) -> None:
    assert told(event(kind, "tftp", "snponly.efi")).phase is Phase.POWER


def test_a_phase_never_goes_back() -> None:
    kernel = event("served", "http", "/ramdisk/vmlinuz")
    assert told(kernel, DHCP).phase is Phase.KERNEL


@pytest.mark.parametrize(
    ("goal", "last"),
    [
        (Goal.RAMDISK, event("inspected")),
        (Goal.INSTALLED, INSTALLED),
    ],
)
def test_a_nearer_goal_is_reached_without_a_disk(goal: Goal, last: Event) -> None:
    assert told(DHCP, last, goal=goal).phase is Phase.ARRIVED


def test_the_line_of_the_disk_counts_only_after_the_installation() -> None:
    assert phases.after_console(told(DHCP), LINE, at(9), Goal.DISK).phase is Phase.DHCP
    assert phases.after_console(told(INSTALLED), LINE, at(9), Goal.DISK).phase is Phase.ARRIVED


def test_a_machine_that_is_sent_to_an_empty_disk_has_failed() -> None:
    progress = told(DHCP, LOCAL)
    assert progress.phase is Phase.FAILED
    assert "cmp01 is active and not armed" in progress.reason


@pytest.mark.parametrize(
    ("console", "reason"),
    [
        ("rackseed: STOPPED: no interface has the MAC address\r\nmore", "no interface has the MAC"),
        ('BdsDxe: starting Boot0000 "UiApp" from Fv(7CB8)', "waits for a person"),
        ("completions.\r\ngrub> ", "waits for a person"),
        ("rackseed: given up, starting the local disk in 10 seconds", "gave up"),
    ],
)
def test_a_console_that_gives_up_ends_the_wait(console: str, reason: str) -> None:
    progress = phases.after_console(told(DHCP), console, at(5), Goal.DISK)
    assert progress.phase is Phase.FAILED
    assert reason in progress.reason


def test_a_reported_failure_is_told_in_the_machine_s_own_words() -> None:
    progress = told(DHCP, event("failed", reason="the disk vda cannot be written"))
    assert (progress.phase, progress.reason) == (Phase.FAILED, "the disk vda cannot be written")


def test_the_life_cycle_s_failure_is_not_mistaken_for_a_failed_transfer() -> None:
    assert told(DHCP, event("failed", "tftp", "snponly.efi")).phase is Phase.DHCP


def test_nothing_happens_after_the_end() -> None:
    progress = told(DHCP, INSTALLED, goal=Goal.INSTALLED)
    assert phases.after_event(progress, event("failed"), Goal.INSTALLED) == progress


@pytest.mark.parametrize(
    ("console", "found"),
    [
        ("rackseed: inspected bytes=900 firmware=uefi secure_boot=true\r\n", True),
        ("rackseed: inspected bytes=900 firmware=uefi secure_boot=false\r\n", False),
        ("rackseed: inspected bytes=900 firmware=uefi secure_boot=null\r\n", None),
        ("rackseed: ramdisk kernel=6.1 action=image", None),
    ],
)
def test_secure_boot_is_what_the_machine_says(console: str, found: bool | None) -> None:
    assert phases.after_console(told(DHCP), console, at(2), Goal.DISK).secure_boot is found


def test_alarms_are_kept() -> None:
    assert told(event("alarm", reason="a second fetch")).alarms == ("a second fetch",)


SEEDED_BOOT = [
    *WHOLE_BOOT[:-3],
    event("progress", message="the image is on vda"),
    DHCP,
    LOCAL,
]


def test_a_machine_with_a_seed_arrives_when_its_own_system_says_so() -> None:
    progress = told(*SEEDED_BOOT, goal=Goal.SYSTEM)
    assert progress.phase is Phase.LOCAL_DISK
    assert Phase.INSTALLED in [mark.phase for mark in progress.marks]
    assert told(*SEEDED_BOOT, INSTALLED, goal=Goal.SYSTEM).phase is Phase.ARRIVED


def test_beside_it_a_machine_without_one_arrives_as_ever() -> None:
    progress = told(*WHOLE_BOOT, goal=Goal.SYSTEM)
    assert progress.phase is Phase.LOCAL_DISK
    assert phases.after_console(progress, LINE, at(60), Goal.SYSTEM).phase is Phase.ARRIVED
