"""Real TFTP clients fetch from the server, over a good wire and over bad ones."""

import hashlib
import random
import select
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from pxe.site import Observation, Outcome
from pxe.tftp.content import BytesContent, Content, FileContent, NoContent
from pxe.tftp.options import Bounds
from pxe.tftp.probe import probe
from pxe.tftp.server import Limits, TftpServer
from tests.tools import require_tool

LOOPBACK = IPv4Address("127.0.0.1")
MIB = 1 << 20


@dataclass
class Served:
    """A running server and what it told."""

    folder: Path
    port: int
    observations: list[Observation] = field(default_factory=list)

    def add(self, name: str, size: int) -> bytes:
        data = random.Random(size).randbytes(size)
        (self.folder / name).write_bytes(data)
        return data

    def wait_for(self, outcome: Outcome, name: str, timeout: float = 10) -> Observation:
        """The observation of one transfer, which comes after the client has ended."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            for seen in list(self.observations):
                if (seen.outcome, seen.subject) == (outcome, name):
                    return seen
            time.sleep(0.01)
        raise AssertionError(f"no {outcome} of {name} among {self.observations}")


@contextmanager
def serving(folder: Path, limits: Limits) -> Iterator[Served]:
    def resolve(name: str, peer: IPv4Address) -> Content:
        if name == "hello.cfg":
            return BytesContent(f"hello {peer}\n".encode())
        path = folder / name
        return FileContent(path) if path.is_file() else NoContent(f"no {name} in the catalog")

    observations: list[Observation] = []
    server = TftpServer(LOOPBACK, 0, None, resolve, observations.append, limits)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield Served(folder, server.port, observations)
    finally:
        server.stop()
        thread.join(10)
        assert not thread.is_alive()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    folder = tmp_path / "served"
    folder.mkdir()
    with serving(folder, Limits()) as server:
        yield server


class Relay:
    """A bad wire: loses, repeats and delays datagrams between clients and a server's port."""

    def __init__(self, port: int, *, loss: int = 0, copies: int = 0, reorder: int = 0) -> None:
        """The last three: of 100 datagrams in either direction."""
        self._target = ("127.0.0.1", port)
        self._loss, self._copies, self._reorder = loss, copies, reorder
        self._random = random.Random(7)
        self._front = self._socket()
        self.port: int = self._front.getsockname()[1]
        self._other: dict[socket.socket, tuple[socket.socket, list[tuple[str, int]]]] = {}
        self._by_client: dict[tuple[str, int], socket.socket] = {}
        self._late: list[Callable[[], object]] = []
        self._stopping = False
        self.carried = 0
        self._thread = threading.Thread(target=self._run)

    def _socket(self) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, MIB)
        return sock

    def _run(self) -> None:
        poll = select.epoll()
        files = {self._front.fileno(): self._front}
        poll.register(self._front, select.EPOLLIN)
        while not self._stopping:
            events = poll.poll(0.01)
            for late in self._late:
                late()
            self._late = []
            for fd, _ in events:
                sock = files[fd]
                datagram, sender = sock.recvfrom(65536)
                if sock is self._front:
                    if sender not in self._by_client:
                        for each in self._pair(sender):
                            files[each.fileno()] = each
                            poll.register(each, select.EPOLLIN)
                    self._carry(self._by_client[sender], datagram, [self._target])
                    continue
                out, target = self._other[sock]
                back, _ = self._other[out]
                assert back is sock
                self._other[out] = (sock, [sender])  # where answers to this one belong
                self._carry(out, datagram, target if target else [self._target])
        poll.close()
        for each in files.values():
            each.close()

    def _pair(self, client: tuple[str, int]) -> tuple[socket.socket, socket.socket]:
        to_client, to_server = self._socket(), self._socket()
        self._other[to_client] = (to_server, [])
        self._other[to_server] = (to_client, [client])
        self._by_client[client] = to_server
        return to_client, to_server

    def _carry(
        self, out: socket.socket, datagram: bytes, target: Sequence[tuple[str, int]]
    ) -> None:
        self.carried += 1
        # atftp aborts at a second OACK, so none is repeated here.
        repeat = datagram[:2] != b"\0\6" and self._random.randrange(100) < self._copies
        for _ in range(1 + repeat):
            if self._random.randrange(100) < self._loss:
                continue
            if self._random.randrange(100) < self._reorder:
                self._late.append(lambda: out.sendto(datagram, target[0]))
            else:
                out.sendto(datagram, target[0])

    def __enter__(self) -> "Relay":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping = True
        self._thread.join(5)


Fetch = Callable[[int, str, Path], None]


def call(*argv: object, timeout: float = 90) -> None:
    done = subprocess.run(
        [str(word) for word in argv],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, f"{argv}\n{done.stdout}{done.stderr}"


def tftp_hpa(*options: str) -> Fetch:
    def fetch(port: int, name: str, to: Path) -> None:
        tool = require_tool("tftp", "tftp-hpa")
        call(tool, *options, "127.0.0.1", port, "-c", "get", name, to)

    return fetch


def atftp(*options: str) -> Fetch:
    def fetch(port: int, name: str, to: Path) -> None:
        words = [word for option in options for word in ("--option", option)]
        tool = require_tool("atftp")
        call(tool, *words, "--get", "-r", name, "-l", to, "127.0.0.1", port)

    return fetch


def busybox(*options: str) -> Fetch:
    def fetch(port: int, name: str, to: Path) -> None:
        tool = require_tool("busybox", "busybox-static")
        call(tool, "tftp", "-g", *options, "-r", name, "-l", to, "127.0.0.1", port)

    return fetch


def curl(*options: str) -> Fetch:
    def fetch(port: int, name: str, to: Path) -> None:
        url = f"tftp://127.0.0.1:{port}/{name}"
        call(require_tool("curl"), "--silent", "--show-error", *options, "-o", to, url)

    return fetch


CLIENTS = {
    "tftp-hpa": tftp_hpa("-m", "octet"),
    "atftp": atftp(),
    "atftp blksize": atftp("blksize 1428"),
    "atftp all": atftp("blksize 1468", "tsize 0", "timeout 2"),
    "atftp window 4": atftp("blksize 1428", "windowsize 4"),
    "atftp window 16": atftp("blksize 1428", "windowsize 16"),
    "busybox": busybox(),
    "busybox blksize": busybox("-b", "1428"),
    "curl": curl(),
    "curl blksize": curl("--tftp-blksize", "1428"),
    "curl no options": curl("--tftp-no-options"),
}


SIZES = (0, 1, 511, 512, 513, 1428, 2 * MIB + 5)
TSIZE_0_IS_AN_ERROR = ("curl", "curl blksize")
"""Whoever serves it: curl's own tftp.c refuses an OACK with it."""


@pytest.mark.parametrize(
    ("client", "size"),
    [(c, size) for c in CLIENTS for size in SIZES if size or c not in TSIZE_0_IS_AN_ERROR],
)
def test_a_client_fetches_a_file_whole(
    served: Served, tmp_path: Path, client: str, size: int
) -> None:
    data = served.add("file", size)
    CLIENTS[client](served.port, "file", tmp_path / "got")
    got = (tmp_path / "got").read_bytes() if size else b""
    assert got == data
    told = served.wait_for(Outcome.SERVED, "file")
    assert told.facts["bytes"] == size
    assert told.facts["resent"] == 0


@pytest.mark.parametrize(
    ("client", "blksize", "windowsize"),
    [("tftp-hpa", 512, 1), ("atftp all", 1468, 1), ("atftp window 16", 1428, 16),
     ("busybox blksize", 1428, 1), ("curl blksize", 1428, 1), ("curl no options", 512, 1)],
)  # fmt: skip
def test_a_client_gets_the_options_that_it_asks_for(
    served: Served, tmp_path: Path, client: str, blksize: int, windowsize: int
) -> None:
    served.add("file", 5000)
    CLIENTS[client](served.port, "file", tmp_path / "got")
    facts = served.wait_for(Outcome.SERVED, "file").facts
    assert (facts["blksize"], facts["windowsize"]) == (blksize, windowsize)


def test_tftpys_client_fetches_a_file_whole(served: Served) -> None:
    data = served.add("file", MIB + 7)
    fetched = probe(LOOPBACK, served.port, "file")
    assert (fetched.size, fetched.sha256) == (len(data), hashlib.sha256(data).hexdigest())


def test_rendered_text_is_served_like_a_file(served: Served, tmp_path: Path) -> None:
    CLIENTS["curl"](served.port, "hello.cfg", tmp_path / "got")
    assert (tmp_path / "got").read_text() == "hello 127.0.0.1\n"


def test_a_text_in_netascii_arrives_as_it_was(served: Served, tmp_path: Path) -> None:
    text = b"first\nsecond \r third\n" * 500
    (served.folder / "text").write_bytes(text)
    tftp_hpa("-m", "netascii")(served.port, "text", tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == text


@pytest.mark.parametrize("client", ["tftp-hpa", "atftp", "busybox", "curl"])
def test_a_missing_file_is_an_error_at_once(served: Served, tmp_path: Path, client: str) -> None:
    started = time.monotonic()
    try:
        CLIENTS[client](served.port, "nothing", tmp_path / "got")
    except AssertionError:
        pass
    else:
        assert client == "tftp-hpa", "the client must notice"  # it always returns 0
    assert time.monotonic() - started < 4
    assert served.wait_for(Outcome.REFUSED, "nothing").reason == "no nothing in the catalog"


@pytest.mark.parametrize(
    ("client", "size"),
    [("tftp-hpa", 34 * MIB), ("atftp", 34 * MIB), ("curl no options", 34 * MIB)],
)
def test_block_numbers_roll_over(served: Served, tmp_path: Path, client: str, size: int) -> None:
    data = served.add("large", size)
    CLIENTS[client](served.port, "large", tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == data
    assert served.wait_for(Outcome.SERVED, "large").facts["blksize"] == 512


def test_a_file_beyond_the_memory_limit_is_streamed_and_rolls_over(tmp_path: Path) -> None:
    folder = tmp_path / "served"
    folder.mkdir()
    with serving(folder, Limits(packet_memory=MIB, file_memory=MIB)) as served:
        data = served.add("large", 40 * MIB)
        atftp("windowsize 16")(served.port, "large", tmp_path / "got")
        assert (tmp_path / "got").read_bytes() == data


def test_large_blocks_are_granted_where_they_are_allowed(tmp_path: Path) -> None:
    folder = tmp_path / "served"
    folder.mkdir()
    with serving(folder, Limits(bounds=Bounds(blksize=65464))) as served:
        data = served.add("file", MIB + 3)
        atftp("blksize 65464")(served.port, "file", tmp_path / "got")
        assert (tmp_path / "got").read_bytes() == data
        assert served.wait_for(Outcome.SERVED, "file").facts["blksize"] == 65464


WIRES = {
    "loses 3 %": {"loss": 3},
    "repeats everything": {"copies": 100},
    "reorders 10 %": {"reorder": 10},
    "does all of it": {"loss": 2, "copies": 5, "reorder": 5},
}


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(
    "client", ["tftp-hpa", "atftp blksize", "atftp window 4", "atftp window 16", "curl no options"]
)
def test_a_bad_wire_carries_the_file_whole(
    served: Served, tmp_path: Path, client: str, wire: str
) -> None:
    # Not "curl" alone: it asks for 6 seconds before each retransmission, and gets them.
    data = served.add("file", 200_000)
    with Relay(served.port, **WIRES[wire]) as relay:
        CLIENTS[client](relay.port, "file", tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == data
    blksize = int(served.observations[-1].facts.get("blksize", 512)) if served.observations else 512
    assert relay.carried < 10 * (len(data) // blksize + 20)


def test_garbage_at_full_speed_does_not_keep_a_client_from_its_file(
    served: Served, tmp_path: Path
) -> None:
    data = served.add("file", MIB)
    done = threading.Event()
    sent = 0

    def flood() -> None:
        nonlocal sent
        rng = random.Random(3)
        junk = [rng.randbytes(size) for size in (0, 1, 4, 30, 500)] + [b"\0\1none\0octet\0"]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            while not done.is_set():
                sock.sendto(rng.choice(junk), ("127.0.0.1", served.port))
                sent += 1

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        for _ in range(3):
            CLIENTS["atftp blksize"](served.port, "file", tmp_path / "got")
            assert (tmp_path / "got").read_bytes() == data
    finally:
        done.set()
        thread.join()
    assert sent > 1000
