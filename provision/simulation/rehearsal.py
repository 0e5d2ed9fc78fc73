"""A rehearsal: the real server, one virtual machine per host, and an eye on all of them."""

import logging
import re
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from provision.arming import arm
from provision.inventory.model import Host
from provision.run import Child, start
from provision.simulation import guests, phases
from provision.simulation.faults import Faults
from provision.simulation.guests import Accelerator, Guest
from provision.simulation.phases import LOST_REASON, Goal, Phase, Progress
from provision.simulation.server import Server
from provision.simulation.tools import Tool
from provision.store import Store

log = logging.getLogger(__name__)

LOOK_EVERY = 0.25
"""Seconds between two looks at events, consoles and processes."""
EVENTS_AT_ONCE = 2_000
CONSOLE_TAIL = 64 * 1024
"""Bytes of a console that are kept in mind while something is looked for in it."""
AFTERMATH = timedelta(seconds=3)
"""What a machine did just before it went off may still be on its way to the store."""
CONTROL = re.compile(r"\x1b\[[0-9;?=]*[A-Za-z]|\x1b[()][A-Z0-9]|[\x00-\x09\x0b-\x1f\x7f]")
"""Terminal sequences (ECMA-48) and control characters other than line feed."""
TOKEN = re.compile(r"((?:answer|report)/)[\w-]{16,}")
SHOWN_LINES = 12
"""Lines of a failed machine's console that are shown."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is rehearsed and with what."""

    hosts: tuple[Host, ...]
    goal: Goal
    accelerator: Accelerator
    at_once: int
    timeout: float
    """Seconds that one machine may take from power-on."""
    folder: Path
    """Scratch space; gone afterwards."""
    logs: Path
    """Consoles and the server's log; kept."""
    tools: Mapping[Tool, Path]
    own_images: Mapping[str, int] = field(default_factory=dict)
    """By host: bytes that its own image needs, where not the marker is written."""
    power_cycles: int = 0
    """How often a machine whose firmware gave up is switched off and on, as its operator would."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All machines at one moment."""

    at: datetime
    machines: tuple[tuple[Host, Progress], ...]

    @property
    def is_over(self) -> bool:
        """Every machine has arrived or failed."""
        return all(progress.phase.is_over for _, progress in self.machines)

    @property
    def furthest(self) -> Phase:
        """Of the machines that are still on their way."""
        return max(
            (p.phase for _, p in self.machines if not p.phase.is_over), default=Phase.WAITING
        )

    @property
    def all_arrived(self) -> bool:
        """The rehearsal is a success."""
        return all(progress.phase is Phase.ARRIVED for _, progress in self.machines)


@dataclass(slots=True)
class Machine:
    """One guest while it is rehearsed."""

    guest: Guest
    progress: Progress = field(default_factory=Progress)
    process: Child | None = None
    console: bytes = b""
    ended: datetime | None = None
    """When its process was found to have ended by itself."""
    read: int = 0
    """Bytes of the console file that were looked at."""
    cycles: int = 0
    newest: list[str] = field(default_factory=list)
    """The last events in words, for the report of a failure."""


Watch = Callable[[Snapshot], None]


class Rehearsal:
    """Runs a plan. To be used once, from the main thread, inside a world of its own."""

    def __init__(self, plan: Plan, server: Server, store: Store, faults: Faults) -> None:
        self.plan = plan
        self.server = server
        self.store = store
        self.faults = faults
        self.machines = {
            host.name: Machine(
                guests.guest(host, number, plan.folder, plan.logs, plan.own_images.get(host.name))
            )
            for number, host in enumerate(plan.hosts)
        }
        self._seen = 0

    def run(self, watch: Watch) -> Snapshot:
        """Boot everything; returns when each machine has arrived or failed.

        Raises ProgramFailed when the server ends by itself.
        """
        with ExitStack() as stack:
            stack.callback(self._hide_tokens)
            stack.callback(self._switch_off_all)
            if self.plan.goal is not Goal.RAMDISK:
                arm(self.store, [host.name for host in self.plan.hosts])
            while not (snapshot := self._look()).is_over:
                watch(snapshot)
                self._switch_on_next()
                self.faults.inflict(snapshot.furthest, self.server)
                self.server.require_alive()
                time.sleep(LOOK_EVERY)
            watch(snapshot)
            return snapshot

    def last_words(self, name: str) -> list[str]:
        """The last lines on a machine's console."""
        text = readable(self.machines[name].console.decode(errors="replace"))
        return [line for line in text.splitlines() if line.strip()][-SHOWN_LINES:]

    def last_events(self, name: str) -> list[str]:
        """The last things that the server noted of a machine."""
        return self.machines[name].newest

    def _look(self) -> Snapshot:
        now = datetime.now(UTC)
        self._read_events()
        for machine in self.machines.values():
            if machine.process is None:
                continue  # its turn has not come, or it is over
            before = machine.progress
            self._read_console(machine, now)
            if machine.progress.reason == LOST_REASON and machine.cycles < self.plan.power_cycles:
                machine.progress = before
                self._cycle_power(machine)
            self._judge(machine, now)
            if machine.progress.phase.is_over:
                self._read_inspection(machine)
                _switch_off(machine)
        pairs = tuple((m.guest.host, m.progress) for m in self.machines.values())
        return Snapshot(now, pairs)

    def _read_events(self) -> None:
        while events := self.store.events(after_id=self._seen, limit=EVENTS_AT_ONCE):
            self._seen = events[-1].id
            for event in events:
                machine = self.machines.get(event.host or "")
                if machine is None:
                    continue
                machine.progress = phases.after_event(machine.progress, event, self.plan.goal)
                words = f"{event.at:%H:%M:%S} {event.service} {event.kind} {event.subject}"
                line = f"{words} {event.reason}".strip()
                machine.newest = [*machine.newest[-5:], line]

    def _read_console(self, machine: Machine, now: datetime) -> None:
        try:
            with machine.guest.console.open("rb") as console:
                console.seek(machine.read)
                new = console.read()
        except FileNotFoundError:
            return
        machine.read += len(new)
        machine.console = (machine.console + new)[-CONSOLE_TAIL:]
        text = machine.console.decode(errors="replace")
        machine.progress = phases.after_console(machine.progress, text, now, self.plan.goal)

    def _read_inspection(self, machine: Machine) -> None:
        """What the machine reported of Secure Boot, if it was inspected, counts most."""
        for newest in self.store.inspections(machine.guest.host.name)[:1]:
            said = newest.report.get("secure_boot")
            if isinstance(said, bool):
                machine.progress = replace(machine.progress, secure_boot=said)

    def _judge(self, machine: Machine, now: datetime) -> None:
        """Fail a machine that ended by itself or takes too long."""
        progress = machine.progress
        if progress.phase.is_over or machine.process is None:
            return
        status = machine.process.poll()
        age = (now - progress.marks[0].at).total_seconds()
        if status is not None:
            if _ended_long_ago(machine, now):
                why = machine.process.failure() if status else "the machine switched itself off"
                machine.progress = phases.reached(progress, Phase.FAILED, now, str(why))
        elif age > self.plan.timeout:
            why = f"not there after {self.plan.timeout:.0f} s; it got as far as: "
            machine.progress = phases.reached(
                progress, Phase.FAILED, now, why + progress.phase.words
            )

    def _switch_on_next(self) -> None:
        running = sum(machine.process is not None for machine in self.machines.values())
        for machine in self.machines.values():
            if running >= self.plan.at_once:
                return
            if machine.progress.phase is Phase.WAITING:
                self._switch_on(machine)
                running += 1

    def _switch_on(self, machine: Machine) -> None:
        guest = machine.guest
        with guest.disk.open("wb") as disk:
            disk.truncate(guest.disk_bytes)
        files = guests.firmware_files(guest.host)
        if guest.variables is not None and files is not None:
            shutil.copyfile(self.plan.tools[files[1]], guest.variables)
        self._start(machine)
        machine.progress = phases.reached(machine.progress, Phase.POWER, datetime.now(UTC))

    def _cycle_power(self, machine: Machine) -> None:
        log.warning("switching off and on host=%s: %s", machine.guest.host.name, LOST_REASON)
        if machine.process is not None:
            machine.process.stop(grace=2)
        machine.cycles += 1
        machine.console, machine.ended = b"", None
        self._start(machine)

    def _start(self, machine: Machine) -> None:
        machine.process = start(
            guests.argv(machine.guest, self.plan.tools, self.plan.accelerator),
            stderr=self.plan.logs / f"{machine.guest.host.name}.qemu.log",
        )

    def _hide_tokens(self) -> None:
        """Kernels print their command line; the consoles that are kept must not tell tokens."""
        for machine in self.machines.values():
            with suppress(FileNotFoundError):
                whole = machine.guest.console.read_text(encoding="utf-8", errors="replace")
                machine.guest.console.write_text(readable(whole), encoding="utf-8")

    def _switch_off_all(self) -> None:
        for machine in self.machines.values():
            _switch_off(machine)


def _switch_off(machine: Machine) -> None:
    if machine.process is not None:
        machine.process.stop(grace=2)
        machine.process = None
    machine.guest.disk.unlink(missing_ok=True)


def readable(text: str) -> str:
    """A console without what steers a terminal, and without the tokens of single-use URLs."""
    return TOKEN.sub(r"\1…", CONTROL.sub("", text.replace("\r", "\n")))


def _ended_long_ago(machine: Machine, now: datetime) -> bool:
    if machine.ended is None:
        machine.ended = now
    return now - machine.ended > AFTERMATH
