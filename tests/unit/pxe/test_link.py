"""How two looks at an interface differ."""

from dataclasses import replace
from ipaddress import IPv4Interface

import pytest

from pxe.addresses import MacAddress
from pxe.link import LinkEvent, LinkFacts, changes

MAC = MacAddress.parse("02:00:00:00:00:01")
HOME = IPv4Interface("10.9.0.1/24")
OTHER = IPv4Interface("10.9.0.2/24")
RUNNING = LinkFacts("wire0", 7, MAC, up=True, carrier=True, addresses=(HOME,))
DOWN = replace(RUNNING, up=False)
UNPLUGGED = replace(RUNNING, carrier=False)
REBORN = replace(RUNNING, index=8)

A, V, U, D = LinkEvent.APPEARED, LinkEvent.VANISHED, LinkEvent.UP, LinkEvent.DOWN
G, L = LinkEvent.ADDRESS_GAINED, LinkEvent.ADDRESS_LOST


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (None, None, []),
        (RUNNING, RUNNING, []),
        (None, RUNNING, [(A, None), (U, None), (G, HOME)]),
        (None, DOWN, [(A, None), (G, HOME)]),
        (RUNNING, None, [(V, None)]),
        (RUNNING, DOWN, [(D, None)]),
        (RUNNING, UNPLUGGED, [(D, None)]),
        (UNPLUGGED, DOWN, []),
        (DOWN, RUNNING, [(U, None)]),
        (RUNNING, replace(RUNNING, addresses=(OTHER,)), [(L, HOME), (G, OTHER)]),
        (RUNNING, REBORN, [(V, None), (A, None), (U, None), (G, HOME)]),
    ],
)
def test_two_looks_differ_by(before, now, expected):
    assert [(change.event, change.address) for change in changes(before, now)] == expected


def test_a_vanished_interface_is_told_with_its_last_facts():
    assert changes(RUNNING, None)[0].facts is RUNNING
