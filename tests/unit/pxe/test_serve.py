"""A plane's process from the first signal to its end."""

import dataclasses
import os
import signal
import time
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from pxe.serve import BootServer, serve_http
from tests.sites import LOOPBACK, SETTINGS, MemorySite


@contextmanager
def slow_to_close(note: Path, plane: str):
    """A site that writes what it still has when the plane ends."""
    yield MemorySite()
    note.write_text("closing")
    time.sleep(0.5)
    note.write_text("closed")


def serve(note: Path) -> None:
    server = BootServer(
        settings=dataclasses.replace(SETTINGS, address=LOOPBACK, http_port=0),
        open_site=partial(slow_to_close, note),
        programs={},
        artifacts=note.parent,
    )
    serve_http(server, lambda: lambda: note.write_text("serving"))


def until(note: Path, said: str) -> None:
    deadline = time.monotonic() + 20
    while not note.exists() or note.read_text() != said:
        assert time.monotonic() < deadline, f"not {said} within 20 seconds"
        time.sleep(0.02)


def test_sigterm_again_takes_nothing_from_a_plane_that_is_ending(tmp_path):
    """It comes twice from who ends the whole group, as systemd does, beside the supervisor."""
    note = tmp_path / "note"
    process = get_context("spawn").Process(target=serve, args=(note,))
    process.start()
    try:
        until(note, "serving")
        os.kill(process.pid, signal.SIGTERM)
        until(note, "closing")
        os.kill(process.pid, signal.SIGTERM)
        process.join(20)
        assert (process.exitcode, note.read_text()) == (0, "closed")
    finally:
        process.kill()
        process.join()
