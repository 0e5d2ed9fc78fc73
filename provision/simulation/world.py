"""A private network and process table that the kernel takes down with its last process.

The rehearsal runs again inside util-linux's unshare: network, processes and mounts of its own.
Nothing in there can be seen from the host's network, and when the first process inside ends,
by whatever signal, the kernel ends every other one and frees bridges and taps (see
docs/decisions/0005). Nothing needs root: an ordinary user is root inside, and only there.
"""

import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from provision.errors import ProgramFailed
from provision.run import SIGNAL_STATUS, run, start
from provision.simulation.errors import NoWorld, SimulationError

STOP_GRACE = 10.0
"""Seconds in which the rehearsal ends its machines and says so, before it is killed."""
INTERRUPTED = SIGNAL_STATUS + signal.SIGINT
ENDING = (signal.SIGTERM, signal.SIGHUP)
"""Treated as Ctrl-C; the rehearsal has something to tell and to put away."""


def unshare_argv(unshare: Path, *, root: bool) -> list[str]:
    """What comes before a command that is to run in a world of its own."""
    user = [] if root else ["--user", "--map-root-user"]
    spaces = ["--net", "--pid", "--mount", "--mount-proc", "--fork", "--kill-child"]
    return [str(unshare), *user, *spaces, "--"]


def enter(unshare: Path, argv: Sequence[str], env: Mapping[str, str]) -> int:
    """Run a command of ours in a new world, on our own output; returns its exit status.

    `env` is added to the environment. Raises NoWorld when the machine forbids it,
    SimulationError when somebody killed the command, and KeyboardInterrupt after it was
    stopped on Ctrl-C or any signal of ENDING.
    """
    prefix = unshare_argv(unshare, root=os.geteuid() == 0)
    _require_world(prefix)
    outputs = [os.dup(1), os.dup(2)]
    try:
        # The command is in a process group of its own, so Ctrl-C reaches only us.
        child = start([*prefix, *argv], env=env, prepare=lambda: _use_outputs(outputs))
    finally:
        for handle in outputs:
            os.close(handle)
    with endings_interrupt():
        try:
            status = child.wait()
        finally:
            with deaf():
                child.stop(STOP_GRACE)
    if status > SIGNAL_STATUS and status != INTERRUPTED:
        raise SimulationError(f"the rehearsal was ended by signal {status - SIGNAL_STATUS}")
    return status


@contextmanager
def endings_interrupt() -> Iterator[None]:
    """Have the signals that ask for an end raise KeyboardInterrupt, as Ctrl-C does.

    One that is ignored stays so: nohup and shells have what runs in the background ignore some.
    """
    numbers = (signal.SIGINT, *ENDING)
    heard = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    with _handled(heard, _interrupt):
        yield


@contextmanager
def deaf() -> Iterator[None]:
    """Ignore those signals while things are put away: a second Ctrl-C must not leave half."""
    with _handled((signal.SIGINT, *ENDING), signal.SIG_IGN):
        yield


@contextmanager
def held_back() -> Iterator[None]:
    """Let those signals wait, also in what is forked meanwhile, which must not end as we do."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, *ENDING))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _handled(
    numbers: Sequence[signal.Signals],
    handler: signal.Handlers | Callable[[int, FrameType | None], None],
) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _use_outputs(outputs: Sequence[int]) -> None:
    for target, handle in zip((1, 2), outputs, strict=True):
        os.dup2(handle, target)


def _require_world(prefix: Sequence[str]) -> None:
    try:
        run([*prefix, "true"], timeout=20)
    except ProgramFailed as failed:
        error = NoWorld(f"no private network can be made here: {failed.last_lines or failed}")
        error.add_note(
            "run as root, or allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, "
            "kernel.apparmor_restrict_unprivileged_userns=0)"
        )
        raise error from failed
