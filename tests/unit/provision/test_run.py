"""Programs are started in one way, and their failures say why."""

import logging
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from provision.errors import ProgramFailed
from provision.run import run, start


def sh(script: str) -> list[str]:
    return ["/bin/sh", "-c", script]


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 10
    while is_running(pid):
        assert time.monotonic() < deadline, f"process {pid} still runs"
        time.sleep(0.02)


def test_standard_output_is_returned():
    assert run(sh("echo a; echo b >&2")) == "a\n"


def test_the_environment_is_added_to_ours_and_the_locale_is_fixed(monkeypatch):
    monkeypatch.setenv("LC_ALL", "de_DE")
    monkeypatch.setenv("KEPT", "yes")
    text = run(sh('echo "$LANG ${LC_ALL-unset} $KEPT $ADDED"'), env={"ADDED": "too"})
    assert text == "C.UTF-8 unset yes too\n"


def test_standard_input_is_closed():
    assert run(sh("cat; echo end")) == "end\n"


def test_a_failure_quotes_status_and_last_lines_of_stderr():
    with pytest.raises(ProgramFailed) as caught:
        run(sh("for i in 1 2 3 4 5 6 7; do echo line $i >&2; done; exit 9"))
    assert caught.value.status == 9
    assert caught.value.last_lines == "line 3\nline 4\nline 5\nline 6\nline 7"
    assert str(caught.value).startswith("/bin/sh ended with status 9: line 3\n")


def test_death_by_signal_counts_as_in_the_shell():
    with pytest.raises(ProgramFailed) as caught:
        run(sh("kill -9 $$"))
    assert caught.value.status == 137


def test_a_missing_program_is_a_failure_with_its_name():
    with pytest.raises(ProgramFailed, match="no-such-program could not be started: No such file"):
        run(["no-such-program"])


def test_a_program_that_hangs_is_killed():
    with pytest.raises(ProgramFailed, match=r"longer than 0\.1 seconds"):
        run(["sleep", "60"], timeout=0.1)


def test_the_log_line_can_be_pasted_into_a_shell(caplog):
    caplog.set_level(logging.INFO)
    run(["printf", "%s", "a b;c"])
    assert caplog.messages == ["+ printf %s 'a b;c'"]


def test_a_child_writes_to_its_files_and_tells_its_status(tmp_path):
    child = start(
        sh("echo out; echo err >&2; exit 4"), stdout=tmp_path / "o", stderr=tmp_path / "e"
    )
    assert child.wait(10) == 4
    assert (tmp_path / "o").read_text(encoding="utf-8") == "out\n"
    assert child.failure().last_lines == "err"


def test_output_that_has_no_place_is_not_the_programs_failure(tmp_path):
    with pytest.raises(FileNotFoundError, match="none/o"):
        start(["true"], stdout=tmp_path / "none" / "o")


def test_stopping_a_child_ends_its_children_too(tmp_path):
    with start(sh("sleep 600 & echo $!; wait"), stdout=tmp_path / "o") as child:
        while not (text := (tmp_path / "o").read_text(encoding="utf-8")):
            time.sleep(0.01)
        assert is_running(int(text))
    assert child.poll() == 128 + signal.SIGTERM
    wait_until_gone(int(text))


def test_what_a_child_leaves_behind_is_killed_when_its_end_is_noticed(tmp_path):
    child = start(sh("sleep 600 & echo $!"), stdout=tmp_path / "o")
    assert child.wait(10) == 0
    wait_until_gone(int((tmp_path / "o").read_text(encoding="utf-8")))


def test_the_end_of_a_program_that_became_root_is_noticed(monkeypatch):
    def not_ours(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "killpg", not_ours)
    assert start([sys.executable, "-c", "raise SystemExit(3)"]).wait(20) == 3


def test_a_child_that_ignores_sigterm_is_killed(tmp_path):
    child = start(sh("trap '' TERM; echo up; sleep 600"), stdout=tmp_path / "o")
    while not (tmp_path / "o").read_text(encoding="utf-8"):
        time.sleep(0.01)
    assert child.stop(grace=0.2) == 128 + signal.SIGKILL


def test_waiting_too_long_is_a_timeout():
    with start(["sleep", "600"]) as child, pytest.raises(TimeoutError, match="still runs"):
        child.wait(0.05)


def test_a_child_dies_with_us_even_by_kill_9(tmp_path):
    script = (
        "from pathlib import Path\nfrom provision.run import start\nimport os, signal, sys\n"
        "child = start(['sleep', '600'])\nprint(child.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    parent = start([sys.executable, "-c", script], stdout=tmp_path / "o", stderr=tmp_path / "e")
    assert parent.wait(30) == 137, (tmp_path / "e").read_text(encoding="utf-8")
    wait_until_gone(int((tmp_path / "o").read_text(encoding="utf-8")))


def test_an_inherited_descriptor_keeps_its_number(tmp_path):
    reader, writer = os.pipe()
    with start(sh(f"echo hello >/proc/self/fd/{writer}"), pass_fds=[writer]) as child:
        os.close(writer)
        assert child.wait(10) == 0
    assert os.read(reader, 100) == b"hello\n"
    os.close(reader)


def test_a_failing_preparation_is_told():
    def prepare() -> None:
        raise OSError("no such namespace")

    with pytest.raises(ProgramFailed, match="preparing it failed"):
        start(["true"], prepare=prepare)
