"""What a guest says of its first boot, and what we make of it."""

import json
from pathlib import Path

import pytest

from imagebuild.errors import NotProven
from imagebuild.proof import Boot, Proof, _problems, demand, judge, read_report
from imagebuild.proof_machine import Accelerator, Firmware, Guest, Tools, argv
from imagebuild.proof_seed import meta_data, user_data

GIB = 1 << 30
GOOD = """\
noise of the firmware
rackseed-proof cloud-init {"v1": {"datasource": "DataSourceNoCloud", "errors": []}}
rackseed-proof machine-id 0123456789abcdef0123456789abcdef
rackseed-proof host-key ssh-ed25519 AAAA
[   12.3] kernel says rackseed-proof host-key ssh-rsa BBBB
rackseed-proof root-kib 6000000
rackseed-proof firmware bios
rackseed-proof kernel 6.1.0
rackseed-proof end
"""
TOOLS = Tools(Path("/usr/bin/qemu"), Path("/code.fd"), Path("/vars.fd"))


def _judged(text: str, firmware: Firmware = Firmware.BIOS) -> Boot:
    return judge(read_report(text), firmware, 20.0, 2 * GIB, "last words\nof the console")


def test_a_good_boot_has_no_problems():
    boot = _judged(GOOD)
    assert boot.problems == ()
    assert boot.host_keys == ("ssh-ed25519 AAAA", "ssh-rsa BBBB")
    assert boot.kernel == "6.1.0"
    assert boot.root_bytes == 6000000 * 1024


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('"errors": []', '"errors": ["no disk"]', "cloud-init: no disk"),
        ('{"v1"', '{"v9"', "cloud-init: its result cannot be read"),
        ("0123456789abcdef0123456789abcdef", "uninitialized", "it has no machine-id"),
        ("host-key", "x", "it has no SSH host keys"),
        ("6000000", "1900000", "its root did not grow: 1945600000 bytes on a larger disk"),
        ("firmware bios", "firmware uefi", "it was started by uefi, expected bios"),
        ("root-kib", "failed-unit ssh.service\nrackseed-proof root-kib", "ssh.service failed"),
    ],
)
def test_each_fault_of_a_boot_is_named(old, new, problem):
    assert _judged(GOOD.replace(old, new)).problems == (problem,)


def test_a_guest_that_says_nothing_leaves_the_end_of_its_console():
    problems = _judged("SeaBIOS\n").problems
    assert problems[0].startswith("no word from cloud-init within 20 s")
    assert problems[-1].strip() == "of the console"


def test_two_copies_must_differ():
    first = _judged(GOOD)
    second = _judged(GOOD.replace("AAAA", "CCCC").replace("BBBB", "DDDD").replace("f\n", "0\n"))
    assert _problems([first, second]) == []
    assert _problems([first, first]) == [
        "two copies have the same machine-id",
        "two copies have the same SSH host key",
    ]


def test_an_unproven_image_is_an_error_that_names_the_boot():
    bad = _judged("nothing", Firmware.UEFI)
    proof = Proof("x.qcow2", "kvm", (bad,), tuple(_problems([bad])))
    with pytest.raises(NotProven, match=r"x.qcow2 did not prove itself:\nuefi: no word"):
        demand(proof)
    assert not proof.as_json()["proven"]


def test_the_seed_is_json_that_cloud_init_reads_and_starts_the_script_beside_itself():
    head, body = user_data().split("\n", 1)
    assert head == "#cloud-config"
    config = json.loads(body)
    assert config["write_files"][0]["content"].startswith("#!/bin/sh")
    assert config["runcmd"][0][2].startswith("systemd-run ")
    assert json.loads(meta_data("proof1-ab"))["instance-id"] == "proof1-ab"


def test_the_machine_reaches_no_network_and_never_writes_the_image():
    here = Path("/work,1")
    guest = Guest(
        "proof1", Firmware.UEFI, 512, here / "d", here / "s", here / "c", here / "r", here / "v"
    )
    words = argv(guest, TOOLS, Accelerator.KVM)
    assert words[:2] == ["unshare", "--net"]
    assert any("file=/work,,1/d" in word for word in words)
    assert any("unit=0,format=raw,readonly=on,file=/code.fd" in word for word in words)
