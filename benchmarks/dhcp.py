"""Four-way DHCP exchanges a second: rackseed beside dnsmasq and Kea, in one run.

usage: python benchmarks/dhcp.py [--rates N,N...] [--seconds N] [--rounds N] [--servers NAME,...]

perfdhcp plays 1,000 machines without reservations over a cable between two namespaces; each
server gives them addresses from a pool and keeps the leases as it does by default: rackseed in
its SQLite store, synced to disk before each answer, Kea and dnsmasq in files that they do not
sync. Asked again early in a lease, rackseed tells it again without a write, as ISC's server does.

Of several rounds, taken in turn, the best of each server and rate counts. Printed: the asked and
the achieved rate, what was lost, and the best rate without loss.
Needs root, perfdhcp (package kea-admin), kea-dhcp4 and dnsmasq.
"""

import argparse
import asyncio
import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rich.console import Console
from rich.table import Table

from tests.lab import Lab, Namespace, Process
from tests.tools import require_tool

SERVER = "10.99.0.1"
CLIENT = "10.99.0.2"
PREFIX = 16
POOL = ("10.99.16.0", "10.99.31.255")
CLIENTS = 1000
LOSSLESS = 0.001
"""Share of lost exchanges that counts as none: perfdhcp gives up what is under way at its end."""


@dataclass(frozen=True)
class Measured:
    """One run of perfdhcp."""

    server: str
    asked: int
    achieved: float
    sent: int
    lost: int
    offer_ms: float
    ack_ms: float
    cpu_us: float
    """Processor time of the server for each exchange that it completed."""

    @property
    def lossless(self) -> bool:
        """Nothing lost, and what was asked was done."""
        return self.lost <= self.sent * LOSSLESS and self.achieved >= self.asked * 0.98


def start_rackseed(place: Namespace) -> Process:
    process = place.start([sys.executable, __file__, "--serve", str(place.folder)])
    process.wait_for("serving DHCP")
    return process


def start_dnsmasq(place: Namespace) -> Process:
    process = place.start(
        [
            require_tool("dnsmasq"), "--keep-in-foreground", "--conf-file=/dev/null", "--port=0",
            "--interface=serve0", "--bind-interfaces", "--user=root", "--dhcp-authoritative",
            "--no-ping", "--quiet-dhcp", f"--dhcp-range={POOL[0]},{POOL[1]},255.255.0.0,1h",
            "--dhcp-lease-max=4000", f"--dhcp-leasefile={place.folder}/dnsmasq.leases",
            f"--pid-file={place.folder}/dnsmasq.pid", "--log-facility=-",
        ]
    )  # fmt: skip
    process.wait_for("DHCP, IP range")
    return process


def start_kea(place: Namespace) -> Process:
    configuration = {
        "Dhcp4": {
            "interfaces-config": {"interfaces": ["serve0"]},
            "lease-database": {
                "type": "memfile", "persist": True, "name": f"{place.folder}/kea.csv",
            },
            "multi-threading": {"enable-multi-threading": True},
            "valid-lifetime": 3600,
            "subnet4": [
                {
                    "id": 1,
                    "subnet": f"10.99.0.0/{PREFIX}",
                    "pools": [{"pool": " - ".join(POOL)}],
                }
            ],
            "loggers": [
                {
                    "name": "kea-dhcp4", "severity": "WARN",
                    "output_options": [{"output": "stdout"}],
                }
            ],
        }
    }  # fmt: skip
    file = place.folder / "kea.json"
    file.write_text(json.dumps(configuration))
    folders = {"KEA_PIDFILE_DIR": str(place.folder), "KEA_LOCKFILE_DIR": str(place.folder)}
    process = place.start([require_tool("kea-dhcp4", "kea-dhcp4-server"), "-c", file], env=folders)
    time.sleep(2)
    if not process.running:
        raise SystemExit(f"kea-dhcp4 ended:\n{process.output}")
    return process


STARTS: Mapping[str, Callable[[Namespace], Process]] = {
    "dnsmasq": start_dnsmasq,
    "kea": start_kea,
    "rackseed": start_rackseed,
}


def cpu_seconds(process: Process) -> float:
    """What the process used so far, in user and kernel mode (proc(5), /proc/PID/stat)."""
    after_name = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")


def measure(place: Namespace, process: Process, server: str, rate: int, seconds: int) -> Measured:
    """Ask for `rate` exchanges a second."""
    before = cpu_seconds(process)
    output = place.run(
        [
            require_tool("perfdhcp", "kea-admin"), "-4", "-r", str(rate), "-R", str(CLIENTS),
            "-p", str(seconds), "-W", "1000000", "-l", CLIENT, SERVER,
        ],
        timeout=seconds + 30, status=None,
    )  # fmt: skip
    sent = [int(found) for found in re.findall(r"sent packets: (\d+)", output)]
    received = [int(found) for found in re.findall(r"received packets: (\d+)", output)]
    delays = [float(found) for found in re.findall(r"avg delay: ([\d.]+) ms", output)]
    if len(sent) < 2 or len(received) < 2:
        raise SystemExit(f"perfdhcp failed:\n{output}")
    return Measured(
        server, rate, received[1] / seconds, sent[0], sent[0] - received[1],
        *(delays if len(delays) == 2 else (0.0, 0.0)),
        (cpu_seconds(process) - before) / max(received[1], 1) * 1e6,
    )  # fmt: skip


def run(servers: Sequence[str], rates: Sequence[int], seconds: int, rounds: int) -> list[Measured]:
    """Every server at every rate, each time started anew with an empty lease store."""
    results: dict[tuple[str, int], Measured] = {}
    for rate in rates:
        for server in list(servers) * rounds:
            with Lab() as lab:
                here, there = lab.namespace("server"), lab.namespace("client")
                lab.cable(here, "serve0", there, "eth0")
                here.address("serve0", f"{SERVER}/{PREFIX}")
                there.address("eth0", f"{CLIENT}/{PREFIX}")
                process = STARTS[server](here)
                found = measure(there, process, server, rate, seconds)
                process.stop()
            print(found, file=sys.stderr)
            before = results.get((server, rate), found)
            results[server, rate] = min(before, found, key=lambda measured: measured.lost)
    return [results[server, rate] for server in servers for rate in rates]


def best(results: Sequence[Measured], server: str) -> float:
    """The highest rate that the server kept up without loss."""
    return max((r.achieved for r in results if r.server == server and r.lossless), default=0.0)


def report(results: Sequence[Measured], console: Console) -> None:
    """The table, and each server's best."""
    table = Table(title=f"DHCP, {CLIENTS} clients, 4-way exchanges a second")
    for heading in ("server", "asked", "achieved", "lost", "offer ms", "ack ms", "CPU us"):
        table.add_column(heading, justify="left" if heading == "server" else "right")
    for found in results:
        table.add_row(
            found.server, str(found.asked), f"{found.achieved:.0f}",
            f"{found.lost} of {found.sent}", f"{found.offer_ms:.2f}", f"{found.ack_ms:.2f}",
            f"{found.cpu_us:.0f}",
        )  # fmt: skip
    console.print(table)
    ours = best(results, "rackseed")
    for server in dict.fromkeys(found.server for found in results):
        theirs = best(results, server)
        ratio = f", ours is {ours / theirs:.2f} times that" if theirs and ours else ""
        console.print(f"{server}: best without loss {theirs:.0f} a second{ratio}")


INVENTORY = f"""\
network:
  interface: serve0
  subnet: 10.99.0.0/{PREFIX}
  server: {SERVER}
  dhcp: authoritative
  discovery: {POOL[0]}-{POOL[1]}
roles:
  any: {{install: inspect}}
racks:
  row:
    host1: {{mac: '52:54:00:99:00:01', address: 10.99.1.1, role: any}}
"""


def serve(folder: Path) -> None:
    """The server process: the real decision, sockets and store, one loop."""
    import logging
    from ipaddress import IPv4Address, IPv4Network

    from provision.inventory.load import load
    from provision.site import InventorySite
    from provision.store import Store
    from pxe.dhcp.server import DhcpServer
    from pxe.neighbours import NeighbourTable
    from pxe.reservation import Pool
    from pxe.settings import Settings

    logging.basicConfig(level=logging.WARNING)
    path = folder / "rack.yaml"
    path.write_text(INVENTORY)
    settings = Settings(
        "serve0", IPv4Address(SERVER), IPv4Network(f"10.99.0.0/{PREFIX}"),
        pool=Pool(*(IPv4Address(end) for end in POOL)),
    )  # fmt: skip

    async def main() -> None:
        with Store(f"sqlite:///{folder}/rackseed.db") as store:
            site = InventorySite(load(path), store)
            served = DhcpServer(settings, site, (), NeighbourTable())
            await served.start()
            print("serving DHCP", flush=True)
            ended = asyncio.Event()
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
            await ended.wait()
            await served.stop()

    asyncio.run(main())


def main() -> None:
    """Measure and print, or be the measured server."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rates", default="400,1000,2000,2500,3000,4000,5000")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--servers", default=",".join(STARTS))
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve)
        return
    rates = [int(rate) for rate in options.rates.split(",")]
    results = run(options.servers.split(","), rates, options.seconds, options.rounds)
    report(results, Console())


if __name__ == "__main__":
    main()
