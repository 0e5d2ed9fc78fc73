"""Each symptom as the events that show it, and a good boot that shows none."""

from datetime import timedelta

import pytest

from provision import symptoms
from provision.lifecycle import HostState
from provision.symptoms import RULES
from provision.trail import Trail
from tests.unit.provision.test_trail import T0, dhcp, fetch, firmware, told

S = HostState
START = [firmware(0), firmware(1, "ACK")]
IPXE = "uefi-x64 iPXE"
GOOD = [
    *START,
    fetch(2, "snponly.efi", reason="size probe"),
    fetch(3, "snponly.efi", bytes=200_000, blksize=1468),
    firmware(4, name=IPXE),
    firmware(5, "ACK", name=IPXE),
    told(6, "boot target", "Kernel", "installing cmp01"),
    fetch(6, "/ipxe/52:54:00:aa:00:01.ipxe", service="http"),
    fetch(6, "/autoexec.ipxe", "refused", "http", "not in the catalog"),
    fetch(7, "/ramdisk/vmlinuz", service="http"),
    fetch(8, "/ramdisk/initrd.img", service="http"),
    dhcp(9),
    dhcp(10, "ACK"),
    told(12, "answer delivered"),
    told(60, "installed"),
]
SHIM = [*START, fetch(2, "shimx64.efi", bytes=900_000)]


def trail(events, state=S.ACTIVE, seconds=90, **facts):
    return Trail("cmp01", tuple(events), T0 + timedelta(seconds=seconds), state, **facts)


CASES = [
    ("alarm", [*GOOD, told(70, "alarm", reason="the answer was already delivered")], {}, "already"),
    ("never seen", [told(0, "armed")], {}, "no packet of cmp01"),
    ("met with silence", [dhcp(0, "DISCOVER", "silent", "the pool is full")], {}, "pool is full"),
    (
        "another DHCP server",
        [firmware(0), dhcp(1, "REQUEST", "silent", "it chose the server 10.20.0.9")],
        {},
        "10.20.0.9",
    ),
    ("offer never requested", [firmware(0), firmware(4), firmware(9, repeated=7)], {}, "9 offers"),
    ("address refused", [firmware(0), dhcp(1, "NAK", "refused", "not ours")], {}, "not ours"),
    ("nothing fetched", START, {}, "knows of snponly.efi"),
    ("size probe only", [*START, fetch(2, "snponly.efi", reason="size probe")], {}, "the size of"),
    (
        "no TFTP data arrives",
        [*START, fetch(9, "snponly.efi", "failed", reason="timed out", bytes=0, blksize=1468)],
        {},
        "not one block",
    ),
    (
        "TFTP stops midway",
        [*START, fetch(9, "snponly.efi", "failed", reason="timed out", bytes=14_680, blksize=1468)],
        {},
        "after 10 blocks of 1468 bytes: timed out",
    ),
    (
        "TFTP stops at block 65535",
        [*START, fetch(9, "big.img", "failed", bytes=65_535 * 512, blksize=512)],
        {},
        "begin again",
    ),
    (
        "unsigned program",
        [*START, fetch(3, "snponly.efi", bytes=9)],
        {"secure_boot": True},
        "only signed programs",
    ),
    ("iPXE does not go on", [*START, fetch(3, "snponly.efi", bytes=9)], {}, "asked for nothing"),
    ("no script", GOOD[:6], {}, "did not ask for its script"),
    ("shim without GRUB", SHIM, {"secure_boot": True}, "never asked for GRUB"),
    (
        "GRUB without configuration",
        [*SHIM, fetch(3, "//grubx64.efi", service="http", bytes=9)],
        {"secure_boot": True},
        "never asked for its configuration",
    ),
    ("no kernel", GOOD[:8], {"seconds": 600}, "no kernel was asked for"),
    (
        "missing file",
        [*GOOD[:8], fetch(7, "/artifacts/x/vmlinuz", "refused", "http", "no such file")],
        {},
        "/artifacts/x/vmlinuz (no such file)",
    ),
    (
        "single-use URL refused",
        [*GOOD, fetch(70, "/answer/…", "refused", "http", "the URL was withdrawn")],
        {},
        "withdrawn",
    ),
    (
        "armed and not seen",
        GOOD,
        {"state": S.ARMED, "changed_at": T0 + timedelta(seconds=80)},
        "no packet of it was seen since",
    ),
    (
        "armed and boots its disk",
        [told(0, "armed"), dhcp(20), dhcp(21, "ACK")],
        {"state": S.ARMED, "changed_at": T0},
        "not the firmware",
    ),
    (
        "reboots while deploying",
        [*GOOD[:-1], told(50, "boot target", "LocalDisk", "its arming is used up")],
        {"state": S.DEPLOYING, "changed_at": T0 + timedelta(seconds=12)},
        "booted again",
    ),
    (
        "deploying in silence",
        GOOD[:-1],
        {"state": S.DEPLOYING, "seconds": 3_700},
        "nothing for 61 minutes",
    ),
    (
        "inspection in silence",
        [*GOOD[:-2], told(6, "inspection started")],
        {"state": S.INSPECTING, "changed_at": T0 + timedelta(seconds=6), "seconds": 700},
        "never reported",
    ),
    (
        "failed",
        [*GOOD[:-1], told(60, "failed", reason="no disk")],
        {"state": S.FAILED},
        "failed: no disk",
    ),
]


@pytest.mark.parametrize(("rule", "events", "facts", "words"), CASES, ids=[c[0] for c in CASES])
def test_a_symptom_is_recognised(rule, events, facts, words):
    found = {finding.rule: finding for finding in symptoms.find(trail(events, **facts))}
    assert rule in found, list(found)
    assert words in found[rule].text
    assert found[rule].advice
    assert found[rule].source


@pytest.mark.parametrize(("rule", "events", "facts", "words"), CASES, ids=[c[0] for c in CASES])
def test_a_symptom_is_the_only_one_that_its_events_show(rule, events, facts, words):
    assert [finding.rule for finding in symptoms.find(trail(events, **facts))] == [rule]


def test_every_rule_has_a_case():
    assert [rule.name for rule in RULES] == [case[0] for case in CASES]


@pytest.mark.parametrize("secure", [False, True])
def test_a_good_boot_shows_nothing(secure):
    grub = [
        *SHIM,
        fetch(3, "grubx64.efi", bytes=9),
        fetch(4, "/grub/grub.cfg-01-52-54-00-aa-00-01"),
        *GOOD[9:],
    ]
    assert symptoms.find(trail(grub if secure else GOOD, secure_boot=secure)) == []


def test_every_part_of_a_good_boot_is_survived():
    for end in range(len(GOOD) + 1):
        for begin in range(end + 1):
            symptoms.find(trail(GOOD[begin:end], S.DEPLOYING))


def test_an_alarm_before_the_last_arming_is_history():
    old = told(0, "alarm", reason="x", id=1)
    assert symptoms.find(trail([old, told(1, "armed", id=2), *GOOD])) == []
