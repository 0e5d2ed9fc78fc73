"""However a rehearsal ends, nothing of it is left."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import rehearsal
from tests.rehearsal import EXAMPLE, require_simulator

pytestmark = pytest.mark.timeout(240)

GENERATIONS = ("the command", "unshare", "the world's first process")
STOPPED_WITHIN = 8
"""Seconds from the signal to the last process's end."""


@pytest.fixture
def running(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A rehearsal of two machines that have been offered an address."""
    require_simulator()
    options = ("--host", "ctl01", "--host", "cmp02", "--keep", str(tmp_path / "logs"))
    process = rehearsal.start(tmp_path, EXAMPLE, *options)
    try:
        rehearsal.wait_for_line(process, "dhcp")
        assert len(rehearsal.processes_of(tmp_path)) >= 7  # two QEMU, four of the server, ours
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_asked_to_end_it_says_so_and_leaves_nothing(
    running: subprocess.Popen[str], tmp_path: Path, number: signal.Signals
) -> None:
    links = rehearsal.links()
    running.send_signal(number)
    said, _ = running.communicate(timeout=STOPPED_WITHIN)
    assert running.returncode == 130
    assert "interrupted: every machine is off" in said
    assert "Traceback" not in said
    assert rehearsal.wait_until_gone(tmp_path, 1) == {}
    assert list((tmp_path / "scratch").iterdir()) == []
    assert rehearsal.links() == links
    assert not {name for name in rehearsal.namespaces() if "simul" in name}


@pytest.mark.parametrize("victim", GENERATIONS)
def test_killed_without_a_warning_its_processes_die_and_the_next_run_removes_its_files(
    running: subprocess.Popen[str], tmp_path: Path, victim: str
) -> None:
    os.kill(chain(running.pid)[GENERATIONS.index(victim)], signal.SIGKILL)
    assert rehearsal.wait_until_gone(tmp_path) == {}
    assert running.wait(5) in (-signal.SIGKILL, 1)
    left = list((tmp_path / "scratch").glob("*/run-*"))
    assert len(left) == 1, "there is nothing for the next run to remove"

    options = ("--host", "ctl01", "--to", "ramdisk", "--timeout", "1")
    done = rehearsal.simulate(tmp_path, EXAMPLE, *options, "--keep", str(tmp_path / "logs"))
    assert done.returncode == 1
    assert "ctl01: not there after 1 s" in done.stderr
    assert list((tmp_path / "scratch").iterdir()) == []


def chain(pid: int) -> list[int]:
    """A process, its first child, that one's, and so on."""
    found = [pid]
    while children := Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        pid = int(children[0])
        found.append(pid)
        if len(found) == 3:
            break
    return found
