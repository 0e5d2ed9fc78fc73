"""The one place that starts programs."""

import ctypes
import logging
import os
import select
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from provision.errors import ProgramFailed

log = logging.getLogger(__name__)

PR_SET_PDEATHSIG = 1
"""prctl(2): the signal that the kernel sends us when our parent thread ends."""

LAST_LINES = 5
"""How much of a failed program's stderr an error quotes."""

SIGNAL_STATUS = 128
"""A shell counts death by signal N as status 128 + N."""


def run(argv: Sequence[str], *, env: Mapping[str, str] | None = None, timeout: float = 600) -> str:
    """Run one program to its end and return its standard output.

    `env` is added to our own environment, `timeout` is in seconds. Never put a secret into
    `argv`: it is logged, and every user of the machine can read it.

    Raises ProgramFailed with the last lines of its stderr.
    """
    log.info("+ %s", shlex.join(argv))
    try:
        done = subprocess.run(
            argv,
            env=_environment(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise ProgramFailed(argv, None, _why(error)) from error
    except subprocess.TimeoutExpired as error:
        late = f"killed because it took longer than {timeout:g} seconds"
        raise ProgramFailed(argv, SIGNAL_STATUS + signal.SIGKILL, late) from error
    if done.returncode:
        raise ProgramFailed(argv, _status(done.returncode), _last_lines(done.stderr))
    return done.stdout


def start(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    stdout: Path | None = None,
    stderr: Path | None = None,
    pass_fds: Sequence[int] = (),
    prepare: Callable[[], None] | None = None,
) -> "Child":
    """Start a program that runs beside us, in a process group of its own.

    It dies with the thread that started it (PR_SET_PDEATHSIG), also by kill -9: start from a
    thread that lives as long as the child should, such as the main thread. Output goes to the
    files named, appended, or is dropped. `prepare` runs in the child just before the program,
    for example to enter a namespace; it must not take locks.

    Raises ProgramFailed when it cannot be started, OSError when its output has no place.
    """
    log.info("+ %s", shlex.join(argv))
    parent = os.getpid()

    def before_exec() -> None:
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the kernel knew our wish
            os._exit(SIGNAL_STATUS + signal.SIGKILL)
        if prepare is not None:
            prepare()

    with _sink(stdout) as out, _sink(stderr) as err:
        try:
            process = subprocess.Popen(
                argv,
                env=_environment(env),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                pass_fds=tuple(pass_fds),
                process_group=0,
                preexec_fn=before_exec,
            )
        except OSError as error:
            raise ProgramFailed(argv, None, _why(error)) from error
        except subprocess.SubprocessError as error:
            raise ProgramFailed(argv, None, f"preparing it failed: {error}") from error
    return Child(argv, process, stderr)


class Child:
    """A program that runs beside us; as a context manager it is stopped at the end."""

    def __init__(
        self, argv: Sequence[str], process: "subprocess.Popen[bytes]", stderr: Path | None
    ) -> None:
        self.argv = tuple(argv)
        self.pid = process.pid
        self._process = process
        self._stderr = stderr

    def poll(self) -> int | None:
        """The status it ended with (128 + N for signal N), or None while it runs.

        What is left of its process group when it ends is killed.
        """
        if self._process.returncode is None and self._ended():
            with suppress(PermissionError):  # a program that becomes root, as mock, is not ours
                self._signal(signal.SIGKILL)  # not reaped yet, so its number is still its own
            self._process.wait()
        code = self._process.returncode
        return None if code is None else _status(code)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, at most `timeout` seconds; returns the status as `poll` does.

        Raises TimeoutError.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while (status := self.poll()) is None:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise TimeoutError(f"{self.argv[0]} still runs after {timeout:g} seconds")
            self._await_end(left)
        return status

    def stop(self, grace: float = 5) -> int:
        """End its process group: SIGTERM, and SIGKILL after `grace` seconds; returns the status."""
        if self.poll() is None:
            self._signal(signal.SIGTERM)
            with suppress(TimeoutError):
                return self.wait(grace)
            self._signal(signal.SIGKILL)
        return self.wait()

    def failure(self) -> ProgramFailed:
        """The error that tells how it ended, with the last lines of its stderr file."""
        text = ""
        if self._stderr is not None:
            with suppress(OSError):
                text = self._stderr.read_text(encoding="utf-8", errors="replace")
        return ProgramFailed(self.argv, self.poll(), _last_lines(text))

    def _ended(self) -> bool:
        flags = os.WEXITED | os.WNOWAIT | os.WNOHANG
        return os.waitid(os.P_PID, self.pid, flags) is not None

    def _await_end(self, timeout: float | None) -> None:
        pidfd = os.pidfd_open(self.pid)
        try:
            waiter = select.poll()  # select() knows no descriptor above 1023
            waiter.register(pidfd, select.POLLIN)
            waiter.poll(None if timeout is None else timeout * 1000)
        finally:
            os.close(pidfd)

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


_LIBC = ctypes.CDLL(None, use_errno=True)


def _sink(path: Path | None) -> IO[bytes]:
    return Path(os.devnull).open("wb") if path is None else path.open("ab")


def _environment(extra: Mapping[str, str] | None) -> dict[str, str]:
    base = {name: value for name, value in os.environ.items() if not name.startswith("LC_")}
    return base | {"LANG": "C.UTF-8"} | dict(extra or {})


def _status(returncode: int) -> int:
    return SIGNAL_STATUS - returncode if returncode < 0 else returncode


def _why(error: OSError) -> str:
    return error.strerror or str(error)


def _last_lines(text: str) -> str:
    return "\n".join(text.rstrip().splitlines()[-LAST_LINES:])
