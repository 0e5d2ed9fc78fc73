"""Four-way DHCP exchanges a second: rackseed beside dnsmasq and Kea, in one run.

usage: python benchmarks/dhcp.py [--scenes NAME,...] [--rates N,N...] [--seconds N] [--rounds N]
                                 [--servers NAME,...]

perfdhcp plays 1,000 machines over a cable between two namespaces, in two scenes:

known     every machine has a reservation, as in a provisioning network: hosts of the inventory,
          host reservations in Kea's configuration file, dnsmasq's host file
strangers none has; they get addresses from a pool

Kea runs as its manual advises for speed: with a thread for each processor (`kea`) and, because
that is faster where there are few, with one (`kea-single`); reservations by hardware address only
and out of pool; leases in memory and a file; and a lease that is told again during its first
quarter is not written anew, which is our rule too. dnsmasq pings nobody and logs nothing.
Durability differs: rackseed syncs a lease of the pool to disk before its answer, and records
exchanges as events (of those of a machine that are alike, four a minute and their number); Kea and
dnsmasq write their files without a sync and record no exchanges.

perfdhcp gets a receive buffer of 4 MiB, so that what it loses itself does not count; the servers
open theirs as they do by themselves. Rounds go in turn; the round with the median loss counts, for
each server and rate. A round in which other programs took the machine's time is done again, a few
times. Printed: the asked and the achieved rate, what was lost, and the best rate without loss.
Processor time is the server's own for an exchange, all its threads together: for two replies that
arrived, so that it can be compared where some are lost, too.
Needs root, perfdhcp (package kea-admin), kea-dhcp4 and dnsmasq.
"""

import argparse
import asyncio
import json
import os
import re
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
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
CLIENTS = [bytes.fromhex("52540099") + n.to_bytes(2) for n in range(1000)]
"""Hardware addresses."""
RESERVED = {mac.hex(":"): f"10.99.{1 + n // 250}.{1 + n % 250}" for n, mac in enumerate(CLIENTS)}
"""The address of each machine in the scene `known`."""
SCENES = ("known", "strangers")
LOSSLESS = 0.001
"""Share of lost exchanges that counts as none: perfdhcp gives up what is under way at its end."""
UNDISTURBED = 0.03
"""Share of the machine's time that others may use during a round."""
DISTURBED_ROUNDS = 6
"""Rounds that are tried for one without others."""

RECEIVE_DEFAULT = Path("/proc/sys/net/core/rmem_default")
PERFDHCP_BUFFER = 4 * 1024 * 1024
"""Octets. perfdhcp keeps the default, which 200 replies fill while it computes something else; what
it loses would count as the server's loss."""


@dataclass(frozen=True)
class Measured:
    """One run of perfdhcp."""

    scene: str
    server: str
    asked: int
    achieved: float
    sent: int
    lost: int
    offer_ms: float
    ack_ms: float
    cpu_us: float
    """Processor time of the server for two replies that arrived, an OFFER's and an ACK's mean."""
    others: float
    """Share of the machine's time that neither the server nor perfdhcp used."""

    @property
    def lossless(self) -> bool:
        """Nothing lost, and what was asked was done."""
        return self.lost <= self.sent * LOSSLESS and self.achieved >= self.asked * 0.98


def start_rackseed(place: Namespace, scene: str) -> Process:
    process = place.start(
        [sys.executable, __file__, "--serve", str(place.folder), "--scenes", scene]
    )
    process.wait_for("serving DHCP")
    return process


def start_dnsmasq(place: Namespace, scene: str) -> Process:
    hosts = place.folder / "dnsmasq.hosts"
    hosts.write_text("".join(f"{mac},{address}\n" for mac, address in RESERVED.items()))
    known = [f"--dhcp-hostsfile={hosts}", "--dhcp-range=10.99.0.0,static,255.255.0.0,1h"]
    strangers = [f"--dhcp-range={POOL[0]},{POOL[1]},255.255.0.0,1h"]
    process = place.start(
        [
            require_tool("dnsmasq"), "--keep-in-foreground", "--conf-file=/dev/null", "--port=0",
            "--interface=serve0", "--bind-interfaces", "--user=root", "--dhcp-authoritative",
            "--no-ping", "--quiet-dhcp", *(known if scene == "known" else strangers),
            "--dhcp-lease-max=4000", f"--dhcp-leasefile={place.folder}/dnsmasq.leases",
            f"--pid-file={place.folder}/dnsmasq.pid", "--log-facility=-",
        ]
    )  # fmt: skip
    process.wait_for("DHCP, ")
    return process


QUICK_KEA = {
    "cache-threshold": 0.25,
    "host-reservation-identifiers": ["hw-address"],
    "reservations-out-of-pool": True,
}
"""What its manual advises for speed, as far as it fits these scenes."""


def start_kea(
    place: Namespace, scene: str, *, threads: bool = False, quick: bool = True
) -> Process:
    """Kea tuned (`quick`), or as its package configures it: that logs each lease."""
    reservations = [{"hw-address": mac, "ip-address": address} for mac, address in RESERVED.items()]
    configuration = {
        "Dhcp4": {
            "interfaces-config": {"interfaces": ["serve0"]},
            "lease-database": {
                "type": "memfile", "persist": True, "name": f"{place.folder}/kea.csv",
            },
            "multi-threading": {"enable-multi-threading": threads},
            "valid-lifetime": 3600,
            **(QUICK_KEA if quick else {}),
            "reservations-global": False,
            "reservations-in-subnet": True,
            "subnet4": [
                {
                    "id": 1,
                    "subnet": f"10.99.0.0/{PREFIX}",
                    "pools": [{"pool": " - ".join(POOL)}],
                    "reservations": reservations if scene == "known" else [],
                }
            ],
            "loggers": [
                {
                    "name": "kea-dhcp4", "severity": "WARN" if quick else "INFO",
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


STARTS: Mapping[str, Callable[[Namespace, str], Process]] = {
    "dnsmasq": start_dnsmasq,
    "kea": partial(start_kea, threads=True),
    "kea-single": start_kea,
    "kea-logging": partial(start_kea, quick=False),
    "rackseed": start_rackseed,
}


def cpu_seconds(process: Process) -> float:
    """What the process used so far, in user and kernel mode (proc(5), /proc/PID/stat)."""
    after_name = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")


def busy_seconds() -> float:
    """What all programs of the machine used so far, interrupts apart (proc(5), /proc/stat)."""
    user, nice, system = Path("/proc/stat").read_text().split()[1:4]
    return (int(user) + int(nice) + int(system)) / os.sysconf("SC_CLK_TCK")


def children_seconds() -> float:
    """What programs that we ran to their end used so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@contextmanager
def large_buffers() -> Iterator[None]:
    """Sockets that are opened meanwhile keep more of what arrives (socket(7), rmem_default)."""
    before = RECEIVE_DEFAULT.read_text()
    RECEIVE_DEFAULT.write_text(str(PERFDHCP_BUFFER))
    try:
        yield
    finally:
        RECEIVE_DEFAULT.write_text(before)


def measure(
    place: Namespace, process: Process, scene: str, server: str, rate: int, seconds: int
) -> Measured:
    """Ask for `rate` exchanges a second."""
    machines = place.folder / "machines"
    machines.write_text("".join(f"{mac.hex(':')}\n" for mac in CLIENTS))
    before, busy, ran = cpu_seconds(process), busy_seconds(), children_seconds()
    begin = time.monotonic()
    with large_buffers():
        output = place.run(
            [
                require_tool("perfdhcp", "kea-admin"), "-4", "-r", str(rate), "-M", machines,
                "-p", str(seconds), "-W", "1000000", "-l", CLIENT, SERVER,
            ],
            timeout=seconds + 30, status=None,
        )  # fmt: skip
    sent = [int(found) for found in re.findall(r"sent packets: (\d+)", output)]
    received = [int(found) for found in re.findall(r"received packets: (\d+)", output)]
    delays = [float(found) for found in re.findall(r"avg delay: ([\d.]+) ms", output)]
    if len(sent) < 2 or len(received) < 2:
        raise SystemExit(f"perfdhcp failed:\n{output}")
    offer_ms, ack_ms = delays if len(delays) == 2 else (0.0, 0.0)
    served = cpu_seconds(process) - before
    others = busy_seconds() - busy - served - (children_seconds() - ran)
    machine = (time.monotonic() - begin) * (os.cpu_count() or 1)
    return Measured(
        scene, server, rate, received[1] / seconds, sent[0], sent[0] - received[1],
        offer_ms, ack_ms, served / max(sum(received[:2]), 1) * 2e6, max(others / machine, 0.0),
    )  # fmt: skip


def run_undisturbed(scene: str, server: str, rate: int, seconds: int) -> Measured:
    """One round in which the machine was ours; the least disturbed when none was."""
    rounds: list[Measured] = []
    while len(rounds) < DISTURBED_ROUNDS and (not rounds or rounds[-1].others > UNDISTURBED):
        rounds.append(run_once(scene, server, rate, seconds))
    return min(rounds, key=lambda measured: measured.others)


def run_once(scene: str, server: str, rate: int, seconds: int) -> Measured:
    """One server, started anew with an empty lease store."""
    with Lab() as lab:
        here, there = lab.namespace("server"), lab.namespace("client")
        lab.cable(here, "serve0", there, "eth0")
        here.address("serve0", f"{SERVER}/{PREFIX}")
        there.address("eth0", f"{CLIENT}/{PREFIX}")
        process = STARTS[server](here, scene)
        found = measure(there, process, scene, server, rate, seconds)
        process.stop()
    print(found, file=sys.stderr)
    return found


def run(
    scene: str, servers: Sequence[str], rates: Sequence[int], seconds: int, rounds: int
) -> list[Measured]:
    """Every server at every rate: the round with the median loss."""
    results: dict[tuple[str, int], list[Measured]] = {}
    for rate in rates:
        for server in list(servers) * rounds:
            found = run_undisturbed(scene, server, rate, seconds)
            results.setdefault((server, rate), []).append(found)
    return [
        sorted(results[server, rate], key=lambda measured: measured.lost)[(rounds - 1) // 2]
        for server in servers
        for rate in rates
    ]


def best(results: Sequence[Measured], server: str) -> float:
    """The highest rate that the server kept up without loss."""
    return max((r.achieved for r in results if r.server == server and r.lossless), default=0.0)


def report(scene: str, results: Sequence[Measured], console: Console) -> None:
    """The table of one scene, and each server's best."""
    table = Table(title=f"DHCP, {len(CLIENTS)} {scene} clients, 4-way exchanges a second")
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
"""
STRANGER = "52:54:00:aa:00:00"
"""An inventory has a host, in the scene `strangers`, too: one that never asks."""


def inventory(scene: str) -> str:
    """The hosts of a scene, as YAML."""
    machines = RESERVED if scene == "known" else {STRANGER: "10.99.1.1"}
    return INVENTORY + "".join(
        f"    host{n}: {{mac: '{mac}', address: {address}, role: any}}\n"
        for n, (mac, address) in enumerate(machines.items())
    )


def serve(folder: Path, scene: str) -> None:
    """The server process: the real decision, sockets and store, one loop."""
    import logging
    from ipaddress import IPv4Address, IPv4Network

    from provision.inventory.load import load
    from provision.site import InventorySite
    from provision.store import Store
    from pxe.dhcp.server import DhcpServer
    from pxe.neighbours import NeighbourTable
    from pxe.reservation import Pool
    from pxe.serve import answer_promptly
    from pxe.settings import Settings

    logging.basicConfig(level=logging.WARNING)
    path = folder / "rack.yaml"
    path.write_text(inventory(scene))
    settings = Settings(
        "serve0", IPv4Address(SERVER), IPv4Network(f"10.99.0.0/{PREFIX}"),
        pool=Pool(*(IPv4Address(end) for end in POOL)),
    )  # fmt: skip

    async def main() -> None:
        with Store(f"sqlite:///{folder}/rackseed.db") as store:
            site = InventorySite(load(path), store)
            served = DhcpServer(settings, site, (), NeighbourTable())
            answer_promptly()
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
    parser.add_argument("--scenes", default=",".join(SCENES))
    parser.add_argument("--rates", default="2000,4000,5000,6500,8000,9000,10000,11500")
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--servers", default=",".join(STARTS))
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.scenes)
        return
    rates = [int(rate) for rate in options.rates.split(",")]
    scenes = options.scenes.split(",")
    results = {
        scene: run(scene, options.servers.split(","), rates, options.seconds, options.rounds)
        for scene in scenes
    }
    for scene in scenes:
        report(scene, results[scene], Console())


if __name__ == "__main__":
    main()
