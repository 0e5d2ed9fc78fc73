import threading
import time

import pytest

from provision.run import start
from rpmspecs.capture import Said, capture
from rpmspecs.errors import Stopped, ToolMissing


def test_what_a_program_said_is_told_whatever_its_status():
    said = capture(start, ["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert said == Said(3, "out\n", "err\n")


def test_a_program_that_is_not_there_is_named_with_its_package(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ToolMissing, match=r"rpmspec is not installed; it is in the package rpm on"):
        capture(start, ["rpmspec", "--version"])


def test_a_program_that_takes_too_long_is_ended():
    begin = time.monotonic()
    with pytest.raises(TimeoutError):
        capture(start, ["sleep", "60"], timeout=0.1)
    assert time.monotonic() - begin < 5


def test_a_program_can_be_stopped_from_another_thread():
    stopping = threading.Event()
    threading.Timer(0.1, stopping.set).start()
    with pytest.raises(Stopped):
        capture(start, ["sleep", "60"], stopping=stopping)
