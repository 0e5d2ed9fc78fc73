"""The supervisor, with real processes."""

import os
import signal
import sys
import threading
import time
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pytest

from pxe.errors import PxeError
from pxe.supervise import Plane, PlaneFailed, restart_delay, supervise


def wait_for_term(note: Path, ready) -> None:
    with note.open("a") as file:
        file.write(f"{os.getpid()}\n")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    ready()
    stop.wait()


def refuse(ready) -> None:
    raise PxeError("port 69 is taken")


def nothing() -> None:
    pass


def supervisor(notes: list[Path]) -> None:
    planes = [Plane(note.stem, partial(wait_for_term, note)) for note in notes]
    supervise(planes, nothing, nothing)


def pids(note: Path) -> list[int]:
    return [int(line) for line in note.read_text().split()] if note.exists() else []


def until(condition) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in 20 seconds"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.fixture
def running(tmp_path):
    sys.stdout.flush()
    notes = [tmp_path / "one", tmp_path / "two"]
    process = get_context("spawn").Process(target=supervisor, args=(notes,))
    process.start()
    until(lambda: all(pids(note) for note in notes))
    yield process, notes
    process.kill()
    process.join()
    until(lambda: not any(alive(pid) for note in notes for pid in pids(note)))


def test_a_plane_that_dies_is_started_again(running):
    _, (one, two) = running
    os.kill(pids(one)[0], signal.SIGKILL)
    until(lambda: len(pids(one)) == 2)
    assert alive(pids(one)[1])
    assert len(pids(two)) == 1


def test_all_planes_end_with_the_supervisor_even_when_it_is_killed(running):
    process, notes = running
    process.kill()
    until(lambda: not any(alive(pid) for note in notes for pid in pids(note)))


def test_sigterm_ends_everything_in_order(running):
    process, notes = running
    os.kill(process.pid, signal.SIGTERM)
    process.join(10)
    assert process.exitcode == 0
    assert not any(alive(pid) for note in notes for pid in pids(note))


def test_a_plane_that_cannot_start_is_named_and_nothing_is_left(tmp_path):
    note = tmp_path / "note"
    planes = [Plane("http", partial(wait_for_term, note)), Plane("tftp-0", refuse)]
    with pytest.raises(PlaneFailed, match="tftp-0: port 69 is taken"):
        supervise(planes, nothing, nothing)
    assert not alive(pids(note)[0])


def test_restarts_come_at_growing_distances():
    assert [restart_delay(deaths) for deaths in (1, 2, 3, 4, 5, 9)] == [0.2, 0.5, 1, 2, 5, 5]
