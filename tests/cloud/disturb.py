"""The making of a controller in which every step fails once, and what was seen of it."""

import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from tests.cloud import faults, state
from tests.cloud.faults import FAULTS, Fault
from tests.cloud.machine import Machine

CRASH = "40-keystone"
"""In this step every process of the machine ends while the first tables are made."""
TABLES = 12
"""Of Keystone's 40 or so, at that moment."""
STEP_S = 300
ONE_ATTEMPT = "[Service]\nEnvironment=ATTEMPTS=1\n"
"""Else a step that failed by chance is tried again after half a minute."""
COUNT = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'keystone'"


@dataclass(frozen=True)
class Stop:
    """A run that a failure ended."""

    fault: Fault
    begun: tuple[str, ...]
    """The steps that began in it."""
    done: tuple[str, ...]
    """The steps that counted as done after it."""
    last_words: str


class Watch:
    """Looks at the arguments of every process of a machine, which everybody there can see."""

    def __init__(self, machine: Machine, secrets: Mapping[str, str]) -> None:
        self._machine = machine
        self._secrets = {value.encode(): name for name, value in secrets.items()}
        self.seen: set[str] = set()
        self.looked = 0

    def look(self) -> None:
        """Look once."""
        for path in self._machine.root.glob("proc/[0-9]*/cmdline"):
            try:
                words = path.read_bytes()
            except OSError:
                continue
            self.looked += 1
            self.seen |= {f"{self._secrets[s]}: {words!r}" for s in self._secrets if s in words}

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Look five times a second."""
        end = threading.Event()

        def often() -> None:
            while not end.wait(0.2):
                self.look()

        thread = threading.Thread(target=often)
        thread.start()
        try:
            yield
        finally:
            end.set()
            thread.join()


def prepare(machine: Machine) -> None:
    """Before the machine starts for the first time."""
    folder = machine.upper / f"etc/systemd/system/{state.UNIT}.d"
    folder.mkdir(parents=True)
    (folder / "one-attempt.conf").write_text(ONE_ATTEMPT)
    faults.inject(machine.upper, FAULTS[0])


def disturb(machine: Machine, watch: Watch) -> Mapping[str, Stop]:
    """Start the machine and run its steps to their end; each stop, by the step that failed."""
    stops = {}
    machine.boot()
    with watch.looking():
        machine.wait_for(lambda: state.ended(machine), STEP_S)
    stops[FAULTS[0].step] = stop_at(machine, FAULTS[0], 0)
    for fault in FAULTS[1:]:
        before = len(begun(machine))
        if fault.step == CRASH:
            crash(machine)
            before += 2  # the step of the last failure, and this one until the crash
            faults.inject(machine.upper, fault)
            machine.boot()
            with watch.looking():
                machine.wait_for(lambda: state.ended(machine), STEP_S)
        else:
            faults.inject(machine.root, fault)
            with watch.looking():
                assert not run(machine), f"{fault} did not happen\n{machine.last_words()}"
        stops[fault.step] = stop_at(machine, fault, before)
    assert run(machine), machine.last_words()
    return stops


def run(machine: Machine) -> bool:
    """What an operator says when he has mended a host; whether all is done then."""
    machine.run("systemctl", "reset-failed", state.UNIT)
    return machine.try_run("systemctl", "start", state.UNIT).returncode == 0


def crash(machine: Machine) -> None:
    """End everything in the middle of Keystone's first migration."""
    machine.run("systemctl", "reset-failed", state.UNIT)
    machine.run("systemctl", "start", "--no-block", state.UNIT)
    count = ("mariadb", "--skip-column-names", "--execute", COUNT)
    machine.wait_for(lambda: int(machine.try_run(*count).stdout or 0) >= TABLES, STEP_S)
    machine.kill()


def stop_at(machine: Machine, fault: Fault, before: int) -> Stop:
    """What there is to see of the last run; its failure does not come again."""
    faults.remove(machine.root, fault)
    return Stop(
        fault,
        begun=tuple(begun(machine)[before:]),
        done=tuple(state.done(machine)),
        last_words="\n".join(state.log(machine).splitlines()[-4:]),
    )


def begun(machine: Machine) -> list[str]:
    """The steps that ever began, in order."""
    said = state.log(machine).splitlines()
    return [line.split()[2] for line in said if re.match(r"20\d\d-.* begins$", line)]
