"""The supervisor, with real processes."""

import logging
import os
import resource
import signal
import sys
import threading
import time
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pytest

from pxe import supervise as module
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


def never_ready(note: Path, ready) -> None:
    with note.open("a") as file:
        file.write(f"{os.getpid()}\n")
    time.sleep(60)


def ready_only_once(note: Path, ready) -> None:
    if note.exists():
        never_ready(note, ready)
    wait_for_term(note, ready)


def fail_later(note: Path, ready) -> None:
    sys.stderr = note.open("a")
    logging.basicConfig(stream=sys.stderr)
    ready()
    raise PxeError("netlink is gone")


def beat_and_hang(hang_first: bool, note: Path, ready) -> None:
    """The first process hangs after its first sign of life; the one after it does not."""
    first = not note.exists()
    with note.open("a") as file:
        file.write(f"{os.getpid()}\n")
    beat = ready()
    while True:
        beat()
        time.sleep(60 if first and hang_first else 0.05)


def watch_closely(hang_first: bool, note: Path) -> None:
    module.SILENCE_LIMIT = 1.0
    supervise([Plane("one", partial(beat_and_hang, hang_first, note))], nothing, nothing)


def note_blocked(note: Path, ready) -> None:
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    note.write_text(" ".join(signal.Signals(number).name for number in blocked))
    raise PxeError("seen enough")


def note_open_files(note: Path, ready) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    note.write_text(f"{soft} {hard}")
    raise PxeError("seen enough")


def nothing() -> None:
    pass


def supervise_one(run, note: Path, claim: str = "") -> None:
    supervise([Plane("one", partial(run, note), claim)], nothing, nothing)


@contextmanager
def supervised(run, note: Path, claim: str = ""):
    process = get_context("spawn").Process(target=supervise_one, args=(run, note, claim))
    process.start()
    until(lambda: note.exists() and note.read_text())
    yield process
    process.kill()
    process.join()


def supervisor(notes: list[Path]) -> None:
    planes = [Plane(note.stem, partial(wait_for_term, note)) for note in notes]
    supervise(planes, nothing, nothing)


def note_words(words: list[str], note: Path, ready) -> None:
    wait_for_term(note.with_name(words[-1]), ready)


def supervise_in_the_background(note: Path) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    supervise_one(wait_for_term, note)


def supervise_and_learn(note: Path) -> None:
    words = ["old"]
    plane = Plane("one", partial(note_words, words, note))
    supervise([plane], nothing, nothing, on_reload=partial(words.append, "new"))


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


def test_a_plane_that_starts_after_sighup_gets_what_the_reload_brought(tmp_path):
    process = get_context("spawn").Process(target=supervise_and_learn, args=(tmp_path / "note",))
    process.start()
    until(lambda: pids(tmp_path / "old"))
    os.kill(process.pid, signal.SIGHUP)  # this plane knows no SIGHUP and dies of it
    until(lambda: pids(tmp_path / "new"))
    process.terminate()
    process.join()
    assert len(pids(tmp_path / "old")) == 1


def test_all_planes_end_with_the_supervisor_even_when_it_is_killed(running):
    process, notes = running
    process.kill()
    until(lambda: not any(alive(pid) for note in notes for pid in pids(note)))


@pytest.mark.parametrize("hangs", [True, False])
def test_a_plane_that_hangs_is_killed_and_started_again_and_no_other(tmp_path, hangs):
    note = tmp_path / "note"
    process = get_context("spawn").Process(target=watch_closely, args=(hangs, note))
    process.start()
    until(lambda: len(pids(note)) == 1 + hangs)
    time.sleep(1.5)
    process.terminate()
    process.join()
    assert len(pids(note)) == 1 + hangs
    assert process.exitcode == 0
    assert not any(alive(pid) for pid in pids(note))


def test_sigterm_ends_everything_in_order(running):
    process, notes = running
    os.kill(process.pid, signal.SIGTERM)
    process.join(10)
    assert process.exitcode == 0
    assert not any(alive(pid) for note in notes for pid in pids(note))


def test_ctrl_c_is_not_for_a_server_in_the_background(tmp_path):
    note = tmp_path / "note"
    process = get_context("spawn").Process(target=supervise_in_the_background, args=(note,))
    process.start()
    until(lambda: pids(note))
    os.kill(process.pid, signal.SIGINT)
    os.kill(pids(note)[0], signal.SIGKILL)
    until(lambda: len(pids(note)) == 2)  # it serves on
    os.kill(process.pid, signal.SIGTERM)
    process.join(20)
    assert process.exitcode == 0


def test_a_plane_that_cannot_start_is_named_and_nothing_is_left(tmp_path):
    note = tmp_path / "note"
    planes = [Plane("http", partial(wait_for_term, note)), Plane("tftp-0", refuse, word="TFTP")]
    with pytest.raises(PlaneFailed, match=r"^TFTP: port 69 is taken"):
        supervise(planes, nothing, nothing)
    assert not alive(pids(note)[0])


def test_restarts_come_at_growing_distances():
    assert [restart_delay(deaths) for deaths in (1, 2, 3, 4, 5, 9)] == [0.2, 0.5, 1, 2, 5, 5]


@pytest.mark.parametrize("run", [never_ready, ready_only_once])
def test_sigterm_ends_it_also_while_a_plane_hangs_before_it_is_ready(tmp_path, run):
    note = tmp_path / "note"
    with supervised(run, note) as process:
        if run is ready_only_once:
            os.kill(pids(note)[0], signal.SIGKILL)
            until(lambda: len(pids(note)) == 2)
        os.kill(process.pid, signal.SIGTERM)
        process.join(8)
        assert process.exitcode == 0
        assert not any(alive(pid) for pid in pids(note))


def test_two_supervisors_never_serve_the_same_interface(tmp_path):
    claim = f"interface test{os.getpid()}"
    with supervised(wait_for_term, tmp_path / "first", claim):
        with pytest.raises(PlaneFailed, match=f"another rackseed serves {claim} already"):
            supervise_one(wait_for_term, tmp_path / "second", claim)
        assert not (tmp_path / "second").exists()
    with supervised(wait_for_term, tmp_path / "second", claim):
        pass  # also after the first was killed


def test_a_plane_that_fails_while_it_serves_says_why_in_one_line(tmp_path):
    with supervised(fail_later, tmp_path / "note"):
        until(lambda: "netlink is gone" in (tmp_path / "note").read_text())
    assert "Traceback" not in (tmp_path / "note").read_text()


def test_a_plane_may_open_more_files_than_a_login_shell(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
    try:
        with pytest.raises(PlaneFailed, match="seen enough"):
            supervise_one(note_open_files, tmp_path / "note")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    given = int((tmp_path / "note").read_text().split()[0])
    assert given == min(hard, 65536) if hard != resource.RLIM_INFINITY else 65536


class DiesWhileLookedAt:
    """A process that is alive at the first look and dead from the second on."""

    exitcode = pid = None

    def __init__(self) -> None:
        self.looks = 0
        self.sentinel, writer = os.pipe()
        os.close(writer)

    def is_alive(self) -> bool:
        self.looks += 1
        return self.looks == 1


@pytest.mark.timeout(20)
def test_a_plane_that_dies_between_two_looks_is_noticed(monkeypatch):
    child = module._Running(Plane("one", nothing), DiesWhileLookedAt())

    def end(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(module, "_restart", end)
    with module._Signals() as signals:
        module._watch([child], signals, nothing, nothing)
    assert child.deaths == 1
    os.close(child.process.sentinel)


def test_ctrl_c_reaches_no_plane_not_even_one_that_is_just_starting(tmp_path):
    note = tmp_path / "blocked"
    with pytest.raises(PlaneFailed, match="seen enough"):
        supervise_one(note_blocked, note)
    assert note.read_text() == "SIGINT"
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
