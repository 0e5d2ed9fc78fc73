"""Router advertisements that offer nothing, and when they are sent."""

import asyncio
import errno
from ipaddress import IPv6Address
from itertools import pairwise

import pytest

from pxe import advertise
from pxe.addresses import MacAddress
from pxe.advertise import (
    ALL_NODES,
    MOST_WAITING,
    Schedule,
    encode_advertisement,
    is_solicitation,
)
from pxe.link import link_facts

MAC = MacAddress.parse("02:00:00:00:00:01")
HOST = IPv6Address("fe80::42")
NOBODY = IPv6Address("::")
PLAIN = bytes.fromhex("8500000000000000")
WITH_SOURCE = PLAIN + bytes.fromhex("0101020000000042")


def test_an_advertisement_offers_neither_prefix_nor_route_nor_dhcp():
    assert encode_advertisement(MAC) == bytes.fromhex(
        "8600 0000"  # type, code, checksum
        "00 00 0000"  # hop limit, no M and no O flag, router lifetime
        "00000000 00000000"  # reachable time, retransmission timer
        "01 01 020000000001"  # source link-layer address
    )


@pytest.mark.parametrize(
    ("data", "hop_limit", "source", "believed"),
    [
        (PLAIN, 255, HOST, True),
        (PLAIN, 255, NOBODY, True),
        (WITH_SOURCE, 255, HOST, True),
        (WITH_SOURCE, 255, NOBODY, False),
        (PLAIN, 254, HOST, False),
        (PLAIN[:7], 255, HOST, False),
        (b"", 255, HOST, False),
        (b"\x86" + PLAIN[1:], 255, HOST, False),
        (b"\x85\x01" + PLAIN[2:], 255, HOST, False),
        (PLAIN + b"\x01\x00" + bytes(6), 255, HOST, False),
        (PLAIN + b"\x01", 255, HOST, False),
        (PLAIN + b"\x01\x02" + bytes(6), 255, HOST, False),
    ],
)
def test_a_solicitation_is_believed_as_the_rfc_says(data, hop_limit, source, believed):
    assert is_solicitation(data, hop_limit, source) is believed


def test_a_solicitation_is_answered_to_all_within_half_a_second():
    schedule = Schedule(0.0, chance=lambda: 0.5)
    schedule.sent(100.0)
    schedule.solicited(110.0, HOST)
    assert schedule.wake == 110.25
    assert schedule.take(110.2) == []
    assert schedule.take(110.25) == (ALL_NODES,)


def test_who_asks_soon_after_an_answer_to_all_is_answered_alone():
    schedule = Schedule(0.0, chance=lambda: 0.5)
    schedule.sent(100.0)
    schedule.solicited(101.0, HOST)
    schedule.solicited(101.1, HOST)
    assert schedule.wake == 101.25
    assert schedule.take(101.25) == [HOST]
    assert schedule.take(101.25) == []


def test_who_has_no_address_waits_for_the_next_answer_to_all():
    schedule = Schedule(0.0, chance=lambda: 0.0)
    schedule.sent(100.0)
    schedule.solicited(101.0, NOBODY)
    assert schedule.wake == 103.0


def test_an_answer_to_all_serves_those_who_wait_too():
    schedule = Schedule(0.0, chance=lambda: 0.9)
    schedule.sent(100.0)
    schedule.solicited(102.9, HOST)
    schedule.due = 103.0
    assert schedule.take(103.0) == (ALL_NODES,)
    schedule.sent(103.0)
    assert schedule.take(104.0) == []


def test_a_flood_of_invented_hosts_gets_few_answers():
    schedule = Schedule(0.0, chance=lambda: 0.99)
    to_all, alone = [], 0
    for step in range(3000):
        now = step / 300
        schedule.solicited(now, IPv6Address((0xFE80 << 112) + step))
        targets = schedule.take(now)
        if ALL_NODES in targets:
            schedule.sent(now)
            to_all.append(now)
        else:
            alone += len(targets)
    assert all(later - earlier >= 3.0 for earlier, later in pairwise(to_all))
    assert alone <= 10 / 0.495 * MOST_WAITING


def test_the_first_advertisements_follow_each_other_faster():
    schedule = Schedule(0.0, chance=lambda: 0.5)
    times = []
    for _ in range(5):
        times.append(schedule.due)
        schedule.sent(schedule.due)
    assert times[:3] == [0.0, 16.0, 32.0]
    assert times[4] - times[3] == times[3] - times[2] == pytest.approx(399)
    schedule.restarted(5000.0)
    assert schedule.due == 5000.0


async def test_an_advertiser_goes_on_after_netlink_failed(monkeypatch):
    looks = []

    async def watch(interface, known):
        looks.append(known)
        if len(looks) == 1:
            raise OSError(errno.ENOBUFS, "no buffer space available")
        await asyncio.sleep(60)
        yield

    facts = link_facts("lo")
    monkeypatch.setattr(advertise, "watch", watch)
    monkeypatch.setattr(advertise, "RETRY", 0.01)
    monkeypatch.setattr(advertise.Advertiser, "_send", lambda *_: "nowhere to send")
    advertiser = advertise.Advertiser("lo")
    await advertiser.start()
    async with asyncio.timeout(5):
        while len(looks) < 2:
            await asyncio.sleep(0.01)
    await advertiser.stop()
    assert looks == [facts, None]
