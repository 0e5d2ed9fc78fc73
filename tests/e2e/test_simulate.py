"""The whole product at once: virtual machines with real firmware against the real server.

One rehearsal of the example rack takes some minutes without KVM, so it answers many questions.
"""

import json
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from provision.simulation.marker import LINE
from provision.store import Store
from tests.rehearsal import EXAMPLE, require_simulator, simulate

pytestmark = pytest.mark.timeout(900)


@dataclass(frozen=True)
class Rehearsed:
    """How one run ended."""

    status: int
    facts: Mapping[str, Any]
    logs: Path
    told: str

    def console(self, host: str) -> str:
        return (self.logs / f"{host}.console").read_text(errors="replace")

    def phases(self, host: str) -> list[str]:
        return [step["phase"] for step in self.facts["hosts"][host]["phases"]]


@pytest.fixture(scope="module")
def whole_rack(tmp_path_factory: pytest.TempPathFactory) -> Rehearsed:
    """The six hosts of the example, from power-on to the second boot from their disks."""
    return rehearse(tmp_path_factory.mktemp("rack"), EXAMPLE)


def rehearse(
    folder: Path, inventory: Path, *options: str, prefix: tuple[str, ...] = ()
) -> Rehearsed:
    require_simulator()
    logs = folder / "logs"
    done = simulate(folder, inventory, "--json", "--keep", str(logs), *options, prefix=prefix)
    assert done.stdout.startswith("{"), done.stderr
    return Rehearsed(done.returncode, json.loads(done.stdout), logs, done.stderr)


def test_every_host_of_the_example_arrives(whole_rack: Rehearsed) -> None:
    outcomes = {name: host["outcome"] for name, host in whole_rack.facts["hosts"].items()}
    assert set(outcomes.values()) == {"arrived"}, whole_rack.told
    assert len(outcomes) == 6
    assert whole_rack.status == 0
    assert whole_rack.facts["arrived"] is True


def test_the_example_has_six_different_ways_to_boot(whole_rack: Rehearsed) -> None:
    ways = {host["firmware"] for host in whole_rack.facts["hosts"].values()}
    assert ways == {
        "BIOS, iPXE",
        "BIOS, pxelinux",
        "UEFI, iPXE",
        "UEFI, GRUB",
        "UEFI, Secure Boot",
        "UEFI HTTP, iPXE",
    }


def test_each_host_starts_from_its_own_disk_after_it_was_installed(
    whole_rack: Rehearsed,
) -> None:
    for name in whole_rack.facts["hosts"]:
        phases = whole_rack.phases(name)
        assert phases.index("answer") < phases.index("installed") < phases.index("rebooting")
        assert phases[-1] == "arrived"
        console = whole_rack.console(name)
        assert console.index("rackseed: installed disk=") < console.index(LINE)


def test_secure_boot_is_on_where_the_inventory_says_so(whole_rack: Rehearsed) -> None:
    told = {name: host["secure_boot"] for name, host in whole_rack.facts["hosts"].items()}
    assert told.pop("cmp04") is True
    assert True not in told.values()
    assert "secure_boot=true" in whole_rack.console("cmp04")


def test_no_console_shows_a_url_that_opens_something(whole_rack: Rehearsed) -> None:
    for name in whole_rack.facts["hosts"]:
        assert not re.search(r"/(answer|report)/[\w-]{20}", whole_rack.console(name)), name


def test_no_host_raised_an_alarm(whole_rack: Rehearsed) -> None:
    assert [host["alarms"] for host in whole_rack.facts["hosts"].values()] == [[]] * 6


def test_no_token_of_a_single_use_url_is_kept(whole_rack: Rehearsed) -> None:
    events = (whole_rack.logs / "rehearsal.db").read_bytes()
    assert b"/answer/" in events
    for kept in (events, (whole_rack.logs / "server.log").read_bytes()):
        assert re.search(rb"/(answer|report)/[\w-]{16}", kept) is None


def test_a_rack_arrives_through_garbage_while_its_server_is_killed_again_and_again(
    tmp_path: Path,
) -> None:
    faults = ("--fault", "server-kill", "--fault", "garbage")
    run = rehearse(tmp_path, EXAMPLE, *faults, "--host", "ctl01", "--host", "cmp04")
    assert run.status == 0, run.told
    assert run.facts["server_kills"] == 3
    assert run.facts["garbage"]["frames"] > 100_000
    log = (run.logs / "server.log").read_text(errors="replace")
    assert "not a DHCP message" in log or "malformed" in log or "refused" in log


def test_firmware_boots_beside_a_dhcp_server_that_stays(tmp_path: Path) -> None:
    proxied = variation(tmp_path, beside_a_standing_server)
    hosts = ("--host", "ctl01", "--host", "cmp02")
    run = rehearse(tmp_path, proxied, *hosts, "--to", "ramdisk", "--guests", "1")
    assert run.status == 0, run.told
    given = (run.logs / "standing-dhcp.log").read_text()
    for name, address in (("ctl01", "10.20.0.11"), ("cmp02", "10.20.0.13")):
        assert run.phases(name)[-1] == "arrived"
        assert f"DHCPACK(standing1) {address}" in given


def test_an_ordinary_user_inspects_a_machine_under_secure_boot(tmp_path: Path) -> None:
    """In a user namespace we are user 1000, with no right beyond our own files."""
    ordinary = ("unshare", "--user", "--map-user=1000", "--map-group=1000", "--")
    hosts = ("--host", "cmp04", "--to", "ramdisk")
    run = rehearse(tmp_path, EXAMPLE, *hosts, prefix=ordinary)
    assert run.status == 0, run.told
    assert run.facts["hosts"]["cmp04"]["secure_boot"] is True
    with Store(f"sqlite:///{run.logs}/rehearsal.db") as store:
        (inspection,) = store.inspections("cmp04")
    assert (inspection.report["firmware"], inspection.report["secure_boot"]) == ("uefi", True)
    assert inspection.report["lockdown"] == "integrity"


def test_where_no_network_may_be_made_the_error_says_what_to_do(tmp_path: Path) -> None:
    require_simulator()
    powerless = ("setpriv", "--bounding-set", "-all", "--inh-caps", "-all", "--")
    done = simulate(tmp_path, EXAMPLE, "--keep", str(tmp_path / "logs"), prefix=powerless)
    assert done.returncode == 1
    assert "error: no private network can be made here" in done.stderr
    assert " hint: run as root" in done.stderr


def test_an_unknown_host_is_bad_input(tmp_path: Path) -> None:
    require_simulator()
    done = simulate(tmp_path, EXAMPLE, "--host", "cmp99")
    assert done.returncode == 2
    assert "error: --host: there is no host 'cmp99'" in done.stderr


def beside_a_standing_server(text: str) -> str:
    """The network of an inventory whose addresses are somebody else's business."""
    kept = [line for line in text.splitlines() if not line.startswith("  discovery:")]
    return "\n".join(kept).replace("  subnet:", "  dhcp: proxy\n  subnet:", 1) + "\n"


def variation(folder: Path, change: Callable[[str], str]) -> Path:
    """The example with a change, beside a copy of what it names."""
    copy = folder / "variation"
    subprocess.run(["cp", "-r", str(EXAMPLE.parent), str(copy)], check=True)
    path = copy / EXAMPLE.name
    path.write_text(change(path.read_text()))
    return path
