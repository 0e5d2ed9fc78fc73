"""What Ctrl-C does to a real process, at whatever moment it comes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

LIMIT = 50
"""Seconds for what takes less than one on a machine that has nothing else to do."""
RUN = "from provision.cli.start import rackseed; rackseed()"
INTERRUPT_AT_IMPORT = """
import os, signal, sys
class Finder:
    def find_spec(name, path, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder)
"""
INTERRUPT_AT_EXIT = """
import atexit, os, signal
atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT))
"""


def run(before: str, *arguments: str) -> tuple[int, str]:
    """Status and stderr of `rackseed`, after some Python of a test's."""
    code = f"{before}\n{RUN}"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=LIMIT, check=False,
    )  # fmt: skip
    return done.returncode, done.stderr


@pytest.mark.parametrize("module", ["typer", "provision.cli.check", "yaml"])
def test_while_modules_are_loaded_it_is_status_130_without_a_word(module):
    before = INTERRUPT_AT_IMPORT.format(module=module)
    assert run(before, "check", "-i", "no/such/file") == (130, "")


def test_after_the_work_is_done_it_changes_nothing():
    assert run(INTERRUPT_AT_EXIT, "--version") == (0, "")


@pytest.fixture
def waiting(tmp_path: Path) -> Iterator[Callable[..., tuple[subprocess.Popen[bytes], int]]]:
    """Starts `rackseed check` on an inventory that nobody has written yet."""
    fifo = tmp_path / "rack.yaml"
    os.mkfifo(fifo)
    processes = []

    def start(prepare: Callable[[], object] | None = None) -> tuple[subprocess.Popen[bytes], int]:
        process = subprocess.Popen(
            [sys.executable, "-c", RUN, "check", "-i", str(fifo)],
            stderr=subprocess.PIPE, preexec_fn=prepare,
        )  # fmt: skip
        processes.append(process)
        writer = open_when_read(fifo, process)
        until_it_sleeps(process.pid)
        return process, writer

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def open_when_read(fifo: Path, reader: subprocess.Popen[bytes]) -> int:
    deadline = time.monotonic() + LIMIT
    while True:
        try:
            return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            assert reader.poll() is None, "it ended before it read"
            assert time.monotonic() < deadline, "nobody reads it"
            time.sleep(0.02)


def until_it_sleeps(pid: int) -> None:
    """Until it waits in read(): it woke when we opened, and no signal interrupts that moment."""
    deadline = time.monotonic() + LIMIT
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "S":
        assert time.monotonic() < deadline, "it does not wait"
        time.sleep(0.02)


def test_while_a_command_waits_it_is_status_130_without_a_word(waiting):
    process, writer = waiting()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=LIMIT)
    os.close(writer)
    assert (process.returncode, errors) == (130, b"")


def test_it_is_not_for_a_job_in_the_background(waiting):
    """A shell without job control has such a job ignore SIGINT from its start."""
    process, writer = waiting(lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    process.send_signal(signal.SIGINT)
    os.write(writer, b"nonsense: 1\n")
    os.close(writer)
    _, errors = process.communicate(timeout=LIMIT)
    assert process.returncode == 2
    assert b"no section of an inventory" in errors
