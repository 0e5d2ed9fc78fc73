"""Answers of Ubuntu's server installer."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from kickstarts import autoinstall
from kickstarts.errors import BadValue, UnknownSystem
from kickstarts.plan import Bond, DiskChoice, Layout, Packages
from kickstarts.yamlcheck import load_schema, read, validate
from tests.tools import require_tool
from tests.unit.kickstarts.plans_deb import HASH, NETWORK, TOKEN, disks, full, plain

EVERY = [make(system) for system in autoinstall.SYSTEMS for make in (plain, full)]
PLANS = [
    *EVERY,
    *(
        replace(plain("ubuntu-24.04"), disks=layout)
        for layout in (
            disks(DiskChoice.LARGEST, layout=Layout.PLAIN),
            disks(DiskChoice.FIRST),
            disks(DiskChoice.SERIAL, "S3Z8NB0K101"),
            disks(DiskChoice.PATH, "/dev/disk/by-path/pci-0000:00:1f.2-ata-1"),
            disks(DiskChoice.SMALLEST, layout=Layout.RAID1),
        )
    ),
]
MEANT = "SC2016,SC2086"
"""Names of disks are split on purpose, GRUB's shell is not ours."""


@pytest.mark.parametrize("system", autoinstall.SYSTEMS)
@pytest.mark.parametrize("make", [plain, full])
def test_each_system_gets_the_answers_that_were_read_in_review(golden, system, make):
    name = f"kickstarts/{system}/{make.__name__}.user-data"
    golden(name, autoinstall.render(make(system)))


@pytest.mark.parametrize("plan", PLANS)
def test_the_schema_takes_it(plan):
    assert validate(autoinstall.render(plan)) == []


@pytest.mark.parametrize("plan", PLANS)
def test_the_installers_own_schema_takes_it(plan):
    path = os.environ.get("AUTOINSTALL_SCHEMA")
    if path is None:
        pytest.skip("AUTOINSTALL_SCHEMA names no autoinstall-schema.json of Ubuntu's installer")
    assert validate(autoinstall.render(plan), load_schema(Path(path))) == []


@pytest.mark.parametrize("plan", PLANS)
def test_each_command_is_good_shell(plan, tmp_path):
    require_tool("shellcheck")
    document = loaded(plan)
    scripts = []
    for key in ("early-commands", "late-commands", "error-commands"):
        (command,) = document[key]
        scripts.append(tmp_path / key)
        scripts[-1].write_text(f"#!/bin/sh\n{command}")
        subprocess.run(["sh", "-n", scripts[-1]], check=True)
    argv = ["shellcheck", "-e", MEANT, *scripts]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def loaded(plan):
    return yaml.safe_load(autoinstall.render(plan))["autoinstall"]


@pytest.mark.parametrize("plan", EVERY)
def test_our_reader_of_yaml_reads_what_others_read(plan):
    text = autoinstall.render(plan)
    assert read(text, {}) == yaml.safe_load(text)


@pytest.mark.parametrize("written", [str, lambda text: yaml.safe_dump(yaml.safe_load(text))])
def test_the_early_command_names_the_disk_in_the_answer_alone(tmp_path, written):
    plan = full("ubuntu-24.04")
    file = tmp_path / "autoinstall.yaml"
    file.write_text(written(autoinstall.render(plan)))
    (command,) = loaded(plan)["early-commands"]
    naming = [line for line in command.splitlines() if line.startswith("sed -i")]
    script = "set -- sda nvme0n1\n" + "\n".join(naming).replace("/autoinstall.yaml", str(file))
    subprocess.run(["sh", "-euc", script], check=True)
    changed = yaml.safe_load(file.read_text())["autoinstall"]
    paths = [each["path"] for each in changed["storage"]["config"] if each["type"] == "disk"]
    assert paths == ["/dev/sda", "/dev/nvme0n1"]
    assert changed["early-commands"] == [command]


@pytest.mark.parametrize("written", [str, lambda text: yaml.safe_dump(yaml.safe_load(text))])
def test_commands_report_to_where_the_answer_says(tmp_path, written):
    plan = plain("ubuntu-24.04")
    file = tmp_path / "autoinstall.yaml"
    file.write_text(written(autoinstall.render(plan)))
    (command,) = loaded(plan)["error-commands"]
    script = 'curl() { shift $(($# - 1)); echo "$1"; }\n' + command
    done = subprocess.run(
        ["sh", "-euc", script.replace("/autoinstall.yaml", str(file))],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.strip() == plan.report_url.reveal()


@pytest.mark.parametrize("plan", EVERY)
def test_no_secret_stands_in_a_command(plan):
    document = loaded(plan)
    keys = ("early-commands", "late-commands", "error-commands")
    shown = "".join(text for key in keys for text in document[key])
    assert TOKEN not in shown
    assert HASH not in shown


def test_the_network_is_said_in_netplans_words():
    bond = Bond("bond0", (NETWORK.mac, "eno2"))
    plan = autoinstall.netplan(replace(NETWORK, bond=bond, vlan=120), "example.org")
    assert plan == {
        "version": 2,
        "ethernets": {"port1": {"match": {"macaddress": NETWORK.mac}}, "eno2": {}},
        "bonds": {
            "bond0": {
                "interfaces": ["port1", "eno2"],
                "parameters": {"mode": "802.3ad", "mii-monitor-interval": 100},
            }
        },
        "vlans": {
            "vlan120": {
                "id": 120,
                "link": "bond0",
                "addresses": ["10.20.0.21/22"],
                "routes": [{"to": "default", "via": "10.20.0.1"}],
                "nameservers": {"addresses": ["10.20.0.2"], "search": ["example.org"]},
            }
        },
    }


def test_nothing_that_opens_anything_stays_behind(tmp_path):
    folder = Path(autoinstall.__file__).parent / "templates" / "autoinstall"
    kept = {
        "var/log/installer/subiquity-server-debug.log": f"endpoint http://h/report/{TOKEN} {HASH}",
        "var/log/installer/installer-journal.txt": f"cloud-config-url=http://h/answer/{TOKEN}",
        "var/log/cloud-init-output.log": f"GET http://h/answer/{TOKEN}",
    }
    gone = (
        "var/log/installer/autoinstall-user-data",
        "var/log/installer/curtin-install/subiquity-initial.conf",
        "etc/cloud/cloud.cfg.d/99-installer.cfg",
        "var/lib/cloud/instances/1/user-data.txt",
        "var/lib/cloud/instances/1/obj.pkl",
    )
    for name, text in (kept | dict.fromkeys(gone, f"{HASH} {TOKEN}")).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    for _ in range(2):
        env = {"ROOT": str(tmp_path), "PATH": os.environ["PATH"]}
        subprocess.run(["sh", folder / "scrub.sh"], env=env, check=True)
    left = {path: path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    assert not [path for path, text in left.items() if TOKEN in text or HASH in text]
    assert {str(path.relative_to(tmp_path)) for path in left} == {
        *kept, "etc/cloud/cloud-init.disabled"
    }  # fmt: skip
    assert left[tmp_path / "var/log/cloud-init-output.log"] == "GET http://h/answer/***"


def test_nobody_sees_a_secret_in_what_is_shown():
    text = autoinstall.render(full("ubuntu-24.04"), masked=True)
    assert TOKEN not in text
    assert HASH not in text
    assert validate(text) == []


def test_the_meta_data_names_the_host():
    assert yaml.safe_load(autoinstall.meta_data(plain("ubuntu-24.04"))) == {
        "instance-id": "node7-52:54:00:aa:00:07",
        "local-hostname": "node7",
    }


def test_what_the_installer_cannot_do_is_refused():
    ours = Packages(ours="http://10.20.0.3/rpm/")
    with pytest.raises(BadValue, match="our own packages are RPMs"):
        autoinstall.render(replace(plain("ubuntu-24.04"), packages=ours))
    with pytest.raises(UnknownSystem, match=r"no autoinstall is known for 'ubuntu-20\.04'"):
        autoinstall.render(plain("ubuntu-20.04"))


def test_a_host_name_cannot_become_a_key():
    with pytest.raises(BadValue, match="host"):
        replace(plain("ubuntu-24.04"), host="node7\nautoinstall: {}")


@pytest.mark.parametrize(
    ("old", "new", "finding"),
    [
        ("#cloud-config\n", "", "line 1: expected the first line #cloud-config"),
        ("  locale:", "  local:", "the key local is unknown, did you mean locale?"),
        ("  version: 1", "  version: 2", "line 5: version: 1 was expected"),
        ("    allow-pw: false", "    allow-pw: maybe", "ssh.allow-pw: the value is not of type"),
        ("  version: 1", "  version: 1\n  version: 1", "line 6: version stands here twice"),
        ("  version: 1", "  version: [", "expected ',' or ']', but got ':'"),
        ("autoinstall:\n", "other: 1\nautoinstall:\n", "line 4: expected nothing beside"),
        ("autoinstall:\n", "install:\n", "expected the key autoinstall"),
        ("      endpoint:", "      endpoints:", "'endpoint' is a required property"),
    ],
)
def test_what_the_installer_would_not_take_is_told_with_its_line(old, new, finding):
    text = autoinstall.render(plain("ubuntu-24.04"))
    assert old in text
    told = [str(each) for each in validate(text.replace(old, new, 1))]
    assert any(finding in each for each in told), told


def test_a_finding_does_not_tell_a_secret():
    text = autoinstall.render(full("ubuntu-24.04")).replace('passwd: "$6$', 'passwd: "6$')
    told = "\n".join(map(str, validate(text)))
    assert "passwd" in told
    assert "A" * 86 not in told
