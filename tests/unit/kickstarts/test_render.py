"""Every system with every role: read by a person as a golden file, and by its consumers here."""

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from kickstarts.errors import BadValue, UnknownSystem
from kickstarts.plan import (
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
    text = script.text.replace("/tmp/rackseed-disks.ks", str(made)).replace(
        "/dev/console", "/dev/null"
    )
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
