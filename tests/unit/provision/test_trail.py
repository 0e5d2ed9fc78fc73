"""Events cut into boots and put into words."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address

import pytest

from provision.lifecycle import HostState
from provision.store.events import Event
from provision.trail import describe, newest_boot

T0 = datetime(2026, 5, 4, tzinfo=UTC)
AT = IPv4Address("10.20.0.11")


def dhcp(second, subject="OFFER", kind="served", reason="", **facts):
    at = T0 + timedelta(seconds=second)
    return Event(at, "dhcp", kind, "cmp01", address=AT, observed=True,
                 detail={"subject": subject, "reason": reason, **facts})  # fmt: skip


def firmware(second, subject="OFFER", name="uefi-x64", **facts):
    return dhcp(second, subject, firmware=name, boot_file="snponly.efi", **facts)


def fetch(second, name, kind="served", service="tftp", reason="", **facts):
    at = T0 + timedelta(seconds=second)
    return Event(at, service, kind, "cmp01", address=AT, observed=True,
                 detail={"subject": name, "reason": reason, **facts})  # fmt: skip


def told(second, kind, subject="", reason="", **changes):
    detail = {key: value for key, value in (("subject", subject), ("reason", reason)) if value}
    event = Event(T0 + timedelta(seconds=second), "site", kind, "cmp01", detail=detail)
    return replace(event, **changes)


@pytest.mark.parametrize(
    ("events", "first"),
    [
        ([], None),
        ([firmware(0), firmware(4), firmware(12)], 0),
        ([firmware(0), firmware(1, "ACK"), firmware(30, name="uefi-x64 iPXE")], 0),
        ([firmware(0), fetch(2, "snponly.efi"), firmware(60), firmware(64)], 60),
        ([firmware(0), firmware(700)], 700),
        ([dhcp(0), dhcp(1, "ACK"), firmware(100)], 100),
        ([told(0, "armed"), firmware(5)], 5),
        ([firmware(0), firmware(1, "ACK"), firmware(9, repeated=3), firmware(9, "ACK")], 0),
    ],
)
def test_a_boot_begins_with_the_firmwares_first_question(events, first):
    boot = newest_boot(events)
    assert [event.at for event in boot[:1]] == (
        [] if first is None else [T0 + timedelta(seconds=first)]
    )
    assert list(boot) == events[len(events) - len(boot) :]


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (
            firmware(0, reason="reserved for cmp01"),
            "OFFER 10.20.0.11 and snponly.efi to uefi-x64: reserved for cmp01",
        ),
        (
            replace(dhcp(0, "DISCOVER", "silent", "no reservation"), address=None),
            "DISCOVER not answered: no reservation",
        ),
        (dhcp(0, "ACK", "failed", "no route"), "ACK could not be sent: no route"),
        (fetch(0, "a.efi", bytes=512, seconds="0.2"), "a.efi sent, 512 bytes in 0.2 s"),
        (fetch(0, "a.efi", reason="size probe"), "a.efi: only its size was asked for"),
        (
            fetch(0, "a.efi", "failed", reason="timed out", bytes=1024),
            "a.efi broke off after 1024 bytes: timed out",
        ),
        (fetch(0, "/x", "refused", "http", "not in the catalog"), "/x refused: not in the catalog"),
        (
            replace(fetch(0, "x", "refused", reason="no"), detail={"subject": "x", "repeated": 3}),
            "x refused (3 times more)",
        ),
        (told(0, "alarm", reason="twice"), "ALARM: twice"),
        (told(0, "dropped", detail={"dropped": 7}),
         "7 exchanges were not recorded: too many at once"),
        (told(0, "boot target", "LocalDisk", "it is active"), "boot script made: it is active"),
        (
            told(0, "armed", before=HostState.ACTIVE, after=HostState.ARMED, detail={"by": "ann"}),
            "armed by ann (active -> armed)",
        ),
        (
            told(0, "progress", before=HostState.DEPLOYING, after=HostState.DEPLOYING,
                 detail={"message": "50 %"}),
            "progress: 50 %",
        ),
    ],
)  # fmt: skip
def test_an_event_is_told_in_one_line(event, text):
    assert describe(event) == text
