"""`rackseed inspect` and `rackseed ramdisk`, through the command line."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from provision.cli.main import invoke
from provision.inventory.load import load
from provision.store import Store, inspections
from provision.store.inspections import Inspection
from pxe.addresses import MacAddress

AT = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
KNOWN = MacAddress.parse("52:54:00:aa:00:01")
UNKNOWN = MacAddress.parse("52:54:00:aa:00:99")
INVENTORY = """\
network: {interface: lo, subnet: 10.20.0.0/22}
store: sqlite:///rack.db
roles:
  bare: {install: inspect}
racks:
  r1:
    cmp01: {mac: 52:54:00:aa:00:01, address: 10.20.0.11, role: bare, firmware: uefi}
"""
REPORT: dict[str, Any] = {
    "firmware": "bios",
    "secure_boot": False,
    "dmi": {"vendor": "Acme", "product": "R1\x1b[2J", "serial": "S-7"},
    "cpu": {"model": "Fast", "sockets": 2, "cores": 8, "threads": 16, "virtualization": "vmx"},
    "memory": {"installed_bytes": 64 * 2**30},
    "disks": [{"name": "nvme0n1", "bytes": 2**40, "serial": "N1", "transport": "nvme"}],
    "nics": [{"name": "eth0", "mac": str(KNOWN), "driver": "ice", "speed": 25000, "carrier": True}],
    "gpus": [{"pci": "0000:3b:00.0", "vendor": "10de", "product": "1028"}],
}


@pytest.fixture
def inventory(tmp_path: Path) -> str:
    path = tmp_path / "rack.yaml"
    path.write_text(INVENTORY)
    return str(path)


@pytest.fixture
def reported(inventory: str) -> str:
    with Store(load(Path(inventory)).store) as store, store.database.writing() as connection:
        inspections.add(connection, Inspection(KNOWN, AT, REPORT, "cmp01"))
        inspections.add(connection, Inspection(UNKNOWN, AT, REPORT | {"gpus": []}, None))
    return inventory


def test_without_a_host_every_machine_is_a_line_also_an_unknown_one(
    reported: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(["inspect", "-i", reported]) == 0
    head, known, unknown = capsys.readouterr().out.splitlines()
    assert head.split()[:2] == ["host", "mac"]
    assert known.startswith("cmp01")
    assert "64 GiB" in known
    assert "it booted with bios, the inventory says uefi" in known
    assert unknown.startswith("unknown  52:54:00:aa:00:99")


def test_one_host_is_shown_in_full_and_cannot_steer_the_terminal(
    reported: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(["inspect", "cmp01", "-i", reported]) == 0
    shown = capsys.readouterr().out
    assert f"{AT.astimezone():%Y-%m-%d %H:%M:%S}" in shown
    assert "2 sockets, 8 cores, 16 threads, vmx" in shown
    assert "10de:1028 at 0000:3b:00.0" in shown
    assert "ice, 25000 Mbit/s" in shown
    assert "differs   it booted with bios" in shown
    assert "\x1b" not in shown


def test_json_gives_the_report_as_it_came_and_the_differences(
    reported: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(["inspect", "52-54-00-AA-00-01", "--json", "-i", reported]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["host"] == "cmp01"
    assert facts["hardware"] == REPORT
    assert facts["differences"] == ["it booted with bios, the inventory says uefi"]


def test_before_any_report_there_is_a_sentence_and_no_store_is_made(
    inventory: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(["inspect", "-i", inventory]) == 0
    assert "no machine has reported" in capsys.readouterr().out
    assert not Path(inventory).with_name("rack.db").exists()


@pytest.mark.parametrize(
    ("name", "says", "status"),
    [("cmp02", "there is no host 'cmp02'", 2), ("52:54:00:aa:00:77", "has not reported", 1)],
)
def test_an_unknown_host_is_misuse_and_a_silent_machine_a_failure(
    reported: str, capsys: pytest.CaptureFixture[str], name: str, says: str, status: int
) -> None:
    assert invoke(["inspect", name, "-i", reported]) == status
    assert says in capsys.readouterr().err
