"""`rackseed simulate`: boot the whole rack as virtual machines against the real server."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.live import Live

from provision.cli import report
from provision.cli.options import DEFAULT_INVENTORY, JsonOption
from provision.cli.progress import logging_above
from provision.errors import BadInput
from provision.simulation.faults import Fault
from provision.simulation.phases import Goal, Phase
from provision.simulation.stage import KEPT_STORE, Wishes
from provision.simulation.world import endings_interrupt

if TYPE_CHECKING:
    from provision.inventory.model import Host, Inventory
    from provision.simulation.rehearsal import Plan, Snapshot, Watch

DEFAULT_LOGS = Path("rehearsal-logs")
WORLD = "RACKSEED_SIMULATION_WORLD"
"""Set for the command that runs inside a world of its own: the folder for its scratch space."""
CACHE = "RACKSEED_CACHE"
"""Tells `rackseed serve` where it keeps the ramdisk."""
REFRESH_PER_SECOND = 4
PLAIN_WIDTH = 120
"""Columns of the summary where no terminal tells its width."""


def simulate(
    path: Annotated[
        Path,
        typer.Argument(metavar="PATH", envvar="RACKSEED_INVENTORY", help="The inventory file."),
    ] = DEFAULT_INVENTORY,
    inventory: Annotated[
        Path | None,
        typer.Option("--inventory", "-i", metavar="PATH", help="The same, as other commands say."),
    ] = None,
    host: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this host; may be repeated.")
    ] = None,
    to: Annotated[Goal, typer.Option(help="How far each machine must come.")] = Goal.DISK,
    guests: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Machines at once; by default what cores and memory bear."
        ),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", min=1, help="Seconds that one machine may take."),
    ] = None,
    keep: Annotated[
        Path, typer.Option(metavar="DIR", help="Where consoles and the server's log are kept.")
    ] = DEFAULT_LOGS,
    fault: Annotated[
        list[Fault] | None,
        typer.Option(
            metavar="|".join(fault.value for fault in Fault),
            help="Make trouble while the rack boots.",
        ),
    ] = None,
    as_json: JsonOption = False,
    world: Annotated[Path | None, typer.Option(hidden=True, envvar=WORLD)] = None,
) -> int:
    """Boot the whole rack as virtual machines with real firmware, against the real server.

    Nothing outside is touched: the rehearsal has a network of its own, which no other machine
    can reach, and leaves only its logs. It needs no root. Each role's installation is replaced
    by a small disk image that proves it started; the way there is the real one: DHCP, boot
    program, script, kernel, ramdisk, single-use answer, report, and the second boot from disk.
    With --to system, images that `rackseed image stage` made are written themselves, and their
    cloud-init must report.

    Examples:
      rackseed simulate rack.yaml
      rackseed simulate rack.yaml --host cmp01 --to ramdisk
      rackseed simulate rack.yaml --fault server-kill --fault garbage
    """
    from provision.inventory.load import load

    loaded = load(inventory or path)
    chosen = choose_hosts(loaded, host or [])
    if world is None or os.getpid() != 1:
        return enter_world(loaded, chosen)
    wishes = Wishes(
        hosts=chosen,
        goal=to,
        logs=keep,
        faults=tuple(fault or ()),
        at_once=guests,
        timeout=timeout,
    )
    with endings_interrupt():
        return rehearse(loaded, wishes, world, as_json=as_json)


def choose_hosts(inventory: "Inventory", names: Sequence[str]) -> "tuple[Host, ...]":
    """The hosts to rehearse, in the order of the inventory; all when none is named.

    Raises BadInput.
    """
    from provision.inventory.problems import suggestion

    for name in names:
        if name not in inventory.hosts:
            error = BadInput(f"--host: there is no host '{name}' in {inventory.path}")
            error.add_note(suggestion(name, list(inventory.hosts)))
            raise error
    return tuple(host for host in inventory.hosts.values() if not names or host.name in names)


def enter_world(inventory: "Inventory", hosts: "Sequence[Host]") -> int:
    """Run the same command line once more, inside a world of its own."""
    from provision.cli.serve import default_cache
    from provision.simulation import tools, workspace, world
    from provision.simulation.server import own_environment, rackseed_argv
    from provision.simulation.stage import needed_tools

    found = tools.find_all(needed_tools(inventory, hosts))
    env = own_environment() | {WORLD: str(workspace.base_folder())}
    # Inside everybody is root and would look for the ramdisk in root's cache.
    env |= {CACHE: os.environ.get(CACHE) or str(default_cache())}
    return world.enter(found[tools.UNSHARE], rackseed_argv(*sys.argv[1:]), env)


def rehearse(
    inventory: "Inventory", wishes: "Wishes", base: Path, *, as_json: bool
) -> report.ExitStatus:
    """Boot, watch, tell."""
    from provision.simulation import view
    from provision.simulation.stage import stage

    people = Console(stderr=as_json, highlight=False)
    if not people.is_terminal:
        people = Console(stderr=as_json, highlight=False, width=PLAIN_WIDTH)
    try:
        with stage(inventory, wishes, base) as rehearsal:
            people.print(opening_line(rehearsal.plan), style="dim")
            with watching(people) as watch:
                outcome = rehearsal.run(watch)
            failures = {
                host.name: [*rehearsal.last_events(host.name), "", *rehearsal.last_words(host.name)]
                for host, progress in outcome.machines
                if progress.phase is Phase.FAILED
            }
            kills, garbage = rehearsal.server.kills, rehearsal.faults.garbage()
    except KeyboardInterrupt:
        people.print(f"interrupted: every machine is off; consoles are in {wishes.logs}")
        raise
    if as_json:
        logs = str(wishes.logs)
        accelerator = rehearsal.plan.accelerator.name
        report.print_json(
            view.facts(
                outcome, accelerator=accelerator, logs=logs, server_kills=kills, garbage=garbage
            )
        )
    else:
        show_outcome(people, outcome, failures, inventory.path, wishes.logs)
        if garbage is not None:
            people.print(
                f"garbage: {garbage['frames']:,} frames, {garbage['frames_per_second']:,} of them "
                f"and {garbage['megabits_per_second']:,} Mbit a second"
            )
    return report.ExitStatus.DONE if outcome.all_arrived else report.ExitStatus.FAILED


def opening_line(plan: "Plan") -> str:
    """What is about to happen, and what is not real about it."""
    count = len(plan.hosts)
    return (
        f"rehearsing {count} host{'s' * (count != 1)} with {plan.accelerator.name}, "
        f"{min(plan.at_once, count)} at once; {REPLACED[plan.goal]}"
    )


REPLACED: Mapping[Goal, str] = {
    Goal.RAMDISK: "each boots the inspection ramdisk, nothing is installed",
    Goal.INSTALLED: "installers are replaced by the rehearsal image",
    Goal.DISK: "installers are replaced by the rehearsal image, which must start from disk",
    Goal.SYSTEM: "staged images are written and must report; installers are replaced",
}


@contextmanager
def watching(people: Console) -> "Iterator[Watch]":
    """A live table on a terminal, elsewhere a line for each change."""
    from provision.simulation import view

    if not people.is_terminal or people.is_dumb_terminal:
        yield line_watch(people)
        return
    drawing = Live(console=people, refresh_per_second=REFRESH_PER_SECOND, transient=True)
    with drawing as live, logging_above():
        # The last line stays free: the cursor stands there.
        yield lambda snapshot: live.update(view.live_table(snapshot, people.height - 1))


def line_watch(people: Console) -> "Watch":
    """Tells each change of phase once."""
    from provision.simulation import view

    told: dict[str, int] = {}
    begin = datetime.now(UTC)

    def watch(snapshot: "Snapshot") -> None:
        for host, progress in snapshot.machines:
            for count in range(told.get(host.name, 0), len(progress.marks)):
                people.print(report.printable(view.change_line(host, progress, count, begin)))
            told[host.name] = len(progress.marks)

    return watch


def show_outcome(
    people: Console,
    outcome: "Snapshot",
    failures: Mapping[str, Sequence[str]],
    inventory: Path,
    logs: Path,
) -> None:
    """The summary, a timeline per host, and the last words of those that failed."""
    from provision.simulation import view

    people.print()
    people.print(view.summary_table(outcome))
    people.print()
    people.print(view.timelines(outcome))
    for host, progress in outcome.machines:
        for alarm in progress.alarms:
            people.print(report.printable(f"{host.name}: alarm: {alarm}"), markup=False)
    for name, words in failures.items():
        reason = next(p.reason for h, p in outcome.machines if h.name == name)
        people.print()
        explain = f"rackseed explain {name} -i {inventory} --store sqlite:///{logs / KEPT_STORE}"
        report.show_error(f"{name}: {reason}", explain, f"its console: {logs / name}.console")
        for line in words:
            people.print(f"  {report.printable(line)}", markup=False)
    arrived = sum(progress.phase is Phase.ARRIVED for _, progress in outcome.machines)
    people.print()
    people.print(f"{arrived} of {len(outcome.machines)} arrived; consoles are in {logs}")
