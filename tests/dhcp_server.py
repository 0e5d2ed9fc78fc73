"""Our DHCP server as a program of its own in a namespace, for tests with real clients.

python -m tests.dhcp_server FILE    serves what the pickled `Start` in FILE says

It writes one JSON object a line: `{"ready": true}` when it serves, then observations and leases.
"""

import asyncio
import json
import logging
import pickle
import signal
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from pxe.dhcp.server import DhcpServer
from pxe.link import follow, serving_link
from pxe.neighbours import NeighbourTable
from pxe.reservation import Lease, Reservation
from pxe.settings import Settings
from pxe.site import Observation, Outcome
from tests.lab import Namespace, Process
from tests.sites import MemorySite

MOST_A_SECOND = 200
ROOT = Path(__file__).parents[1]


@dataclass
class TellingSite(MemorySite):
    """Keeps leases in memory, and writes what happens to standard output."""

    granted: tuple[Lease, ...] = ()
    kept: dict[IPv4Address, Lease] = field(default_factory=dict)
    untold: int = 0
    """Observations of a flood, which no site may let itself be slowed down by."""
    _second: int = 0
    _told: int = 0

    def leases(self) -> Iterable[Lease]:
        return list(self.kept.values())

    def keep_leases(self, granted: Sequence[Lease], released: Sequence[Lease]) -> Sequence[Lease]:
        for lease in released:
            self.kept.pop(lease.address, None)
            tell(released=str(lease.address), client=str(lease.client))
        for lease in granted:
            self.kept[lease.address] = lease
            tell(granted=str(lease.address), client=str(lease.client))
        return granted

    def observe(self, observation: Observation) -> None:
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._told = second, 0
        self._told += 1
        if self._told > MOST_A_SECOND and observation.outcome is Outcome.SILENT:
            self.untold += 1
            return
        tell(
            outcome=observation.outcome.value,
            subject=observation.subject,
            reason=observation.reason,
            client=str(observation.client),
            address=str(observation.address),
            facts={name: str(fact) for name, fact in observation.facts.items()},
        )


def tell(**facts: Any) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


@dataclass(frozen=True, slots=True)
class Start:
    """What the program is started with."""

    settings: Settings
    reservations: tuple[Reservation, ...] = ()
    programs: tuple[str, ...] = ("undionly.kpxe", "snponly.efi", "ipxe.efi")


@dataclass(frozen=True, slots=True)
class RunningServer:
    """The program in a namespace."""

    process: Process
    settings: Settings

    @property
    def told(self) -> list[Mapping[str, Any]]:
        """All that it told, oldest first."""
        lines = self.process.output.splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    def find(self, **facts: Any) -> list[Mapping[str, Any]]:
        """What it told that has these facts."""
        return [told for told in self.told if facts.items() <= told.items()]


def start_server(machine: Namespace, start: Start) -> RunningServer:
    """Start our DHCP server in a namespace and wait until it serves."""
    file = machine.folder / "start.pickle"
    file.write_bytes(pickle.dumps(start))
    process = machine.start(
        [sys.executable, "-m", "tests.dhcp_server", file],
        env={"PYTHONPATH": str(ROOT)},
        log="rackseed-dhcp",
    )
    process.wait_for(r'"ready"')
    return RunningServer(process, start.settings)


async def serve(start: Start) -> None:
    """Serve until SIGTERM."""
    settings, neighbours = start.settings, NeighbourTable()
    site = TellingSite(start.reservations)
    server = DhcpServer(settings, site, start.programs, neighbours)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    known = serving_link(settings.interface, settings.address, settings.subnet)
    await server.start()
    following = loop.create_task(follow(settings.interface, settings.address, server.rebind, known))
    tell(ready=True)
    await stopped.wait()
    following.cancel()
    await server.stop()
    tell(untold=site.untold)
    neighbours.close()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    from tests import dhcp_server  # so that the pickle and we mean the same classes

    asyncio.run(dhcp_server.serve(pickle.loads(Path(sys.argv[1]).read_bytes())))
