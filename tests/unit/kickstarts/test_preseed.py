"""Answers of the Debian installer."""

import os
import re
import subprocess
from dataclasses import replace

import pytest

from kickstarts import preseed
from kickstarts.errors import BadValue, UnknownSystem
from kickstarts.plan import DiskChoice, Layout, Packages, Repository, User
from kickstarts.questions import commands, read, validate
from kickstarts.roles.base import Role
from kickstarts.templating import continued, shell_lines
from kickstarts.values import Secret
from tests.tools import require_tool
from tests.unit.kickstarts.plans_deb import HASH, KEY, TOKEN, YESCRYPT, disks, full, plain

CHOICES = {
    "smallest": disks(DiskChoice.SMALLEST),
    "largest": disks(DiskChoice.LARGEST, layout=Layout.PLAIN),
    "first": disks(DiskChoice.FIRST),
    "serial": disks(DiskChoice.SERIAL, "S3Z8NB0K101"),
    "path": disks(DiskChoice.PATH, "/dev/disk/by-path/pci-0000:00:1f.2-ata-1"),
    "two smallest": disks(DiskChoice.SMALLEST, layout=Layout.RAID1),
}
EVERY = [make(system) for system in preseed.SYSTEMS for make in (plain, full)]
PLANS = EVERY + [replace(plain("debian-12"), disks=each) for each in CHOICES.values()]
MEANT = "SC2016,SC2046,SC2086"
"""Names of disks are split on purpose, a script writes out another."""


@pytest.mark.parametrize("system", preseed.SYSTEMS)
@pytest.mark.parametrize("make", [plain, full])
def test_each_system_gets_the_answers_that_were_read_in_review(golden, system, make):
    golden(f"kickstarts/{system}/{make.__name__}.cfg", preseed.render(make(system)))


@pytest.mark.parametrize("plan", PLANS)
def test_the_installer_asks_each_question_that_is_answered(plan):
    assert validate(preseed.render(plan)) == []


@pytest.mark.parametrize("plan", PLANS)
def test_each_command_is_good_shell(plan, tmp_path):
    require_tool("shellcheck")
    found = commands(preseed.render(plan))
    assert len(found) == 3
    scripts = []
    for name, command in found.items():
        scripts.append(tmp_path / name.replace("/", "-"))
        scripts[-1].write_text(f"#!/bin/sh\n{command}\n")
    assert_good(scripts)


def test_the_step_that_runs_last_is_good_shell(tmp_path):
    require_tool("shellcheck")
    scripts = []
    for number, plan in enumerate(EVERY):
        text = preseed.render(plan)
        begin = text.index("'#!/bin/sh'")
        end = text.index(">/usr/lib/finish-install.d")
        lines = text[begin:end].rstrip().splitlines()
        scripts.append(tmp_path / str(number))
        scripts[-1].write_text("\n".join(each.strip().removesuffix(" \\")[1:-1] for each in lines))
    assert_good(scripts)


def assert_good(scripts):
    for script in scripts:
        subprocess.run(["sh", "-n", script], check=True)
    argv = ["shellcheck", "-e", MEANT, *scripts]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("name", "layout"), [(name, layout) for name, layout in CHOICES.items() if "small" in name]
)
def test_disks_are_chosen_by_size(name, layout, tmp_path):
    chosen = pick(layout, tmp_path, {"sdb": 50, "sda": 70, "nvme0n1": 90, "sr0": 1, "sdz": 0})
    assert chosen == ("sdb sda" if layout.layout is Layout.RAID1 else "sdb")


def test_a_disk_is_found_by_its_serial_number(tmp_path):
    disks_here = {"sda": 50, "sdb": 50}
    chosen = pick(CHOICES["serial"], tmp_path, disks_here, {"sdb": "S3Z8NB0K101"})
    assert chosen == "sdb"


def test_another_disk_is_not_written_to(tmp_path):
    said = pick(CHOICES["serial"], tmp_path, {"sda": 50}, {"sda": "S3Z8NB0K1011"})
    assert said == "no disk has the serial number S3Z8NB0K101 that the inventory names"


def test_two_names_for_one_serial_number_are_not_guessed_between(tmp_path):
    serials = {"sda": "S3Z8NB0K101", "sdb": "S3Z8NB0K101"}
    said = pick(CHOICES["serial"], tmp_path, {"sda": 50, "sdb": 50}, serials)
    assert said == "several disks have the serial number S3Z8NB0K101"


def test_too_few_disks_are_refused(tmp_path):
    said = pick(CHOICES["two smallest"], tmp_path, {"sda": 50})
    assert said == "found 1 disks to write to, expected 2"


STAND_INS = {
    "nc": 'sed -n "s/.*message.: .\\(.*\\)..$/\\1/p" >"$0.said"',
    "sleep": 'if [ "$1" = 3600 ]; then kill "$PPID"; fi',
    "udevadm": "true",
    "debconf-set": 'echo "$@" >>"$0.set"',
}
"""What touches the machine, and ends an endless wait."""


def pick(layout, tmp_path, sizes, serials=None):
    """Run the partitioner's early command on made-up disks: its disks, or its last words."""
    for name, size in sizes.items():
        block = tmp_path / "sys" / name
        block.mkdir(parents=True)
        for file, value in (("size", size), ("removable", 0), ("ro", 0)):
            (block / file).write_text(f"{value}\n")
        (block / "serial").write_text((serials or {}).get(name, "other") + "\n")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in STAND_INS.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    text = preseed.render(replace(plain("debian-12"), disks=layout))
    command = commands(text)["partman/early_command"]
    for old, new in (
        ("/tmp/rackseed-", f"{tmp_path}/rackseed-"),
        ("/sys/block", tmp_path / "sys"),
        ("/dev/console", "/dev/null"),
    ):
        command = command.replace(old, str(new))
    path = f"{programs}:{os.environ['PATH']}"
    subprocess.run(["sh", "-c", command], env={"PATH": path}, check=False, timeout=20)
    chosen = tmp_path / "rackseed-disks"
    if not chosen.exists():
        assert not (programs / "debconf-set.set").exists()
        return (programs / "nc.said").read_text().strip()
    said = (programs / "debconf-set.set").read_text()
    names = chosen.read_text().strip()
    assert said.startswith("partman-auto/disk /dev/" + names.replace(" ", " /dev/"))
    return names


def test_nobody_sees_a_secret_in_what_is_shown():
    text = preseed.render(full("debian-12"), masked=True)
    assert TOKEN not in text
    assert HASH not in text
    assert text.count("***") >= 4


@pytest.mark.parametrize("plan", EVERY)
def test_no_secret_stands_in_a_command(plan):
    shown = "".join(commands(preseed.render(plan)).values())
    assert TOKEN not in shown
    assert HASH not in shown


def test_two_renderings_are_the_same():
    assert preseed.render(full("debian-13")) == preseed.render(full("debian-13"))


def test_a_host_name_cannot_answer_a_question():
    with pytest.raises(BadValue, match="host"):
        replace(plain("debian-12"), host="node7\nd-i preseed/late_command string reboot")


class Cloudy(Role):
    name = "cloudy"
    metapackage = "openstack-node-full"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"role": Cloudy()}, "role: expected a plain host on Debian 12"),
        ({"packages": Packages(ours="http://10.20.0.3/rpm/")}, "our own packages are RPMs"),
        ({"packages": Packages(more=("@core",))}, "a package, not the group @core"),
        (
            {"packages": Packages(repositories=(Repository("x", url="http://h/x"),))},
            "a URL with a slash",
        ),
        ({"report_url": Secret(f"https://h/report/{TOKEN}")}, "knows no TLS"),
    ],
)
def test_what_the_installer_cannot_do_is_refused(change, words):
    with pytest.raises(BadValue, match=words):
        preseed.render(replace(plain("debian-12"), **change))


def test_an_old_system_takes_no_new_hash():
    users = (User("ada", (KEY,), Secret(YESCRYPT)),)
    preseed.render(replace(plain("ubuntu-20.04"), administrators=users))
    with pytest.raises(BadValue, match="SHA-512"):
        preseed.render(replace(plain("ubuntu-18.04"), administrators=users))


def test_an_unknown_system_is_told_with_the_nearest():
    with pytest.raises(UnknownSystem) as raised:
        preseed.render(plain("debian-2"))
    assert raised.value.__notes__ == ["did you mean 'debian-12'?"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("d-i clock-setup/ntp-sever string a", "did you mean clock-setup/ntp-server?"),
        ("d-i clock-setup/ntp boolean yes", "clock-setup/ntp: expected true or false"),
        ("d-i clock-setup/ntp text true", "expected the type boolean, not text"),
        ("d-i clock-setup/ntp bool true", "the type bool is unknown"),
        ("d-i clock-setup/ntp", "expected OWNER QUESTION TYPE VALUE"),
        ("NODE clock-setup/ntp boolean true", "NODE: not the name of a package"),
        (r"d-i preseed/late_command string printf '\n'", r"write \\012"),
    ],
)
def test_a_line_that_the_installer_does_not_know_is_told(text, words):
    (finding,) = validate(f"# one\n\n{text}\n")
    assert finding.line == 3
    assert re.search(words, finding.message)


def test_a_question_is_answered_once():
    text = "d-i time/zone string Etc/UTC\nd-i time/zone string Europe/Berlin\n"
    assert [str(each) for each in validate(text)] == [
        "line 2: d-i time/zone: answered before in line 1"
    ]


def test_continued_lines_are_one():
    assert list(read("a b \\\n  c \\\n  d\n# no\ne\n")) == [(1, "a b    c    d"), (5, "e")]


def test_shell_gets_into_one_line():
    script = "f() {\n    # why\n    if a; then\n        b\n    fi\n}\n\nf | g &\n"
    assert continued(script).split("\n") == [
        "f() { \\",
        "        if a; then \\",
        "            b; \\",
        "        fi; \\",
        "    }; \\",
        "    f | g &",
    ]


def test_a_single_quote_is_not_carried_into_lines():
    with pytest.raises(ValueError, match="single quote"):
        shell_lines("it's")
