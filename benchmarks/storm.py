"""A boot storm: 500 machines at once, against rackseed and against dnsmasq with nginx.

usage: python benchmarks/storm.py [--scenes NAME,...] [--clients N] [--rounds N] [--spread SECONDS]
                                  [--link GBIT/S] [--congestion NAME]

Two scenes, by what is booted: `ramdisk`, the size of our own (8 and 16 MiB), where the cost of each
request counts; and `installer`, the size of a Fedora installer (16 and 200 MiB), where bytes count.

The server's interface sends 10 Gbit/s, as a network card does: a ramdisk's storm takes 10 s then
and leaves a machine of two cores two thirds of its time; an installer's takes 95 s. Without a limit
(`--link 0`) a storm of 2 s asks for 50 Gbit/s, and a figure says little more than whether the
processors, which servers and clients share, were just enough for that or just not: then nobody
waits, or everybody does. `--link 0 --spread 0`, all at once, tells what each can do at most.

Both sides serve the same boot program, kernel and initrd to the same clients (storm_client.c,
built with cc), in turn, in one run; the first of a round is the other side each time. rackseed runs
with its defaults, and each of its scripts is a boot session of an armed machine, written to the
store; dnsmasq serves DHCP and TFTP, nginx (a worker per core, sendfile) a script that is one file
for all. Both keep a record of each request. nginx uses the machine's TCP congestion control, ours
always cubic; where the machine has another, say bbr, see what `--congestion cubic` makes of nginx.

Printed: seconds from a client's power-on to the end of each phase, median of the rounds' p50 and
p99; clients that got everything; packets sent again; processor seconds that the servers (user and
system) and the client used during the storm; and the ratio of ours to theirs. Needs root, cc,
dnsmasq and nginx.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Address
from operator import itemgetter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pyroute2 import IPRoute
from rich.console import Console
from rich.table import Table

from pxe.programs import find_programs
from tests.lab import Lab, Namespace
from tests.tools import require_tool

SERVER = "10.99.0.1"
RELAY = "10.99.0.2"
FIRST = IPv4Address("10.99.1.0")
SCENES = {"ramdisk": (8 << 20, 16 << 20), "installer": (16 << 20, 200 << 20)}
"""Bytes of kernel and initrd."""
PHASES = ("dhcp", "program", "script", "done")


def inventory(clients: int) -> str:
    """One role that boots a kernel and an initrd; every client a host of it, armed."""
    hosts = "\n".join(
        f"    host{number:04}: {{mac: '52:54:00:99:{number >> 8:02x}:{number & 255:02x}', "
        f"address: {FIRST + number}, role: storm, firmware: uefi}}"
        for number in range(1, clients + 1)
    )
    return f"""\
network:
  interface: serve0
  subnet: 10.99.0.0/16
  server: {SERVER}
  dhcp: authoritative
systems:
  storm: {{kernel: vmlinuz, initrd: initrd.img}}
roles:
  storm: {{install: kickstart, os: storm, answer: answer.ks}}
racks:
  row:
{hosts}
"""


@contextmanager
def ours(server: Namespace, folder: Path, clients: int) -> Iterator[list[int]]:
    """`rackseed serve`, as a user starts it; gives the process that all others hang from."""
    rackseed = Path(sys.executable).with_name("rackseed")
    env = {"RACKSEED_INVENTORY": str(folder / "inventory.yaml"),
           "RACKSEED_STORE": f"sqlite:///{folder}/state.db"}  # fmt: skip
    (folder / "inventory.yaml").write_text(inventory(clients))
    (folder / "answer.ks").write_text("text\n")
    server.run(
        [rackseed, "arm", *(f"host{number:04}" for number in range(1, clients + 1))],
        env=env, timeout=60,
    )  # fmt: skip
    process = server.start([rackseed, "serve"], env=env)
    try:
        process.wait_for("serving", 60)
        yield [process.pid]
    finally:
        process.stop(20)


@contextmanager
def theirs(server: Namespace, folder: Path, clients: int) -> Iterator[list[int]]:
    """dnsmasq for DHCP and TFTP, nginx with sendfile for HTTP."""
    root = folder / "artifacts"
    (root / "boot.ipxe").write_text(
        f"#!ipxe\nkernel http://{SERVER}/vmlinuz\ninitrd http://{SERVER}/initrd.img\nboot\n"
    )
    hosts = "\n".join(
        f"dhcp-host=52:54:00:99:{number >> 8:02x}:{number & 255:02x},{FIRST + number}"
        for number in range(1, clients + 1)
    )
    (folder / "dnsmasq.conf").write_text(f"""\
port=0
interface=serve0
bind-interfaces
dhcp-range=10.99.0.0,static,255.255.0.0
dhcp-leasefile={folder}/leases
dhcp-lease-max=2000
enable-tftp
tftp-root={root}
tftp-max=2000
log-facility=-
dhcp-userclass=set:ipxe,iPXE
dhcp-boot=tag:!ipxe,snponly.efi
dhcp-boot=tag:ipxe,http://{SERVER}/boot.ipxe
user=root
{hosts}
""")
    (folder / "nginx.conf").write_text(f"""\
worker_processes auto;
pid {folder}/nginx.pid;
error_log stderr;
worker_rlimit_nofile 8192;
events {{ worker_connections 4096; }}
http {{
  sendfile on; tcp_nopush on;
  access_log {folder}/access.log;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  server {{ listen {SERVER}:80 backlog=4096; root {root}; }}
}}
user root;
""")
    dnsmasq = server.start(
        [require_tool("dnsmasq", package="dnsmasq-base"), "-k", "-C", folder / "dnsmasq.conf"]
    )
    nginx = server.start(
        [require_tool("nginx", package="nginx-light"), "-c", folder / "nginx.conf",
         "-g", "daemon off;"]
    )  # fmt: skip
    try:
        dnsmasq.wait_for("started", 10)
        time.sleep(0.5)
        yield [dnsmasq.pid, nginx.pid]
    finally:
        nginx.stop()
        dnsmasq.stop()


def limit(interface: int, gigabits: float) -> None:
    """Let it send so many Gbit/s only, behind a queue of 64 MiB.

    That is what the usual thousand packets come to, where each is of 64 KiB until it is cut.
    """
    with IPRoute() as netlink:
        rate = round(gigabits * 1e9 / 8)
        netlink.tc("add", "tbf", interface, rate=rate, burst=1 << 20, limit=64 << 20)


def build(folder: Path) -> Path:
    """The client."""
    program, source = folder / "storm_client", Path(__file__).with_name("storm_client.c")
    subprocess.run([require_tool("cc", "gcc"), "-O2", "-o", program, source], check=True)
    return program


def cpu_seconds(pids: Sequence[int]) -> dict[int, tuple[float, float]]:
    """Processor seconds, user and system, of processes and all that they started."""
    family, seconds = list(pids), {}
    tick = os.sysconf("SC_CLK_TCK")
    for pid in family:
        try:
            times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
            family += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        except OSError:
            continue  # it has ended
        seconds[pid] = int(times[0]) / tick, int(times[1]) / tick
    return seconds


def one_storm(
    lab: Lab, side: str, scene: str, program: Path, options: argparse.Namespace
) -> dict[str, Any]:
    """Fresh namespaces, a fresh server, one storm; the client's own JSON."""
    clients, spread = options.clients, options.spread
    server, rack = lab.namespace("server"), lab.namespace("rack")
    lab.cable(server, "serve0", rack, "rack0")
    server.address("serve0", f"{SERVER}/16")
    rack.address("rack0", f"{RELAY}/16")
    for number in range(1, clients + 1):
        rack.address("rack0", f"{FIRST + number}/16")
    if options.link:
        server.call(limit, server.index("serve0"), options.link)
    if options.congestion:
        server.run(["sysctl", "-qw", f"net.ipv4.tcp_congestion_control={options.congestion}"])
    folder = server.folder
    artifacts = folder / "artifacts"
    artifacts.mkdir()
    for name, size in zip(("vmlinuz", "initrd.img"), SCENES[scene], strict=True):
        (artifacts / name).write_bytes(os.urandom(size))
    (artifacts / "snponly.efi").write_bytes(find_programs()["snponly.efi"].read_bytes())
    start = {"rackseed": ours, "dnsmasq + nginx": theirs}[side]
    with start(server, folder, clients) as pids:
        before = cpu_seconds(pids)
        text = rack.run([program, str(clients), str(spread), RELAY, SERVER], timeout=600)
        after = cpu_seconds(pids)
    result: dict[str, Any] = json.loads(text)
    result["servers"] = [
        tuple(now - then for now, then in zip(after[pid], before.get(pid, (0, 0)), strict=True))
        for pid in sorted(after)
    ]
    return result


def percentile(values: Sequence[float], share: float, count: int) -> float:
    """The nearest-rank percentile of `count` clients; those without a value never came so far."""
    ranked = sorted(values)
    rank = max(0, math.ceil(share * count) - 1)
    return ranked[rank] if rank < len(ranked) else math.inf


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--spread", type=float, default=2.0, help="seconds from first to last")
    parser.add_argument(
        "--link", type=float, default=10.0, help="Gbit/s that the server sends; 0: all"
    )
    parser.add_argument("--congestion", help="TCP congestion control for nginx, say cubic")
    parser.add_argument("--scenes", default=",".join(SCENES), help=", ".join(SCENES))
    options = parser.parse_args()
    for scene in options.scenes.split(","):
        if scene not in SCENES:
            parser.error(f"unknown scene {scene!r}, expected {' or '.join(SCENES)}")
    with tempfile.TemporaryDirectory(prefix="rackseed-storm-") as folder:
        program = build(Path(folder))
        for scene in options.scenes.split(","):
            measure(scene, program, options)


def measure(scene: str, program: Path, options: argparse.Namespace) -> None:
    """All rounds of one scene, and its tables."""
    console = Console()
    runs: dict[str, list[dict[str, Any]]] = {"rackseed": [], "dnsmasq + nginx": []}
    for number in range(options.rounds):
        for side in list(runs)[:: -1 if number % 2 else 1]:
            with Lab() as lab:
                result = one_storm(lab, side, scene, program, options)
            runs[side].append(result)
            each = " ".join(f"{user:.2f}+{system:.2f}" for user, system in result["servers"])
            console.print(
                f"{side}: {len(result['marks'])} of {options.clients} in "
                f"{result['seconds']:.1f} s; processor seconds of each server process: {each}"
            )
            for error in sorted(set(result["errors"])):
                times = result["errors"].count(error)
                console.print(f"  {times} times {error}", markup=False)
    show(console, scene, runs, options.clients)


def show(console: Console, scene: str, runs: dict[str, list[dict[str, Any]]], clients: int) -> None:
    """Two tables: the times of the phases, and what it took."""
    rounds = len(next(iter(runs.values())))
    title = f"Boot storm, {scene}, {clients} clients, median of {rounds} rounds"
    columns = [*((phase, 0.5) for phase in PHASES), ("done", 0.99)]
    table = Table(title=title)
    for column in ("", *(f"{phase} p{share * 100:.0f}" for phase, share in columns)):
        table.add_column(column, justify="right")
    figures = {
        side: [
            statistics.median(
                percentile([marks[phase] for marks in result["marks"]], share, clients)
                for result in results
            )
            for phase, share in columns
        ]
        for side, results in runs.items()
    }
    for side, values in figures.items():
        table.add_row(side, *(f"{value:.2f} s" for value in values))
    ratios = [a / b for a, b in zip(*figures.values(), strict=True)]
    table.add_row("ratio", *(f"{ratio:.2f}" for ratio in ratios))
    console.print(table)
    table = Table(title="Complete, sent again (all rounds), processor seconds (median)")
    for column in ("", "complete", "DHCP", "TFTP", "user", "system", "servers", "client"):
        table.add_column(column, justify="right")
    for side, results in runs.items():
        table.add_row(
            side,
            f"{sum(len(result['marks']) for result in results)}/{rounds * clients}",
            str(sum(result["dhcp_retries"] for result in results)),
            str(sum(result["tftp_retries"] for result in results)),
            *(
                f"{statistics.median(sum(map(part, result['servers'])) for result in results):.2f}"
                for part in (itemgetter(0), itemgetter(1), sum)
            ),
            f"{statistics.median(result['cpu'] for result in results):.2f}",
        )
    console.print(table)


if __name__ == "__main__":
    main()
