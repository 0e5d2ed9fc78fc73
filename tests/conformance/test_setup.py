"""`bin/setup` however it ends: daemons that packages bring stay off."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.tools import require_root

SETUP = Path(__file__).parents[2] / "bin/setup"


STUBS = {
    "apt-cache": 'echo "Candidate: 1"',
    "dpkg-query": '[ -e "$TOP/installed" ] && echo installed',
    "dpkg": 'echo "dpkg $*" >>"$TOP/called"',
    "apt-get": """\
[ "$2" != update ] || exit 0
/usr/sbin/policy-rc.d || echo "forbidden: $?" >>"$TOP/called"
echo brought.service >>"$TOP/units"
touch "$TOP/installed" "$TOP/in-the-middle"
[ ! -e "$TOP/slow" ] || sleep 60
[ ! -e "$TOP/broken" ] || exit 100""",
    "systemctl": """\
case $2 in
    list-unit-files) sed 's/$/ enabled enabled/' "$TOP/units" ;;
    -q) sed -i "/^$4\\$/d" "$TOP/units" ;;
esac""",
    "python3": "exit 0",
}
"""A distribution in little: its only package brings a daemon that starts with the machine."""

IN_OWN_FOLDERS = """\
mount --bind "$TOP/sbin" /usr/sbin
mount --bind "$TOP/lib" /var/lib
exec "$TOP/tree/bin/setup" serve"""


class Machine:
    """A machine that knows only what `bin/setup` calls, with folders of its own."""

    def __init__(self, top: Path) -> None:
        self.top = top
        for folder in ("bin", "sbin", "lib", "tree/bin", "tree/.venv"):
            (top / folder).mkdir(parents=True)
        for name, text in STUBS.items():
            (top / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
            (top / "bin" / name).chmod(0o755)
        shutil.copy(SETUP, top / "tree/bin")
        (top / "tree/pyproject.toml").touch()
        (top / "tree/bin/packages.debian").write_text("serve  package\n")
        setup = SETUP.read_bytes()
        done = subprocess.run(["cksum"], input=setup, check=True, capture_output=True)
        (top / "tree/.venv/.rackseed-setup").write_bytes(done.stdout.strip())
        (top / "units").write_text("own.service\n")

    def start(self) -> "subprocess.Popen[str]":
        path = f"{self.top / 'bin'}:/usr/bin:/bin"
        return subprocess.Popen(
            ["unshare", "--mount", "sh", "-ec", IN_OWN_FOLDERS],
            env={"PATH": path, "TOP": str(self.top)},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def start_until_in_the_middle(self) -> "subprocess.Popen[str]":
        (self.top / "slow").touch()
        running = self.start()
        deadline = time.monotonic() + 20
        while not (self.top / "in-the-middle").exists():
            assert time.monotonic() < deadline, "it did not come so far"
            time.sleep(0.01)
        (self.top / "slow").unlink()
        return running

    def units(self) -> list[str]:
        return (self.top / "units").read_text().split()

    def left(self) -> list[str]:
        return sorted(path.name for name in ("sbin", "lib") for path in (self.top / name).iterdir())


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    require_root()
    return Machine(tmp_path)


def test_setup_lets_no_daemon_start_now_or_with_the_machine(machine):
    running = machine.start()
    said = running.communicate(timeout=20)[1]
    assert (running.returncode, said) == (0, "installing: package\n")
    assert "forbidden: 101" in (machine.top / "called").read_text()
    assert (machine.units(), machine.left()) == (["own.service"], [])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_setup_lets_no_daemon_start_when_it_is_interrupted(machine, number):
    running = machine.start_until_in_the_middle()
    os.killpg(running.pid, number)
    running.communicate(timeout=20)
    assert running.returncode == 130
    assert (machine.units(), machine.left()) == (["own.service"], [])


def test_setup_lets_no_daemon_start_when_packages_cannot_be_installed(machine):
    (machine.top / "broken").touch()
    running = machine.start()
    running.communicate(timeout=20)
    assert running.returncode == 100
    assert (machine.units(), machine.left()) == (["own.service"], [])


def test_setup_mends_what_a_killed_one_left(machine):
    running = machine.start_until_in_the_middle()
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate(timeout=20)
    assert machine.left() == ["policy-rc.d", "rackseed-setup"]  # no daemon starts meanwhile
    again = machine.start()
    said = again.communicate(timeout=20)[1]
    assert said == "an earlier run was cut off: its daemons are kept off now\n"
    assert "dpkg --configure -a" in (machine.top / "called").read_text()
    assert (machine.units(), machine.left()) == (["own.service"], [])


def test_two_setups_do_not_meet(machine):
    first = machine.start_until_in_the_middle()
    (machine.top / "installed").unlink()
    second = machine.start()
    said = second.communicate(timeout=20)[1]
    assert (second.returncode, said.splitlines()) == (
        2,
        ["error: bin/setup: another one installs packages on this machine", " hint: wait for it"],
    )
    assert machine.left() == ["policy-rc.d", "rackseed-setup"]
    os.killpg(first.pid, signal.SIGINT)
    first.communicate(timeout=20)
    assert machine.left() == []


def test_setup_leaves_a_policy_that_is_not_its_own(machine):
    policy = machine.top / "sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    running = machine.start()
    running.communicate(timeout=20)
    assert machine.left() == ["policy-rc.d"]
