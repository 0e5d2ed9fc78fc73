"""Which answers are alike: only those whose lines are."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface

import pytest

from kickstarts import installers
from kickstarts.kinds import kind
from kickstarts.plan import (
    Address,
    Bond,
    DiskChoice,
    DiskLayout,
    Firmware,
    InstallPlan,
    Layout,
)
from kickstarts.roles import roles
from tests.unit.kickstarts.plans import CLOUD, PLAN, sample

OTHER = replace(
    PLAN,
    host="other",
    network=replace(PLAN.network, address=IPv4Interface("10.20.0.99/22"), mac="52:54:00:aa:00:99"),
)


def test_hosts_that_differ_in_name_and_address_are_of_one_kind():
    assert kind(PLAN) == kind(OTHER)
    assert hash(kind(PLAN)) == hash(kind(OTHER))
    named = [
        replace(PLAN, disks=DiskLayout(DiskChoice.SERIAL, (serial,))) for serial in ("S1", "S2")
    ]
    assert kind(named[0]) == kind(named[1]) != kind(PLAN)


def test_bonds_and_addresses_are_alike_by_their_shape():
    def host(last: str, vlan: int) -> InstallPlan:
        bond = Bond("bond0", (f"52:54:00:aa:01:{last}", f"52:54:00:aa:02:{last}"))
        more = (
            Address(IPv4Interface(f"10.30.0.{last}/24"), vlan=vlan),
            Address(IPv4Interface(f"192.0.2.{last}/24"), f"52:54:00:aa:03:{last}"),
        )
        return replace(PLAN, network=replace(PLAN.network, bond=bond, more=more))

    assert kind(host("11", 30)) == kind(host("12", 30))
    assert kind(host("11", 30)) != kind(host("11", 31))


def test_hosts_of_one_role_in_one_cloud_are_of_one_kind():
    first = sample("rocky-9", "compute")
    around = replace(CLOUD, full_name="o.cloud.example.org", address=IPv4Address("10.20.0.99"))
    second = replace(OTHER, host="o", packages=first.packages, firmware=first.firmware,
                     role=roles()["compute"].of(around))  # fmt: skip
    assert kind(first) == kind(second)
    assert kind(first) != kind(sample("rocky-9", "controller"))


@pytest.mark.parametrize(
    "change",
    [
        {"firmware": Firmware.UEFI},
        {"disks": DiskLayout(layout=Layout.PLAIN)},
        {"time_servers": ()},
        {"network": replace(PLAN.network, gateway=None)},
        {"network": replace(PLAN.network, vlan=20)},
        {"domain": None},
        {"system": "fedora-43"},
    ],
)
def test_whatever_brings_another_line_makes_another_kind(change):
    assert kind(replace(PLAN, **change)) != kind(PLAN)


@pytest.mark.parametrize("system", ["rocky-9", "debian-13", "ubuntu-24.04"])
def test_an_answer_of_the_kind_is_taken_like_the_answer_itself(system):
    text = installers.answer(kind(replace(PLAN, system=system)))
    assert installers.read(text, system).findings == ()
