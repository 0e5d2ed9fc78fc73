"""Every system with every role: read by a person as a golden file, and by its consumers here."""

import re
import subprocess
from dataclasses import replace
from ipaddress import IPv4Interface
from pathlib import Path

import pytest

from kickstarts.errors import BadValue, UnknownSystem
from kickstarts.plan import (
    Address,
    Bond,
    DiskChoice,
    DiskLayout,
    Firmware,
    Layout,
    Packages,
    Repository,
    User,
)
from kickstarts.render import render
from kickstarts.systems import SYSTEMS
from kickstarts.validate import read, validate
from kickstarts.values import Secret
from tests.tools import require_tool
from tests.unit.kickstarts.plans import HASH, KEY, PLAN, SAMPLES, TOKEN, YESCRYPT, sample


@pytest.mark.parametrize(("system", "role"), SAMPLES)
def test_each_system_with_each_role_is_what_was_reviewed(system, role, golden):
    golden(f"kickstarts/{system}/{role}.ks", render(sample(system, role)))


@pytest.mark.parametrize(("system", "role"), SAMPLES)
def test_the_installer_of_each_release_takes_it(system, role):
    assert validate(render(sample(system, role)), SYSTEMS[system].syntax) == ()


@pytest.mark.parametrize(("system", "role"), SAMPLES)
def test_the_shell_understands_each_script(system, role):
    for script in read(render(sample(system, role)), SYSTEMS[system].syntax).scripts:
        done = subprocess.run(
            ["bash", "-n"], input=script.text, text=True, capture_output=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, ""), f"{script.section}, line {script.line}"


BOND = Bond("bond0", (PLAN.network.mac, "52:54:00:aa:00:21"), "active-backup")

VARIANTS = {
    "serial": replace(PLAN, disks=DiskLayout(DiskChoice.SERIAL, ("S3Z1NX0K",))),
    "path": replace(
        PLAN, disks=DiskLayout(DiskChoice.PATH, ("/dev/disk/by-path/pci-0000:00:1f.2-ata-1",))
    ),
    "plain": replace(PLAN, disks=DiskLayout(layout=Layout.PLAIN), firmware=Firmware.UEFI),
    "mirror": replace(PLAN, disks=DiskLayout(layout=Layout.RAID1)),
    "mirror-uefi": replace(
        PLAN, firmware=Firmware.UEFI,
        disks=DiskLayout(DiskChoice.SERIAL, ("S1", "S2"), Layout.RAID1),
    ),
    "bond-vlan": replace(
        PLAN, network=replace(PLAN.network, bond=Bond("bond0", ("eno1", "eno2")), vlan=20)
    ),
    "bond-mac": replace(PLAN, network=replace(PLAN.network, bond=BOND)),
    "addresses": replace(
        PLAN,
        network=replace(
            PLAN.network,
            bond=BOND,
            more=(
                Address(IPv4Interface("10.20.1.11/22")),
                Address(IPv4Interface("10.30.0.11/24"), vlan=30),
                Address(IPv4Interface("192.0.2.11/24"), mac="52:54:00:aa:00:31"),
                Address(IPv4Interface("192.0.2.12/24"), mac="52:54:00:aa:00:31"),
                Address(IPv4Interface("10.40.0.11/24"), mac="52:54:00:aa:00:31", vlan=40),
            ),
        ),
    ),
    "mirrored-tree": replace(
        PLAN, log_host="10.20.0.3",
        packages=Packages(
            "http://10.20.0.3/mirror/os/", (Repository("extra", "http://10.20.0.3/extra/"),),
            more=("vim-enhanced", "@development"),
        ),
    ),
    "passwords": replace(
        PLAN, root_password=Secret(HASH),
        administrators=(
            User("ada", (KEY,), Secret(HASH), full_name="Ada L."), User("grace", (KEY, KEY)),
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_choice_is_what_was_reviewed(variant, golden):
    golden(f"kickstarts/variants/{variant}.ks", render(VARIANTS[variant]))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("system", SYSTEMS)
def test_the_installer_takes_each_choice_on_each_system(system, variant):
    assert validate(render(replace(VARIANTS[variant], system=system)), SYSTEMS[system].syntax) == ()


def test_shellcheck_has_nothing_to_say(tmp_path):
    require_tool("shellcheck")
    files = []
    plans = [*VARIANTS.values(), *(sample(*each) for each in SAMPLES)]
    texts = {
        s.text for plan in plans for s in read(render(plan), SYSTEMS[plan.system].syntax).scripts
    }
    for index, text in enumerate(sorted(texts)):
        files.append(tmp_path / f"{index}.sh")
        files[-1].write_text(f"#!/bin/bash\n{text}", encoding="utf-8")
    done = subprocess.run(
        ["shellcheck", "--severity=info", *map(str, files)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == ""


def test_nothing_secret_is_in_what_people_are_shown():
    plan = replace(sample("rocky-9", "base"), root_password=Secret(YESCRYPT))
    assert TOKEN in render(plan)
    shown = render(plan, masked=True)
    assert TOKEN not in shown
    assert YESCRYPT not in shown


def test_a_system_that_is_not_known_is_refused_with_the_nearest():
    with pytest.raises(UnknownSystem) as raised:
        render(replace(PLAN, system="rocky9"))
    assert raised.value.__notes__ == ["did you mean 'rocky-9'?"]


@pytest.mark.parametrize(
    ("keyboard", "line"),
    [("us", "keyboard --xlayouts=us"), ("de-nodeadkeys", "keyboard --vckeymap=de-nodeadkeys")],
)
def test_a_keyboard_with_a_variant_is_that_of_the_console(keyboard, line):
    assert f"\n{line}\n" in render(replace(PLAN, keyboard=keyboard))


def test_an_old_system_is_not_given_a_hash_that_it_cannot_read():
    with pytest.raises(BadValue, match="SHA-512"):
        render(replace(PLAN, system="centos-7", root_password=Secret(YESCRYPT)))


DISKS = """\
sda 500107862016 0 0 disk SER-A
sdb 240057409536 0 0 disk SER-B
sdc 240057409536 0 0 disk SER-B2
sdd 15931539456 1 0 disk STICK
sr0 1073741312 1 1 rom DVD
zram0 8589934592 0 0 disk ZRAM
sde 0 0 0 disk EMPTY
"""

FAKES = {
    "lsblk": """\
#!/bin/bash
last=${!#}
case "$*" in
    *NAME,SIZE*) cut -d ' ' -f 1-5 "$DISKS" ;;
    *SERIAL*) awk -v name="${last#/dev/}" '$1 == name {print $6}' "$DISKS" ;;
esac
""",
    "udevadm": "#!/bin/bash\n",
    "curl": '#!/bin/bash\nprintf "%s\\n" "$@" >>"$REPORTS"\n',
}


def run_pre(plan, folder: Path) -> tuple[int, str, str]:
    """Run the %pre script where the disks are the above; its status, its include and reports."""
    for name, text in FAKES.items():
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(0o755)
    (folder / "disks").write_text(DISKS, encoding="utf-8")
    (folder / "reports").touch()
    script = read(render(plan), SYSTEMS[plan.system].syntax).scripts[0]
    made = folder / "rackseed-disks.ks"
    text = script.text.replace("/tmp/rackseed-", f"{folder}/rackseed-")
    text = text.replace("/dev/console", "/dev/null").replace("/sys/class/net", f"{folder}/net")
    done = subprocess.run(
        ["bash"], input=text, text=True, capture_output=True, check=False,
        env={"PATH": f"{folder}:/usr/bin:/bin", "DISKS": str(folder / "disks"),
             "REPORTS": str(folder / "reports")},
    )  # fmt: skip
    return (
        done.returncode,
        made.read_text() if made.exists() else "",
        (folder / "reports").read_text(),
    )


CHOICES = [
    (DiskLayout(), "sdb"),
    (DiskLayout(DiskChoice.LARGEST), "sda"),
    (DiskLayout(DiskChoice.FIRST), "sda"),
    (DiskLayout(DiskChoice.SERIAL, ("SER-A",)), "sda"),
    (DiskLayout(DiskChoice.SERIAL, ("SER-B",)), "sdb"),
    (DiskLayout(layout=Layout.RAID1), "sdb,sdc"),
    (DiskLayout(DiskChoice.SERIAL, ("SER-B2", "SER-A"), Layout.RAID1), "sdc,sda"),
]


@pytest.mark.parametrize(("disks", "chosen"), CHOICES)
@pytest.mark.parametrize("firmware", Firmware)
@pytest.mark.parametrize("layout", [None, Layout.PLAIN])
def test_the_disk_that_is_meant_is_the_only_one_used(disks, chosen, firmware, layout, tmp_path):
    if layout is not None and disks.layout is Layout.LVM:
        disks = replace(disks, layout=layout)
    plan = replace(PLAN, disks=disks, firmware=firmware)
    status, made, _ = run_pre(plan, tmp_path)
    assert status == 0
    assert made.startswith(f"ignoredisk --only-use={chosen}\nzerombr\nclearpart --all ")
    for syntax in ("RHEL7", "RHEL10", "F44"):
        assert validate(made, syntax) == ()
    assert set(re.findall(r"--ondisk=(\w+)", made)) <= set(chosen.split(","))


@pytest.mark.parametrize(
    ("disks", "why"),
    [
        (DiskLayout(DiskChoice.SERIAL, ("OTHER",)), "no disk has the serial number OTHER"),
        (DiskLayout(DiskChoice.SERIAL, ("STICK",)), "no disk has the serial number STICK"),
        (DiskLayout(DiskChoice.PATH, ("/dev/disk/by-path/none",)), "no disk is at /dev/disk"),
    ],
)
def test_another_disk_than_the_inventory_names_is_refused(disks, why, tmp_path):
    status, made, reports = run_pre(replace(PLAN, disks=disks), tmp_path)
    assert (status, made) == (1, "")
    assert f'{{"kind": "failed", "message": "{why}' in reports


PORTS = {"eno1": "52:54:00:aa:00:01", "eno2": "52:54:00:aa:00:21", "eno3": "52:54:00:aa:00:31"}
OTHERS = {"lo": "00:00:00:00:00:00", "bond9": "52:54:00:aa:00:01", "eno1.7": "52:54:00:aa:00:01"}


def make_ports(folder: Path, ports: dict[str, str]) -> None:
    """A machine's ports, and what shows the address of one without being one."""
    for name, mac in {**ports, **OTHERS}.items():
        (folder / "net" / name).mkdir(parents=True)
        (folder / "net" / name / "address").write_text(f"{mac}\n", encoding="utf-8")
        if name in ports:
            (folder / "net" / name / "device").mkdir()


@pytest.mark.parametrize("variant", ["bond-mac", "addresses"])
def test_a_bond_is_made_of_the_ports_with_its_mac_addresses(variant, tmp_path):
    make_ports(tmp_path, PORTS)
    status, _, _ = run_pre(VARIANTS[variant], tmp_path)
    assert status == 0
    made = (tmp_path / "rackseed-network.ks").read_text()
    assert "--device=bond0 --bondslaves=eno1,eno2 --bondopts=mode=active-backup,miimon=100" in made
    for syntax in ("RHEL7", "RHEL10", "F44"):
        assert validate(made, syntax) == ()


@pytest.mark.parametrize(
    ("ports", "why"),
    [
        ({"eno1": PORTS["eno1"]}, "no port has the MAC address 52:54:00:aa:00:21"),
        ({**PORTS, "eno9": PORTS["eno2"]}, "several ports have the MAC address 52:54:00:aa:00:21"),
    ],
)
def test_a_bond_without_its_ports_is_refused_before_anything_is_written(ports, why, tmp_path):
    make_ports(tmp_path, ports)
    status, made, reports = run_pre(VARIANTS["bond-mac"], tmp_path)
    assert (status, made) == (1, "")
    assert why in reports


FILES = {
    "rocky-9": (
        "etc/NetworkManager/system-connections/{}.nmconnection",
        "[ipv4]\naddress1={}/{},10.20.0.1\ndns=10.20.0.2;\n",
        "[ipv4]\naddress1=10.20.0.11/22,10.20.0.1\naddress2=10.20.1.11/22\ndns=10.20.0.2;\n",
    ),
    "centos-7": (
        "etc/sysconfig/network-scripts/ifcfg-{}",
        'IPADDR="{}"\nPREFIX="{}"\n',
        'IPADDR="10.20.0.11"\nPREFIX="22"\nIPADDR1=10.20.1.11\nPREFIX1=22\n',
    ),
}


@pytest.mark.parametrize("system", FILES)
def test_more_addresses_of_a_link_are_written_behind_its_first(system, tmp_path):
    name, text, expected = FILES[system]
    ports = {"bond0": ("10.20.0.11", 22), "eno9": ("110.20.0.11", 22), "eno3": ("192.0.2.11", 24)}
    for port, address in ports.items():
        path = tmp_path / name.format(port)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.format(*address), encoding="utf-8")
    shown = render(replace(VARIANTS["addresses"], system=system))
    own = "add_addresses()" + shown.partition("add_addresses()")[2].partition("\n%end")[0]
    own = own.partition("\n\n")[0].replace("/etc/", f"{tmp_path}/etc/")
    subprocess.run(["bash", "-eu", "-o", "pipefail"], input=own, text=True, check=True)
    assert (tmp_path / name.format("bond0")).read_text() == expected
    assert "192.0.2.12" in (tmp_path / name.format("eno3")).read_text()
    assert (tmp_path / name.format("eno9")).read_text() == text.format(*ports["eno9"])
    missing = own.replace("10.20.0.11/22", "10.20.0.77/22")
    done = subprocess.run(["bash", "-eu", "-o", "pipefail"], input=missing, text=True, check=False)
    assert done.returncode != 0


def test_the_scrub_leaves_nothing_that_opens_anything(tmp_path):
    script = Path(__file__).parents[3] / "kickstarts/templates/steps/scrub.sh"
    secrets = f"http://10.20.0.3/answer/{TOKEN} http://10.20.0.3/report/{TOKEN} {HASH} {YESCRYPT}"
    places = ("root/anaconda-ks.cfg", "root/original-ks.cfg", "root/.bash_history",
              "root/rackseed-post.log", "var/log/anaconda/journal.log",
              "var/log/anaconda/ifcfg/deep.log")  # fmt: skip
    for place in places:
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"before {secrets} after\n", encoding="utf-8")
    for _ in range(2):
        subprocess.run(["bash", str(script)], env={"ROOT": str(tmp_path), "PATH": "/usr/bin:/bin"},
                       check=True)  # fmt: skip
        left = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
        assert not any(secret in left for secret in (TOKEN, HASH, YESCRYPT, "saltsalt", "F5Jx5"))
    assert left.startswith("before http://10.20.0.3/answer/*** ")
