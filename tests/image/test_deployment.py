"""A built image on bare machines: served, written, started, and heard of through cloud-init.

One rehearsal of two machines, BIOS and UEFI, takes some minutes without KVM, so it answers many
questions.
"""

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from imagebuild.build import Built
from imagebuild.stage import read_beside, stage
from provision.lifecycle import HostState
from provision.store import Store
from tests.rehearsal import require_simulator, simulate

pytestmark = pytest.mark.timeout(1800)

LIMIT = 1500
"""Seconds that both machines may take on two slow cores."""
HOSTS = ("bios1", "uefi1")
RACK = """\
network:
  interface: br-prov
  subnet: 10.20.0.0/22
  server: 10.20.0.1
cloud: {domain: cloud.example.org}
administrators:
  ada:
    ssh_keys:
      - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1yA0y8Zs0o9vE8f0T2v2m7sZl3m1kq0wqg0F2kq9zX ada
roles:
  fast: {install: image, image: debian-12.raw.zst, disk: smallest}
racks:
  r1:
    bios1: {mac: "52:54:00:aa:00:01", address: 10.20.0.11, role: fast}
    uefi1: {mac: "52:54:00:aa:00:02", address: 10.20.0.12, role: fast, firmware: uefi}
"""


@dataclass(frozen=True)
class Deployed:
    """How the rehearsal ended."""

    status: int
    facts: Mapping[str, Any]
    logs: Path
    told: str

    def console(self, host: str) -> str:
        return (self.logs / f"{host}.console").read_text(errors="replace")


@pytest.fixture(scope="module")
def deployed(debian_12: Built, tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    """Both machines, from power-on to the report of their own cloud-init."""
    require_simulator()
    folder = tmp_path_factory.mktemp("rack")
    (folder / "artifacts").mkdir()
    staged = stage(debian_12.path, folder / "artifacts")
    assert staged.name == "debian-12.raw.zst"
    (folder / "rack.yaml").write_text(RACK)
    logs = folder / "logs"
    options = ("--to", "system", "--timeout", str(LIMIT), "--json", "--keep", str(logs))
    done = simulate(folder, folder / "rack.yaml", *options, limit=LIMIT + 100)
    shutil.rmtree(folder / "artifacts")
    assert done.stdout.startswith("{"), done.stderr
    return Deployed(done.returncode, json.loads(done.stdout), logs, done.stderr)


def test_both_machines_report_through_cloud_init(deployed: Deployed) -> None:
    outcomes = {name: host["outcome"] for name, host in deployed.facts["hosts"].items()}
    assert outcomes == dict.fromkeys(HOSTS, "arrived"), deployed.told
    assert deployed.status == 0
    with Store(f"sqlite:///{deployed.logs / 'rehearsal.db'}") as store:
        for name in HOSTS:
            assert store.record(name).state is HostState.ACTIVE
            told = [event.detail.get("message", "") for event in store.events(host=name)]
            assert "cloud-init has finished" in told


def test_each_started_from_its_disk_in_its_firmware(deployed: Deployed) -> None:
    facts = deployed.facts["hosts"]
    assert [facts[name]["firmware"] for name in HOSTS] == ["BIOS, iPXE", "UEFI, iPXE"]
    for name in HOSTS:
        phases = [step["phase"] for step in facts[name]["phases"]]
        expected = ["answer", "image", "installed", "rebooting", "local disk", "arrived"]
        assert [phase for phase in phases if phase in expected] == expected
        assert facts[name]["alarms"] == []
        console = deployed.console(name)
        assert console.index("rackseed: seed start=") < console.index("rackseed: verified sha256=")


def test_each_system_has_its_own_name_and_its_own_keys(deployed: Deployed) -> None:
    keys: list[set[str]] = []
    for name in HOSTS:
        console = deployed.console(name)
        assert f"{name} login:" in console or f"root@{name}" in console
        keys.append(set(re.findall(r"SHA256:[\w+/]{43}", console)))
    assert all(keys), "cloud-init shows the fingerprints of new host keys"
    assert not keys[0] & keys[1]


def test_neither_console_nor_log_shows_a_url_that_opens_something(deployed: Deployed) -> None:
    logs = [deployed.console(name) for name in HOSTS]
    logs.append((deployed.logs / "server.log").read_text(errors="replace"))
    for text in logs:
        assert not re.search(r"/(answer|report)/[\w-]{20}", text)


def test_what_was_staged_is_described(debian_12: Built, tmp_path: Path) -> None:
    known = read_beside(stage(debian_12.path, tmp_path, seed=False))
    assert known is not None
    assert (known.source, known.source_sha256) == ("debian-12.qcow2", debian_12.sha256)
    assert known.seed is None
