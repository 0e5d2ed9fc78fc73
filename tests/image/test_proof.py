"""The built image boots, by BIOS and by UEFI, and its copies are machines of their own."""

import json
import subprocess
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from imagebuild import proof as proof_module
from imagebuild.build import Built
from imagebuild.difference import compare_images
from imagebuild.errors import Stopped
from imagebuild.evidence import read_contents, write_evidence
from imagebuild.proof import demand, proof_path, prove, write_proof
from imagebuild.proof_machine import (
    Accelerator,
    Firmware,
    choose_accelerator,
    find_tools,
    starts,
)
from imagebuild.proof_seed import make_seed, user_data
from imagebuild.provenance import Making
from imagebuild.running import Programs
from provision.run import run, start
from tests.tools import require_tool

PROGRAMS = Programs(run, start)


@pytest.fixture(autouse=True)
def _tools() -> None:
    require_tool("qemu-system-x86_64", "qemu-system-x86")
    require_tool("mformat", "mtools")


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ["debian_12", "debian_12_gpu"])
def test_debian_12_proves_itself_by_bios_and_by_uefi(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
):
    built: Built = request.getfixturevalue(name)
    both, memory = [Firmware.BIOS, Firmware.UEFI], built.recipe.memory
    found = prove(built.path, both, PROGRAMS, tmp_path, memory=memory)
    assert found.problems == (), (tmp_path / "proof1.console").read_text(errors="replace")[-3000:]
    first, second = demand(found).boots
    assert (first.firmware, second.firmware) == (Firmware.BIOS, Firmware.UEFI)
    assert first.machine_id != second.machine_id
    assert not set(first.host_keys) & set(second.host_keys)
    assert len(first.host_keys) == len(second.host_keys) >= 2
    write_proof(found, proof_path(tmp_path / "image.qcow2"))
    assert json.loads((tmp_path / "image.qcow2.boot.json").read_text())["proven"]
    assert not list(tmp_path.glob("*.qcow2")), "copies are removed"


def test_an_image_that_does_not_boot_is_told_from_its_console(tmp_path, monkeypatch):
    monkeypatch.setattr(proof_module, "TIMEOUTS", {Accelerator.TCG: 6.0, Accelerator.KVM: 6.0})
    image = tmp_path / "image.qcow2"
    run(["qemu-img", "create", "-q", "-f", "qcow2", str(image), "8M"])
    found = prove(image, [Firmware.BIOS], PROGRAMS, tmp_path, Accelerator.TCG, memory=512)
    assert len(found.boots) == 2
    assert "bios: no word from cloud-init within" in found.problems[0]
    assert any("No bootable device" in problem for problem in found.problems)
    assert image.exists()
    listed = subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, check=False)
    assert listed.stdout == b"", "no machine is left running"


def test_a_proof_that_is_stopped_leaves_nothing_behind(tmp_path):
    image = tmp_path / "image.qcow2"
    run(["qemu-img", "create", "-q", "-f", "qcow2", str(image), "8M"])
    stopping = threading.Event()
    timer = threading.Timer(1.5, stopping.set)
    timer.start()
    begun = time.monotonic()
    with pytest.raises(Stopped):
        prove(image, [Firmware.BIOS], PROGRAMS, tmp_path, Accelerator.TCG, stopping, memory=512)
    assert time.monotonic() - begun < 30
    assert subprocess.run(["pgrep", "-f", str(tmp_path)], check=False).returncode == 1
    assert [path.name for path in tmp_path.glob("*.qcow2")] == ["image.qcow2"]


def test_an_accelerator_is_believed_when_a_machine_starts_with_it(tmp_path):
    tools = find_tools([Firmware.BIOS])
    assert starts(Accelerator.TCG, tools, tmp_path, start)
    chosen = choose_accelerator(tools, tmp_path, start)
    assert chosen is Accelerator.TCG or starts(Accelerator.KVM, tools, tmp_path, start)
    assert list(tmp_path.iterdir()) == []


def test_the_seed_is_a_fat_disk_with_cloud_inits_label(tmp_path):
    seed = make_seed(tmp_path / "seed", "one", run)
    assert "CIDATA" in run(["mlabel", "-s", "-i", str(seed), "::"])
    assert run(["mtype", "-i", str(seed), "::/user-data"]) == user_data()
    assert [path.name for path in tmp_path.iterdir()] == ["seed"]


def test_what_lies_beside_the_image_is_what_is_in_it(debian_12: Built, tmp_path: Path):
    contents = read_contents(debian_12.path)
    names = {package.name for package in contents.packages}
    assert {"cloud-init", "openssh-server", "systemd", "libc6"} <= names
    assert contents.system.id == "debian"
    assert contents.system.systemd == 252
    now = datetime.now(UTC)
    making = Making("debian-12", {}, begun=now, ended=now)
    digests = {"sha256": debian_12.sha256}
    for path in write_evidence("x.qcow2", tmp_path, digests, contents, making):
        assert path.stat().st_size > 100
    document = json.loads((tmp_path / "x.qcow2.cdx.json").read_text())
    assert len(document["components"]) == len(contents.packages) > 150


def test_an_image_does_not_differ_from_itself(debian_12: Built):
    found = compare_images(debian_12.path, debian_12.path)
    assert not any((found.added, found.removed, found.changed, found.folders, found.broken))
