"""Sets the stage of a rehearsal inside its own world, and clears it afterwards."""

import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from provision import images
from provision.inventory.model import Host, Inventory
from provision.run import run
from provision.simulation import guests, marker, network, rehearsed, tools
from provision.simulation.accelerator import available_memory_mib, choose, guests_at_once
from provision.simulation.errors import SimulationError
from provision.simulation.faults import NOISE_PORT, Fault, Faults, garbage
from provision.simulation.guests import Accelerator
from provision.simulation.phases import Goal
from provision.simulation.rehearsal import Plan, Rehearsal
from provision.simulation.server import Server
from provision.simulation.standing import standing_server
from provision.simulation.workspace import workspace
from provision.store import Store
from pxe.programs import require
from pxe.ramdisk.kernel import find_kernel
from pxe.settings import DhcpMode

log = logging.getLogger(__name__)

TIMEOUTS = {Accelerator.KVM: 180.0, Accelerator.TCG: 600.0}
"""Seconds that one machine may take by default."""

KEPT_STORE = "rehearsal.db"
STANDING_LOG = "standing-dhcp.log"
POWER_CYCLES = 3
"""With a server that is killed: a firmware that gave up meanwhile is started again this often."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the operator asked for."""

    hosts: tuple[Host, ...]
    goal: Goal
    logs: Path
    faults: tuple[Fault, ...] = ()
    at_once: int | None = None
    timeout: float | None = None


def needed_tools(inventory: Inventory, hosts: Sequence[Host]) -> list[tools.Tool]:
    """All that must be installed."""
    standing = [tools.DNSMASQ] if inventory.network.dhcp is DhcpMode.PROXY else []
    return [tools.UNSHARE, *guests.tools_for(hosts), tools.GRUB_ON_DISK, *standing]


@contextmanager
def stage(inventory: Inventory, wishes: Wishes, base: Path) -> Iterator[Rehearsal]:
    """Network, disk image, store and the running server; all is gone at the end of the `with`.

    Raises MissingTool, MissingProgram, NoWorld, or ProgramFailed when the server does not start.
    """
    found = tools.find_all(needed_tools(inventory, wishes.hosts))
    address = network.server_address(inventory)
    place = inventory.network
    accelerator = choose_accelerator(found[tools.QEMU])
    make_logs(wishes.logs, wishes.hosts)
    with ExitStack() as stack:
        folder = stack.enter_context(workspace(base))
        taps = [f"tap{number}" for number in range(len(wishes.hosts))]
        if Fault.GARBAGE in wishes.faults:
            taps.append(NOISE_PORT)
        network.make_segment(place.interface, address, place.subnet, taps)
        if place.dhcp is DhcpMode.PROXY:
            log_file = wishes.logs / STANDING_LOG
            stack.enter_context(standing_server(found[tools.DNSMASQ], inventory, folder, log_file))
        store_url = f"sqlite:///{folder / KEPT_STORE}"
        stack.callback(keep_store, folder, wishes.logs)
        own = own_images(inventory, wishes)
        written = write_inventory(inventory, folder, found, store_url, own)
        store = stack.enter_context(Store(store_url))
        arguments = ["-i", str(written), "--store", store_url]
        server = stack.enter_context(Server(arguments, wishes.logs, folder))
        if Fault.GARBAGE in wishes.faults:
            stack.enter_context(garbage(address, place.interface, place.subnet))
        plan = Plan(
            hosts=wishes.hosts,
            goal=wishes.goal,
            accelerator=accelerator,
            at_once=wishes.at_once or at_once(accelerator),
            timeout=wishes.timeout or TIMEOUTS[accelerator],
            folder=folder,
            logs=wishes.logs,
            tools=found,
            own_images=own,
            power_cycles=POWER_CYCLES if Fault.SERVER_KILL in wishes.faults else 0,
        )
        faults = Faults(wishes.faults, partial(network.sent_from, NOISE_PORT))
        yield Rehearsal(plan, server, store, faults)


def choose_accelerator(qemu: Path) -> Accelerator:
    """By trying it."""
    kernel = find_kernel().image
    chosen = choose(qemu, kernel, lambda argv, limit: run(argv, timeout=limit))
    log.info("accelerator %s", chosen.name)
    return chosen


def at_once(accelerator: Accelerator) -> int:
    """What this machine bears."""
    cores = len(os.sched_getaffinity(0))
    return guests_at_once(accelerator, cores, available_memory_mib())


def keep_store(folder: Path, logs: Path) -> None:
    """Keep state and events for `rackseed explain`, once nobody writes them any more."""
    with suppress(OSError):
        shutil.copyfile(folder / KEPT_STORE, logs / KEPT_STORE)


def make_logs(logs: Path, hosts: Sequence[Host]) -> None:
    """Have the folder, without what an earlier rehearsal left for these names.

    Raises SimulationError when it cannot be written.
    """
    names = [
        "server.log",
        KEPT_STORE,
        *(f"{h.name}.{kind}" for h in hosts for kind in ("console", "qemu.log")),
    ]
    try:
        logs.mkdir(parents=True, exist_ok=True)
        for name in names:
            (logs / name).unlink(missing_ok=True)
        (logs / "server.log").touch()
    except OSError as refused:
        error = SimulationError(f"{logs}: cannot keep logs there: {refused.strerror}")
        error.add_note("name another folder:  --keep DIR")
        raise error from refused


def write_inventory(
    inventory: Inventory,
    folder: Path,
    found: Mapping[tools.Tool, Path],
    store_url: str,
    own: Mapping[str, int],
) -> Path:
    """The marker image and the inventory that installs it; returns the inventory's path."""
    artifacts = folder / "artifacts"
    artifacts.mkdir()
    shim = require(["shimx64.efi"])["shimx64.efi"]
    marker.build(shim, found[tools.GRUB_ON_DISK], artifacts / rehearsed.IMAGE_NAME)
    for name in own:
        if image := inventory.hosts[name].role.image:
            for part in (image, image.with_name(image.name + images.BESIDE)):
                lend(inventory.artifacts / part, artifacts / part)
    address = network.server_address(inventory)
    path = folder / "inventory.yaml"
    rehearsed.write(rehearsed.document(inventory, address, artifacts, store_url, own), path)
    return path


def own_images(inventory: Inventory, wishes: Wishes) -> Mapping[str, int]:
    """The hosts that write their own image, with the bytes that it needs on the disk.

    Raises AnswerError for what cannot be read beside an image.
    """
    if wishes.goal is not Goal.SYSTEM:
        return {}
    found: dict[str, int] = {}
    for host in wishes.hosts:
        image = host.role.image
        known = images.staged(inventory.artifacts / image) if image is not None else None
        if known is not None and known.seeded and known.raw_size is not None:
            found[host.name] = known.raw_size
    return found


def lend(source: Path, target: Path) -> None:
    """Have a file at another place too, without its bytes once more where that can be."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        return
    try:
        target.hardlink_to(source.resolve())
    except OSError:
        shutil.copyfile(source, target)
