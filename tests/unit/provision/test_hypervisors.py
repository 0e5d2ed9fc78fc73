"""XCP-ng and XenServer: a hypervisor below the installer, and an answer file for it."""

import json
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from provision import verify, verify_answers
from provision.arming import arm
from provision.cli.main import invoke
from provision.inventory.load import load
from provision.inventory.problems import InventoryInvalid
from provision.inventory.verify import verify_files
from provision.lifecycle import HostState
from provision.run import run
from provision.site import InventorySite
from provision.store import Store
from pxe.addresses import MacAddress
from pxe.boot import Multiboot
from pxe.site import Answer
from tests.tools import require_tool
from tests.unit.provision.test_kickstarts import HASH, KEY

RACK = f"""\
network: {{interface: br-prov, subnet: 10.20.0.0/22, gateway: 10.20.0.1, server: 10.20.0.3}}
cloud: {{domain: cloud.example.org, time_servers: [10.20.0.1]}}
administrators: {{ada: {{ssh_keys: ["{KEY}"]}}}}
store: sqlite:///store.db
systems:
  xcp-ng-8.3:
    hypervisor: xcp-ng-8.3/xen.gz
    kernel: xcp-ng-8.3/vmlinuz
    initrd: xcp-ng-8.3/install.img
    tree: http://10.20.0.3/artifacts/xcp-ng-8.3/
  debian-13: {{kernel: debian-13/linux, initrd: debian-13/initrd.gz}}
roles:
  xen: {{install: answerfile, os: xcp-ng-8.3, root_password: "{HASH}"}}
  plain: {{install: preseed, os: debian-13}}
racks:
  r1:
    old: {{mac: 52:54:00:aa:00:01, address: 10.20.0.11, role: xen, loader: pxelinux}}
    new: {{mac: 52:54:00:aa:00:02, address: 10.20.0.12, role: xen, firmware: uefi, loader: grub}}
    any: {{mac: 52:54:00:aa:00:03, address: 10.20.0.13, role: xen}}
    deb: {{mac: 52:54:00:aa:00:04, address: 10.20.0.14, role: plain}}
"""
URL = "http://10.20.0.3"


def write(folder: Path, text: str = RACK) -> Path:
    path = folder / "rack.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_answer_is_taken_and_every_script_too(tmp_path):
    require_tool("shellcheck")
    inventory = load(write(tmp_path))
    assert verify_answers.verify_answers(inventory, run) == []
    assert verify.verify_scripts(inventory) == []


@pytest.mark.parametrize(
    ("host", "line"),
    [
        ("old", "  APPEND artifacts/xcp-ng-8.3/xen.gz dom0_max_vcpus=1-16 dom0_mem=max:8192M "),
        ("new", "    if multiboot2 \"$base/artifacts/xcp-ng-8.3/xen.gz\" 'dom0_max_vcpus=1-16'"),
        ("any", f"kernel {URL}/artifacts/xcp-ng-8.3/xen.gz dom0_max_vcpus=1-16 "),
    ],
)
def test_a_plan_shows_the_boot_and_the_answer_without_its_secrets(tmp_path, capsys, host, line):
    path = write(tmp_path)
    assert invoke(["plan", host, "--armed", "--answer", "--json", "-i", str(path)]) == 0
    (facts,) = json.loads(capsys.readouterr().out)
    assert facts["next_boot"] == f"installing {host} (xcp-ng-8.3)"
    assert line in facts["script"]
    assert '<root-password type="hash">***</root-password>' in facts["answer"]
    assert "saltsalt" not in json.dumps(facts)


def test_the_installer_is_told_where_its_answer_is_and_by_which_port(tmp_path):
    mac, address = MacAddress.parse("52:54:00:aa:00:01"), IPv4Address("10.20.0.11")
    inventory = load(write(tmp_path))
    with Store(inventory.store) as store:
        site = InventorySite(inventory, store)
        arm(store, ["old"])
        (target,) = site.boot_targets([(mac, address)], URL)
        assert isinstance(target, Multiboot)
        *begin, answer, port = target.arguments
        assert begin == ["console=hvc0", "console=tty0", "quiet", "install"]
        assert port == "network_device=52:54:00:aa:00:01"
        name, _, url = answer.partition("=")
        assert name == "answerfile_generator"
        token = url.removeprefix(f"{URL}/answer/")
        given = site.answer(token, address)
        assert isinstance(given, Answer)
        assert b'<source type="url">http://10.20.0.3/artifacts/xcp-ng-8.3/' in given.body
        site.answer_delivered(token)
        assert store.records()["old"].state is HostState.DEPLOYING


def test_what_loads_a_hypervisor_has_to_be_installed(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    told = [problem.message for problem in verify.verify_programs(load(write(tmp_path)), empty)]
    assert any("boot program mboot.c32 is not installed" in each for each in told)
    assert any("grub/x86_64-efi/multiboot2.mod is not installed" in each for each in told)


def test_a_packed_hypervisor_is_no_food_for_ipxe(tmp_path):
    folder = tmp_path / "artifacts"
    for name in ("xcp-ng-8.3/xen.gz", "xcp-ng-8.3/vmlinuz", "xcp-ng-8.3/install.img",
                 "debian-13/linux", "debian-13/initrd.gz"):  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"\x1f\x8b\x08")
    inventory = load(write(tmp_path))
    (problem,) = verify_files(inventory)
    assert problem.key == "systems.xcp-ng-8.3.hypervisor"
    assert problem.message.endswith("xen.gz is packed, expected it unpacked: any boots by iPXE")
    assert (problem.hint or "").endswith("then  hypervisor: xcp-ng-8.3/xen")
    (folder / "xcp-ng-8.3/xen.gz").write_bytes(b"\x7fELF")
    assert verify_files(inventory) == []


MISTAKES = [
    (
        "    hypervisor: xcp-ng-8.3/xen.gz\n",
        "",
        "systems.xcp-ng-8.3: install: answerfile starts a hypervisor, expected its name",
        "add  hypervisor: xcp-ng-8.3/xen.gz",
    ),
    (
        "debian-13: {kernel",
        "debian-13: {hypervisor: xen.gz, kernel",
        "systems.debian-13.hypervisor: a hypervisor below an installer of install: preseed, "
        "expected none",
        None,
    ),
    (
        "firmware: uefi, loader: grub",
        "firmware: uefi",
        "racks.r1.new.loader: on UEFI iPXE starts no hypervisor, expected grub",
        "add  loader: grub",
    ),
    (
        "firmware: uefi, loader: grub",
        "firmware: uefi, secure_boot: true",
        "racks.r1.new.secure_boot: xcp-ng-8.3's hypervisor is not signed for Secure Boot, expected "
        "it off",
        "take secure_boot out, here and there",
    ),
    (
        "install: answerfile",
        "install: kickstart",
        "roles.xen: no kickstart is known for 'xcp-ng-8.3', expected the key 'answer' or a known "
        "system",
        "add  answer: answers/host.ks.j2",
    ),
    (
        HASH,
        "secret",
        "roles.xen.root_password: found something else, expected a password's hash, SHA-512 ($6$) "
        "or yescrypt ($y$), as mkpasswd prints it",
        "mkpasswd --method=sha-512",
    ),
]


@pytest.mark.parametrize(("old", "new", "expected", "hint"), MISTAKES, ids=[m[2] for m in MISTAKES])
def test_one_mistake_is_one_sentence(tmp_path, old, new, expected, hint):
    assert RACK.count(old) == 1
    with pytest.raises(InventoryInvalid) as caught:
        load(write(tmp_path, RACK.replace(old, new)))
    told = {f"{each.key}: {each.message}": each.hint for each in caught.value.problems}
    assert told.get(expected, "not told") == hint, told


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (f', root_password: "{HASH}"', "", "root_password: expected a SHA-512 hash"),
        ("    tree: http://10.20.0.3/artifacts/xcp-ng-8.3/\n", "", "packages.tree: expected the"),
        ("10.20.0.13, role: xen", "10.20.0.13, role: xen, addresses: [{address: 10.30.0.9/24}]",
         "addresses: expected none: XCP-ng 8.3 is given them when it runs"),
    ],
)  # fmt: skip
def test_what_the_installer_cannot_do_is_told_before_it_boots(tmp_path, old, new, why):
    assert RACK.count(old) == 1
    inventory = load(write(tmp_path, RACK.replace(old, new)))
    assert why in verify_answers.verify_answers(inventory, None)[0].message
