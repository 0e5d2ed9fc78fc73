"""TFTP reads: rackseed beside dnsmasq, tftpd-hpa and tftpy, in one run.

usage: python benchmarks/tftp.py [--rounds N] [--seconds N] [--clients N,N...] [--servers NAME,...]

Clients in one process (benchmarks/tftp_load.c, built with cc) fetch a file of 8 MiB again and
again over the loopback of a namespace of their own, blksize 1428, the same for every server; the
servers take turns, each in one process, and the median of the rounds counts. Printed: MB/s of
all clients together, processor time of the server, and the memory that a waiting transfer costs.
Needs root, cc, and the packages dnsmasq-base and tftpd-hpa.
"""

import argparse
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rich.console import Console
from rich.table import Table

from tests.lab import Lab, Namespace, Process
from tests.tools import require_tool

ADDRESS = "127.0.0.1"
FILE, SIZE, BLKSIZE = "program", 8 << 20, 1428
HELD = 200
"""Waiting transfers while memory is measured."""
TARGETS = ((1, 50, 1.0), (1, 300, 1.0), (4, 0, 2.2), (16, 0, 5.0))
"""Window, clients (0: the best of all), and how many times dnsmasq's MB/s (0: its best)."""


@dataclass(frozen=True)
class Server:
    """How one of them is started, and the port it takes."""

    start: Callable[[Namespace, Path], Process]
    port: int
    windows: tuple[int, ...] = (1,)


@dataclass(frozen=True)
class Measured:
    """One run of the clients."""

    rate: float
    """MB/s of all clients together."""
    cpu: float
    """Processor seconds of the server for each GB; not a number where it makes processes."""
    errors: int
    died: bool = False

    def __str__(self) -> str:
        if self.died:
            return "died"
        cpu = "" if math.isnan(self.cpu) else f" ({self.cpu:.1f})"
        return f"{self.rate:.0f}{cpu}{' !' if self.errors else ''}"


def start_rackseed(place: Namespace, folder: Path) -> Process:
    return place.start([sys.executable, __file__, "--serve", "rackseed", folder])


def start_tftpy(place: Namespace, folder: Path) -> Process:
    return place.start([sys.executable, __file__, "--serve", "tftpy", folder])


def start_dnsmasq(place: Namespace, folder: Path) -> Process:
    return place.start(
        [
            require_tool("dnsmasq", "dnsmasq-base"), "--keep-in-foreground", "--port=0",
            "--conf-file=/dev/null", "--enable-tftp", f"--tftp-root={folder}", "--user=root",
            f"--listen-address={ADDRESS}", "--bind-interfaces", "--tftp-max=1000",
            "--log-facility=/dev/null", f"--pid-file={place.folder}/dnsmasq.pid",
        ]
    )  # fmt: skip


def start_tftpd_hpa(place: Namespace, folder: Path) -> Process:
    tool = require_tool("in.tftpd", "tftpd-hpa")
    return place.start(
        [tool, "--foreground", "--ipv4", "--address", f"{ADDRESS}:6971", "-u", "root", "-s", folder]
    )


SERVERS: Mapping[str, Server] = {
    "dnsmasq": Server(start_dnsmasq, 69),
    "rackseed": Server(start_rackseed, 6970, (1, 4, 16)),
    "tftpd-hpa": Server(start_tftpd_hpa, 6971),
    "tftpy": Server(start_tftpy, 6972),
}


def serve(name: str, folder: Path) -> None:
    if name == "tftpy":
        import logging

        from tftpy import TftpServer as Tftpy

        logging.getLogger("tftpy").setLevel(logging.CRITICAL)
        Tftpy(str(folder)).listen(ADDRESS, SERVERS[name].port)
        return
    from pxe.tftp.content import FileContent
    from pxe.tftp.server import Limits, TftpServer

    TftpServer(
        IPv4Address(ADDRESS),
        SERVERS[name].port,
        None,
        lambda path, peer: FileContent(folder / path),
        lambda observation: None,
        Limits(sessions_per_peer=1000),  # all clients share one address here
    ).serve_forever()


def build(folder: Path) -> Path:
    import subprocess

    program = folder / "tftp_load"
    source = Path(__file__).with_name("tftp_load.c")
    subprocess.run([require_tool("cc", "gcc"), "-O2", "-o", program, source], check=True)
    return program


def family(pid: int) -> list[int]:
    """A process and what it started: tftpd-hpa makes a process for each transfer."""
    found = [pid]
    for parent in found:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                found += map(int, children.read_text().split())
            except OSError:
                continue
    return found


def cpu_seconds(pid: int) -> float:
    """Of a server that is one process; not a number for one that makes more."""
    if len(family(pid)) > 1:
        return math.nan
    times = Path(f"/proc/{pid}/stat").read_text().split()[13:15]
    return sum(map(int, times)) / os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> int:
    """Octets, shared pages counted in proportion."""
    total = 0
    for each in family(pid):
        try:
            lines = Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))
    return total


@dataclass(frozen=True)
class Bench:
    """The namespace with the clients' program and the file."""

    place: Namespace
    load: Path
    folder: Path

    def clients(self, port: int, count: int, window: int, seconds: float, hold: bool) -> Process:
        words = (ADDRESS, port, FILE, SIZE, count, BLKSIZE, window, seconds, int(hold))
        return self.place.start([self.load, *map(str, words)])

    def warm_up(self, port: int, window: int) -> None:
        """Until the server is there and has the file in memory; some need a second to start."""
        for _ in range(10):
            time.sleep(0.5)
            clients = self.clients(port, 1, window, 0.3, hold=False)
            clients.wait()
            if not clients.output.startswith("0 "):
                return

    def measure(self, name: str, count: int, window: int, seconds: float) -> Measured:
        """A fresh server each time, so that none pays for the run before."""
        server = SERVERS[name]
        process = server.start(self.place, self.folder)
        try:
            self.warm_up(server.port, window)
            before = cpu_seconds(process.pid) if process.running else math.nan
            clients = self.clients(server.port, count, window, seconds, hold=False)
            clients.wait(seconds + 20)
            alive = process.running
            spent = cpu_seconds(process.pid) - before if alive else math.nan
            octets, took, _, _, errors = map(float, clients.output.split())
            gigabytes = octets / 1e9 or math.inf
        finally:
            process.kill()
        return Measured(octets / took / 1e6, spent / gigabytes, int(errors), died=not alive)

    def memory_per_session(self, name: str) -> float:
        """KiB for each of HELD transfers that wait for an acknowledgment."""
        server = SERVERS[name]
        process = server.start(self.place, self.folder)
        try:
            self.warm_up(server.port, 1)
            before = memory(process.pid)
            clients = self.clients(server.port, HELD, 1, 1.5, hold=True)
            time.sleep(0.8)
            held = memory(process.pid)
            clients.wait()
        finally:
            process.kill()
        return (held - before) / HELD / 1024


Results = Mapping[tuple[str, int, int], Measured]


def run(bench: Bench, names: Sequence[str], counts: Sequence[int], rounds: int, seconds: float
        ) -> Results:  # fmt: skip
    plan = [
        (name, window, count)
        for count in counts
        for window in (1, 4, 16)
        for name in names
        if window in SERVERS[name].windows
    ]
    found: dict[tuple[str, int, int], list[Measured]] = {each: [] for each in plan}
    for number in range(rounds):
        for at, (name, window, count) in enumerate(plan):
            measured = bench.measure(name, count, window, seconds)
            found[name, window, count].append(measured)
            print(
                f"round {number + 1}/{rounds} {at + 1:2}/{len(plan)}"
                f" {name} window {window}, {count} clients: {measured} MB/s",
                file=sys.stderr,
            )
    return {
        each: Measured(
            statistics.median(m.rate for m in runs),
            statistics.median(m.cpu for m in runs),
            sum(m.errors for m in runs),
            died=any(m.died for m in runs),
        )
        for each, runs in found.items()
    }


def table(results: Results, counts: Sequence[int], memories: Mapping[str, float]) -> Table:
    shown = Table(title=f"TFTP, {SIZE >> 20} MiB, blksize {BLKSIZE}: MB/s (CPU s/GB)")
    shown.add_column("server")
    shown.add_column("window", justify="right")
    for count in counts:
        shown.add_column(f"{count} clients", justify="right")
    shown.add_column("KiB per session", justify="right")
    for name, window in dict.fromkeys((name, window) for name, window, _ in results):
        cells = [str(results[name, window, count]) for count in counts]
        kept = f"{memories[name]:.1f}" if window == 1 else ""
        shown.add_row(name, str(window), *cells, kept)
    return shown


def verdicts(results: Results, counts: Sequence[int]) -> list[tuple[bool, str]]:
    """Each target, whether it is met, and by how much."""
    said = []
    for window, count, factor in TARGETS:
        used = [count] if count else list(counts)
        if not set(used) <= set(counts):
            continue
        theirs = max(results["dnsmasq", 1, each].rate for each in used)
        ours = max(results["rackseed", window, each].rate for each in used)
        where = f"{count} clients" if count else "best"
        ratio = ours / theirs
        said.append((ratio >= factor, f"window {window}, {where}: {ratio:.2f} x dnsmasq, "
                                      f"{factor} wanted"))  # fmt: skip
    return said


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each single run")
    parser.add_argument("--clients", default="1,50,300")
    parser.add_argument("--servers", default=",".join(SERVERS))
    parser.add_argument("--serve", nargs=2, metavar=("NAME", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve[0], Path(options.serve[1]))
        return 0
    counts = [int(each) for each in options.clients.split(",")]
    names = options.servers.split(",")
    with Lab() as lab, tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / FILE).write_bytes(os.urandom(SIZE))
        place = lab.namespace("tftp")
        place.address("lo", "10.99.0.1/32")  # tftpd-hpa does not start with 127.0.0.1 alone
        bench = Bench(place, build(folder), folder)
        results = run(bench, names, counts, options.rounds, options.seconds)
        memories = {name: bench.memory_per_session(name) for name in names}
    console = Console(width=110)
    console.print(table(results, counts, memories))
    console.print("died: the server ended or stopped serving; !: transfers ended in errors")
    missed = 0
    if {"dnsmasq", "rackseed"} <= set(names):
        for met, words in verdicts(results, counts):
            console.print(f"{'met   ' if met else 'MISSED'} {words}")
            missed += not met
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
