"""HTTP beside nginx: one big initrd to many clients at once, and what a small request costs.

usage: python benchmarks/web.py [--clients N] [--megabytes N] [--rounds N] [--requests N]

Both serve the same file by sendfile on loopback, in turn, in one run, with one worker and with one
per core. The client is one process that lets the kernel discard what arrives (MSG_TRUNC), so that
the servers are what is measured. Printed: the aggregate in MB/s, median of the rounds, and the
ratio of ours to nginx's; then the processor time, user and system, that one worker spends on a
request for 500 bytes, on a connection of its own and on one that stays. Needs nginx, no root.
"""

import argparse
import asyncio
import multiprocessing
import os
import select
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rich.console import Console
from rich.table import Table

from pxe.catalog import Catalog
from pxe.http.app import BootApp
from pxe.http.server import start_http
from tests.sites import LOOPBACK, SETTINGS, MemorySite
from tests.tools import require_tool

DISCARD = 4 << 20
"""Bytes that one recv may discard."""
SMALL = b"x" * 499 + b"\n"
START_LIMIT = 10.0
"""Seconds for a server to listen."""

NGINX = """\
daemon off;
worker_processes {workers};
error_log stderr crit;
pid {folder}/nginx.pid;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{ listen 127.0.0.1:{port} reuseport; location /artifacts/ {{ root {folder}; }} }}
}}
"""


@contextmanager
def nginx(folder: Path, port: int, workers: int) -> Iterator[Sequence[int]]:
    """nginx serving `folder`/artifacts, until the block ends; gives its processes."""
    config = folder / f"nginx-{workers}.conf"
    config.write_text(NGINX.format(folder=folder, port=port, workers=workers))
    argv = [str(require_tool("nginx")), "-p", str(folder), "-c", str(config)]
    process = subprocess.Popen(argv, stderr=subprocess.DEVNULL)
    try:
        wait_for(port, workers)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        yield [int(pid) for pid in children.split()]
    finally:
        process.send_signal(signal.SIGQUIT)
        process.wait(10)


@contextmanager
def ours(folder: Path, port: int, workers: int) -> Iterator[Sequence[int]]:
    """Our HTTP plane serving the same, until the block ends; gives its processes."""
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=serve, args=(folder, port)) for _ in range(workers)]
    for process in processes:
        process.start()
    try:
        wait_for(port, workers)
        yield [process.pid or 0 for process in processes]
    finally:
        for process in processes:
            process.terminate()
            process.join(10)


def serve(folder: Path, port: int) -> None:
    """One worker of ours."""

    async def run() -> None:
        settings = replace(SETTINGS, address=LOOPBACK, http_port=port)
        site = MemorySite()
        app = BootApp(site, Catalog({}, folder / "artifacts", None, site, settings))
        await start_http(app, settings, reuse_port=True)
        await asyncio.Event().wait()

    asyncio.run(run())


def wait_for(port: int, workers: int) -> None:
    """Until `workers` listeners hold the port: each of them has a line of its own."""
    wanted = f"0100007F:{port:04X}"
    end = time.monotonic() + START_LIMIT
    while time.monotonic() < end:
        lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
        if sum(line[1] == wanted and line[3] == "0A" for line in lines[1:]) >= workers:
            return
        time.sleep(0.05)
    raise SystemExit(f"nothing listens on port {port} after {START_LIMIT:.0f} s")


def download(port: int, clients: int, size: int) -> float:
    """Seconds until every client has the whole file."""
    poll = select.epoll()
    began = time.perf_counter()
    left: dict[int, int] = {}
    sockets: dict[int, socket.socket] = {}
    for _ in range(clients):
        peer = socket.create_connection(("127.0.0.1", port))
        peer.sendall(b"GET /artifacts/initrd HTTP/1.1\r\nHost: x\r\n\r\n")
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += peer.recv(1)
        assert head.startswith(b"HTTP/1.1 200 "), head
        assert f"content-length: {size}\r\n".encode() in head.lower(), head
        peer.setblocking(False)
        poll.register(peer, select.EPOLLIN)
        sockets[peer.fileno()], left[peer.fileno()] = peer, size
    buffer = bytearray(DISCARD)
    while left:
        for number, _ in poll.poll():
            got = sockets[number].recv_into(buffer, DISCARD, socket.MSG_TRUNC)
            assert got, "the server closed too early"
            left[number] -= got
            if not left[number]:
                del left[number]
                poll.unregister(number)
                sockets.pop(number).close()
    return time.perf_counter() - began


def measure(
    folder: Path, clients: int, size: int, rounds: int
) -> Mapping[tuple[str, int], list[float]]:
    """MB/s of each round by (server, workers); the servers take turns in every round."""
    rates: dict[tuple[str, int], list[float]] = {}
    port = 20000 + os.getpid() % 10000
    for _ in range(rounds):
        for workers in sorted({1, os.cpu_count() or 1}):
            for name, server in (("nginx", nginx), ("rackseed", ours)):
                port += 1
                with server(folder, port, workers):
                    seconds = download(port, clients, size)
                rates.setdefault((name, workers), []).append(clients * size / seconds / 1e6)
    return rates


def ask(peer: socket.socket, *, stays: bool) -> None:
    """One small request, and all of its response."""
    wish = "keep-alive" if stays else "close"
    peer.sendall(f"GET /artifacts/small HTTP/1.1\r\nHost: x\r\nConnection: {wish}\r\n\r\n".encode())
    heard = b""
    while not heard.endswith(SMALL):
        got = peer.recv(1 << 16)
        assert got, heard
        heard += got


def microseconds(port: int, pids: Sequence[int], requests: int, *, stays: bool) -> float:
    """Processor time of a request, of all that were asked one after the other."""

    def ask_all(count: int) -> None:
        if stays:
            with socket.create_connection(peername) as peer:
                for _ in range(count):
                    ask(peer, stays=True)
        else:
            for _ in range(count):
                with socket.create_connection(peername) as peer:
                    ask(peer, stays=False)

    def spent() -> int:
        tasks = (task for pid in pids for task in Path(f"/proc/{pid}/task").iterdir())
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)

    peername = ("127.0.0.1", port)
    ask_all(50)
    before = spent()
    ask_all(requests)
    return (spent() - before) / requests / 1000


def shown(rates: list[float]) -> str:
    """Median, and from worst to best."""
    return f"{statistics.median(rates):.0f} ({min(rates):.0f}-{max(rates):.0f})"


def costs(folder: Path, requests: int, rounds: int) -> Mapping[tuple[str, bool], list[float]]:
    """Microseconds of each round by (server, whether the connection stays)."""
    found: dict[tuple[str, bool], list[float]] = {}
    port = 10000 + os.getpid() % 10000  # below those that the kernel gives to clients
    for _ in range(rounds):
        for name, server in (("nginx", nginx), ("rackseed", ours)):
            port += 1
            with server(folder, port, 1) as pids:
                for stays in (False, True):
                    each = microseconds(port, pids, requests, stays=stays)
                    found.setdefault((name, stays), []).append(each)
    return found


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=2000, help="small ones, in each round")
    options = parser.parse_args()
    size = options.megabytes * 1_000_000
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rackseed-http-")))
        folder.chmod(0o755)  # nginx's workers give up root
        (folder / "artifacts").mkdir()
        (folder / "artifacts/initrd").write_bytes(os.urandom(1_000_000) * options.megabytes)
        (folder / "artifacts/small").write_bytes(SMALL)
        rates = measure(folder, options.clients, size, options.rounds)
        show_rates(rates, options)
        show_costs(costs(folder, options.requests, options.rounds), options)


def show_rates(rates: Mapping[tuple[str, int], list[float]], options: argparse.Namespace) -> None:
    """The first table."""
    table = Table(
        "workers", "nginx MB/s", "rackseed MB/s", "ratio",
        title=f"{options.megabytes} MB to {options.clients} clients, median of {options.rounds}",
    )  # fmt: skip
    for workers in sorted({workers for _, workers in rates}):
        theirs, own = rates["nginx", workers], rates["rackseed", workers]
        ratio = statistics.median(own) / statistics.median(theirs)
        table.add_row(str(workers), shown(theirs), shown(own), f"{ratio:.2f}")
    Console(width=100).print(table)


def show_costs(found: Mapping[tuple[str, bool], list[float]], options: argparse.Namespace) -> None:
    """The second table."""
    table = Table(
        "connection", "nginx µs", "rackseed µs", "ratio",
        title=f"Processor time of a request for 500 bytes, median of {options.rounds}",
    )  # fmt: skip
    for stays, word in ((False, "of its own"), (True, "stays")):
        theirs, own = found["nginx", stays], found["rackseed", stays]
        ratio = statistics.median(own) / statistics.median(theirs)
        table.add_row(word, shown(theirs), shown(own), f"{ratio:.1f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
