"""What a machine reported, held against the inventory."""

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface
from typing import Any

import pytest

from provision.hardware import Facts, differences, size
from provision.inventory.model import (
    Bond,
    GpuPassthrough,
    Host,
    HostFirmware,
    Install,
    MoreAddress,
    Role,
)
from pxe.addresses import MacAddress

GPU = GpuPassthrough("K20m", "10de", "1028")
ROLE = Role("gpu", Install.INSPECT, gpu_passthrough=(GPU,))
HOST = Host(
    "gpu01",
    "r1",
    MacAddress.parse("52:54:00:aa:00:01"),
    IPv4Address("10.20.0.11"),
    ROLE,
    firmware=HostFirmware.UEFI_HTTP,
    secure_boot=True,
)
REPORT: dict[str, Any] = {
    "firmware": "uefi",
    "secure_boot": True,
    "nics": [{"mac": "52:54:00:AA:00:01"}],
    "gpus": [{"vendor": "10DE", "product": "1028"}],
    "disks": [{"serial": "S1", "bytes": 1, "removable": False, "read_only": False}],
}


def test_a_machine_as_the_inventory_says_differs_in_nothing() -> None:
    assert differences(HOST, Facts(REPORT)) == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"nics": []}, "no port has the MAC address 52:54:00:aa:00:01"),
        ({"firmware": "bios"}, "it booted with bios, the inventory says uefi-http"),
        ({"secure_boot": False}, "Secure Boot is off, the inventory says on"),
        ({"gpus": []}, "no device 10de:1028 to pass through as K20m"),
        ({"disks": []}, "it has no disk to install on"),
        ({"disks": [{"serial": "S1", "removable": True}]}, "it has no disk to install on"),
    ],
)
def test_each_difference_is_a_sentence(change: Mapping[str, Any], sentence: str) -> None:
    assert differences(HOST, Facts(REPORT | change)) == [sentence]


def test_a_device_to_pass_through_may_be_an_accelerator() -> None:
    report = REPORT | {"gpus": [], "accelerators": REPORT["gpus"]}
    assert differences(HOST, Facts(report)) == []


def test_a_disk_named_by_its_serial_number_must_be_there() -> None:
    host = replace(HOST, role=replace(ROLE, disk="S2"))
    assert differences(host, Facts(REPORT)) == ["no disk has the serial number S2"]


def test_every_port_and_both_disks_that_the_inventory_names_must_be_there() -> None:
    other, third = MacAddress.parse("52:54:00:aa:00:77"), MacAddress.parse("52:54:00:aa:00:78")
    host = replace(
        HOST,
        bond=Bond((HOST.mac, other), "802.3ad", "bond0"),
        addresses=(MoreAddress(IPv4Interface("192.0.2.1/24"), third),),
        role=replace(ROLE, layout="raid1", disk="S1", mirror="S2"),
    )
    assert differences(host, Facts(REPORT | {"disks": [{"serial": "S1"}]})) == [
        f"no port has the MAC address {other}",
        f"no port has the MAC address {third}",
        "it has one disk to install on, layout raid1 needs two",
        "no disk has the serial number S2",
    ]


def test_what_was_not_told_is_no_difference() -> None:
    assert differences(HOST, Facts(REPORT | {"secure_boot": None, "firmware": None})) == []


@pytest.mark.parametrize("wrong", [None, 7, "text", [], [7], [None], {}, {"mac": []}, True, -1])
def test_a_report_of_wrong_types_is_read_as_empty(wrong: Any) -> None:
    report = dict.fromkeys(("nics", "gpus", "disks", "firmware", "secure_boot", "cpu"), wrong)
    differences(HOST, Facts(report))
    facts = Facts(report)
    assert facts.part("cpu").number("threads") == 0
    assert facts.part("nics").text("mac") == ""


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (1023, "1023 B"), (2**30, "1 GiB"), (480103981056, "447.1 GiB")],
)
def test_sizes_are_shown_with_their_unit(number: int, text: str) -> None:
    assert size(number) == text
