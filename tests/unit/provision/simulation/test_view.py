from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from provision.inventory.model import Host, HostFirmware, Install, Role
from provision.simulation import view, world
from provision.simulation.phases import Mark, Phase, Progress
from provision.simulation.rehearsal import Snapshot
from pxe.addresses import MacAddress
from pxe.boot import Loader

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
SECURE = Host(
    name="cmp04",
    rack="r12",
    mac=MacAddress.parse("52:54:00:aa:00:05"),
    address=IPv4Address("10.20.0.15"),
    role=Role("compute", Install.IMAGE),
    firmware=HostFirmware.UEFI,
    secure_boot=True,
    loader=Loader.GRUB,
)
OLD = replace(SECURE, name="ctl01", firmware=HostFirmware.BIOS, secure_boot=False)


def progress(*steps: tuple[Phase, float], **facts) -> Progress:
    marks = tuple(Mark(phase, BEGIN + timedelta(seconds=seconds)) for phase, seconds in steps)
    return Progress(marks, **facts)


ARRIVED = progress(
    (Phase.POWER, 0), (Phase.DHCP, 4), (Phase.IMAGE, 30), (Phase.ARRIVED, 40),
    octets=33_300_000, secure_boot=True,
)  # fmt: skip
FAILED = progress((Phase.POWER, 0), (Phase.FAILED, 20), reason="the ramdisk stopped: no disk")
SNAPSHOT = Snapshot(BEGIN + timedelta(seconds=50), ((SECURE, ARRIVED), (OLD, FAILED)))


def shown(what: RenderableType, width: int = 120) -> str:
    console = Console(file=StringIO(), width=width)
    console.print(what)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_the_live_table_has_one_line_for_each_machine() -> None:
    lines = shown(view.live_table(SNAPSHOT)).splitlines()
    assert lines[0].split() == ["host", "firmware", "phase", "bytes", "seconds"]
    assert "arrived" in lines[1]
    assert "33.3 MB" in lines[1]
    assert lines[2].split()[-2:] == ["failed", "20"]


def test_a_machine_whose_turn_has_not_come_has_no_seconds() -> None:
    waiting = Snapshot(BEGIN, ((OLD, Progress()),))
    assert shown(view.live_table(waiting)).splitlines()[1].split()[-1] == "waiting"


def test_the_summary_tells_secure_boot_as_the_guest_saw_it() -> None:
    lines = shown(view.summary_table(SNAPSHOT)).splitlines()
    assert "enabled" in lines[1]
    assert " - " in lines[2]


def test_bars_are_as_long_as_the_time_they_stand_for() -> None:
    assert len(view.Bar(ARRIVED, 40).text(36)) == 36
    assert len(view.Bar(FAILED, 40).text(36)) == 18
    assert len(view.Bar(Progress(), 0).text(36)) == 0
    many = progress(*((Phase.POWER, n / 10) for n in range(100)), (Phase.ARRIVED, 10))
    assert len(view.Bar(many, 10).text(8)) == 8  # however often it was rounded


@pytest.mark.parametrize("width", [80, 120])
def test_a_machine_has_one_line_in_each_table(width: int) -> None:
    for table in (view.live_table(SNAPSHOT), view.summary_table(SNAPSHOT)):
        lines = shown(table, width).splitlines()
        assert len(lines) == 1 + len(SNAPSHOT.machines)
        assert "…" not in "".join(lines)


def test_of_a_rack_that_is_higher_than_the_screen_those_under_way_are_shown() -> None:
    states = [Progress(), ARRIVED, FAILED, progress((Phase.POWER, 0), (Phase.DHCP, 4))]
    rack = [(replace(OLD, name=f"h{n:02}"), states[n % 4]) for n in range(40)]
    lines = shown(view.live_table(Snapshot(BEGIN, tuple(rack)), 24)).splitlines()
    assert len(lines) < 25
    assert sum(" dhcp " in line for line in lines) == 10
    assert sum(" failed " in line for line in lines[:-1]) == 10
    assert lines[-1].split(maxsplit=1)[1].strip() == "10 arrived, 10 failed, 10 waiting"


def test_a_timeline_names_each_phase_with_its_seconds() -> None:
    line = shown(view.timelines(SNAPSHOT)).splitlines()[0]
    assert line.rstrip() == "cmp04: power 4.0, dhcp 26.0, image 10.0"


def test_a_change_that_is_a_failure_tells_its_reason() -> None:
    line = view.change_line(OLD, FAILED, 1, BEGIN)
    assert line == "  20.0 s  ctl01  failed: the ramdisk stopped: no disk"
    assert view.change_line(OLD, FAILED, 0, BEGIN).endswith("ctl01  power")


def test_facts_hold_all_that_the_tables_show() -> None:
    facts = view.facts(SNAPSHOT, accelerator="TCG")
    assert facts["arrived"] is False
    assert facts["accelerator"] == "TCG"
    assert facts["hosts"]["cmp04"]["secure_boot"] is True
    assert facts["hosts"]["cmp04"]["seconds"] == 40
    assert facts["hosts"]["ctl01"]["reason"] == "the ramdisk stopped: no disk"
    assert [step["phase"] for step in facts["hosts"]["ctl01"]["phases"]] == ["power", "failed"]


def test_only_an_ordinary_user_needs_a_user_namespace() -> None:
    assert "--map-root-user" in world.unshare_argv(Path("/usr/bin/unshare"), root=False)
    assert "--map-root-user" not in world.unshare_argv(Path("/usr/bin/unshare"), root=True)


def test_the_world_dies_with_the_process_that_made_it() -> None:
    assert {"--net", "--pid", "--fork", "--kill-child"} <= set(
        world.unshare_argv(Path("/usr/bin/unshare"), root=True)
    )
