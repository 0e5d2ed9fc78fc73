"""The real boot server under rehearsal, as a process of its own that may be killed."""

import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from provision.run import Child, start
from provision.simulation.errors import ServerNotReady

READY_LIMIT = 90.0
"""Seconds until the server serves: it may have to build the ramdisk first."""
START = "import signal; from provision.cli import start; start.rackseed(signal.SIGTERM)"
"""In a world of its own the first process hears only signals that it has asked for."""
READY_WORD = "serving "
"""How the line begins that `rackseed serve` prints once all its ports are open."""


def rackseed_argv(*words: str) -> list[str]:
    """Our own command by this interpreter, wherever we are installed."""
    return [sys.executable, "-c", START, *words]


def own_environment() -> dict[str, str]:
    """Lets `rackseed_argv` find the very packages that we were loaded from."""
    top = Path(__file__).resolve().parents[2]
    paths = [str(top), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}


class Server:
    """`rackseed serve` on an inventory; as a context manager it runs until the end."""

    def __init__(self, arguments: Sequence[str], logs: Path, scratch: Path) -> None:
        self.argv = rackseed_argv("-v", "serve", *arguments)
        self.log = logs / "server.log"
        self.kills = 0
        self._scratch = scratch
        self._starts = 0
        self._child: Child | None = None

    def start(self) -> None:
        """Start it and wait until it serves.

        Raises ProgramFailed when it ends instead, ServerNotReady when neither happens.
        """
        self._starts += 1
        said = self._scratch / f"server-{self._starts}.out"
        self._child = start(self.argv, env=own_environment(), stdout=said, stderr=self.log)
        deadline = time.monotonic() + READY_LIMIT
        while not said.read_text(encoding="utf-8").startswith(READY_WORD):
            self.require_alive()
            if time.monotonic() > deadline:
                raise ServerNotReady(f"the boot server is not ready after {READY_LIMIT:.0f} s")
            time.sleep(0.1)

    def require_alive(self) -> None:
        """Raises ProgramFailed with its last words when it has ended."""
        if self._child is not None and self._child.poll() is not None:
            raise self._child.failure()

    def kill(self) -> None:
        """End it and all its processes without a warning, as a power cut does."""
        if self._child is not None:
            self.kills += 1
            with suppress(ProcessLookupError):
                os.kill(self._child.pid, signal.SIGKILL)
            self._child.wait()

    def stop(self) -> None:
        """End it in good order."""
        if self._child is not None:
            self._child.stop()
            self._child = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
