"""Answers of XCP-ng's and XenServer's installer."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from kickstarts import xcpng
from kickstarts.errors import BadValue, UnknownSystem
from kickstarts.plan import Bond, DiskChoice, Layout, Packages, Repository, User
from kickstarts.values import Secret
from kickstarts.xcpng import validate
from tests.tools import require_tool
from tests.unit.kickstarts.plans_deb import (
    HASH,
    KEY,
    NETWORK,
    TOKEN,
    YESCRYPT,
    disks,
    plain,
)

TREE = "http://mirror.example.org/xcp-ng/"
MEANT = "SC2086"
"""Names of disks are split on purpose."""


def simple(system):
    """One disk, one port."""
    return replace(plain(system), root_password=Secret(HASH), packages=Packages(tree=TREE))


def rich(system):
    """Two mirrored disks by serial, a VLAN, a supplemental pack."""
    pack = Repository("drivers", url="http://mirror.example.org/drivers/")
    return replace(
        simple(system),
        disks=disks(DiskChoice.SERIAL, "S3Z8NB0K101", "S3Z8NB0K102", layout=Layout.RAID1),
        network=replace(NETWORK, vlan=120),
        packages=Packages(tree=TREE, repositories=(pack,)),
        administrators=(User("ada", (KEY,)), User("bob", (KEY.replace("ada@desk", "bob@desk"),))),
    )


PLANS = [make(system) for system in xcpng.SYSTEMS for make in (simple, rich)]


@pytest.mark.parametrize("system", xcpng.SYSTEMS)
@pytest.mark.parametrize(("make", "name"), [(simple, "plain"), (rich, "full")])
def test_each_system_gets_the_answers_that_were_read_in_review(golden, system, make, name):
    golden(f"kickstarts/{system}/{name}.sh", xcpng.render(make(system)))


@pytest.mark.parametrize("plan", PLANS)
def test_the_installer_knows_every_element(plan):
    assert validate(xcpng.answer(plan, ["/dev/sda"], {})) == []


def test_the_answer_says_what_the_plan_says():
    top = ElementTree.fromstring(xcpng.answer(rich("xcp-ng-8.3"), ["/dev/sda", "/dev/sdb"], {}))
    assert top.get("srtype") == "ext"
    disk = top.find("primary-disk")
    assert (disk.text, disk.get("swraid")) == ("/dev/sda,/dev/sdb", "true")
    port = top.find("admin-interface")
    assert (port.get("hwaddr"), port.get("vlan")) == (NETWORK.mac, "120")
    assert [each.text for each in port] == ["10.20.0.21", "255.255.252.0", "10.20.0.1"]
    password = top.find("root-password")
    assert (password.get("type"), password.text) == ("hash", HASH)
    sources = [each.text for each in top.findall("source")]
    assert sources == [TREE, "http://mirror.example.org/drivers/"]
    assert [each.text for each in top.findall("ntp-server")] == ["10.20.0.1", "10.20.0.2"]


def test_the_script_writes_the_answer_and_what_it_names(tmp_path):
    folder, out = generate(tmp_path, {"sda": "S3Z8NB0K102", "sdb": "other", "sdc": "S3Z8NB0K101"})
    top = ElementTree.fromstring(out)
    assert top.find("primary-disk").text == "/dev/sdc,/dev/sda"
    named = {each.get("stage"): each.text for each in top.findall("script")}
    assert named == {name: f"file://{folder}/{name}" for name in xcpng.STAGES}
    assert {path.name for path in folder.iterdir()} == set(xcpng.STAGES)


def test_without_the_disk_there_is_no_answer(tmp_path):
    with pytest.raises(subprocess.CalledProcessError) as raised:
        generate(tmp_path, {"sda": "S3Z8NB0K101", "sdb": "other"})
    assert raised.value.stdout == ""


def generate(tmp_path, serials):
    """Run the script on made-up disks; the folder of its scripts, and what it wrote."""
    for name, serial in serials.items():
        block = tmp_path / "sys" / name
        block.mkdir(parents=True)
        for file, value in (("size", 50), ("removable", 0), ("ro", 0), ("serial", serial)):
            (block / file).write_text(f"{value}\n")
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "udevadm").write_text("#!/bin/sh\n")
    (programs / "udevadm").chmod(0o755)
    # Nobody listens on port 1.
    plan = replace(rich("xcp-ng-8.3"), report_url=Secret(f"http://127.0.0.1:1/report/{TOKEN}"))
    text = xcpng.render(plan).replace("/sys/block", str(tmp_path / "sys"))
    folder = tmp_path / "made"
    text = text.replace("/tmp/rackseed", str(folder)).replace("/dev/console", "/dev/null")
    env = {"PATH": f"{programs}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", text], env=env, check=True, capture_output=True, text=True, timeout=20
    )
    return folder, done.stdout


@pytest.mark.parametrize("plan", PLANS)
def test_each_script_is_good_shell(plan, tmp_path):
    require_tool("shellcheck")
    text = xcpng.render(plan)
    parts = text.split("<<'END-OF-SCRIPT'\n")
    texts = [text, *(each.split("\nEND-OF-SCRIPT\n")[0] for each in parts[1:])]
    assert len(texts) == 3
    scripts = []
    for number, script in enumerate(texts):
        scripts.append(tmp_path / str(number))
        scripts[-1].write_text(script)
    argv = ["shellcheck", "-e", MEANT, *scripts]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_new_system_has_the_keys_and_scrubs_itself(tmp_path):
    populated = script_of("filesystem-populated")
    root = tmp_path / "root"
    (root / "root").mkdir(parents=True)
    logs = root / "var/log/installer"
    (logs / "scripts").mkdir(parents=True)
    (logs / "install-log").write_text(f"POST /report/{TOKEN} {HASH}\n")
    (logs / "scripts" / "x").write_text(TOKEN)
    (root / "root" / "support.tar.bz2").write_text(TOKEN)
    for _ in range(2):
        subprocess.run(["bash", "-c", populated, "x", root], check=True, timeout=20)
    keys = root / "root/.ssh/authorized_keys"
    assert keys.read_text().splitlines() == [KEY, KEY.replace("ada@desk", "bob@desk")]
    assert keys.stat().st_mode & 0o777 == 0o600
    wanted = root / "etc/systemd/system/multi-user.target.wants/rackseed-scrub.service"
    assert wanted.resolve().is_file()
    env = {"ROOT": str(root), "PATH": os.environ["PATH"]}
    subprocess.run([root / "usr/local/sbin/rackseed-scrub"], env=env, check=True)
    left = [path for path in root.rglob("*") if path.is_file()]
    assert not [path for path in left if TOKEN in path.read_text() or HASH in path.read_text()]
    assert (logs / "install-log").read_text() == "POST /report/*** ***\n"


def script_of(stage):
    plan = replace(rich("xcp-ng-8.3"), report_url=Secret(f"http://127.0.0.1:1/report/{TOKEN}"))
    text = xcpng.render(plan)
    return text.split(f"/{stage} <<'END-OF-SCRIPT'\n")[1].split("\nEND-OF-SCRIPT\n")[0]


def test_nobody_sees_a_secret_in_what_is_shown():
    text = xcpng.render(rich("xcp-ng-8.3"), masked=True)
    assert TOKEN not in text
    assert HASH not in text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"root_password": None}, "only root manages XCP-ng"),
        ({"root_password": Secret(YESCRYPT)}, "it has no yescrypt"),
        ({"packages": Packages()}, "the URL of the installation tree"),
        ({"packages": Packages(tree=TREE, more=("vim",))}, "packages.more: expected nothing"),
        ({"network": replace(NETWORK, gateway=None)}, "takes no network without"),
        (
            {"network": replace(NETWORK, bond=Bond("bond0", (NETWORK.mac, "eth1")))},
            "makes it when it runs",
        ),
        ({"administrators": (User("ada", (KEY,), Secret(HASH)),)}, "no administrator but root"),
    ],
)
def test_what_the_installer_cannot_do_is_refused(change, words):
    with pytest.raises(BadValue, match=words):
        xcpng.render(replace(simple("xcp-ng-8.3"), **change))


def test_an_unknown_system_is_told_with_the_nearest():
    with pytest.raises(UnknownSystem) as raised:
        xcpng.render(simple("xcpng-8.3"))
    assert raised.value.__notes__ == ["did you mean 'xcp-ng-8.3'?"]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("<keymap>us</keymap>", "<keymap>", "line "),
        ("<keymap>us</keymap>", "<keyma>us</keyma>", "no keyma, did you mean keymap?"),
        ('proto="static"', 'prot="static"', "admin-interface: the attribute prot is unknown"),
        ("root-password", "hostname", "root-password is missing"),
        ("installation", "restore", "restore: expected installation"),
    ],
)
def test_what_the_installer_would_not_take_is_told(old, new, words):
    text = xcpng.answer(simple("xcp-ng-8.3"), ["/dev/sda"], {})
    assert old in text
    assert words in "\n".join(map(str, validate(text.replace(old, new))))


def test_the_values_stand_in_the_xml_as_text():
    folder = Path("/dev/disk/by-id")
    text = xcpng.answer(simple("xcp-ng-8.3"), [f"{folder}/a<b&c"], {})
    assert ElementTree.fromstring(text).find("primary-disk").text == "/dev/disk/by-id/a<b&c"
