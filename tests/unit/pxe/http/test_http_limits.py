"""What clients cannot do to the HTTP plane: hold it up, fill it, or make it hear two requests."""

import asyncio
import contextlib
import dataclasses
import errno
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from pxe.catalog import Catalog
from pxe.http import connection, server
from pxe.http.app import BootApp
from pxe.http.connection import IN_A_ROW
from pxe.http.reader import AHEAD_LIMIT, HEAD_LIMIT, HEADERS_LIMIT, LINE_LIMIT
from pxe.http.server import HttpServer, start_http
from pxe.site import Answer, Outcome, ReportKind
from tests.sites import CLIENT, KERNEL, LOOPBACK, SETTINGS, MemorySite

LISTEN = dataclasses.replace(SETTINGS, address=LOOPBACK, http_port=0)
BIG = 8 << 20
BODY = b'{"kind":"installed"}'


@pytest.fixture
def site() -> MemorySite:
    return MemorySite(target=KERNEL)


@pytest.fixture
def app(tmp_path: Path, site: MemorySite) -> BootApp:
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts/small").write_bytes(b"small")
    with (tmp_path / "artifacts/big").open("wb") as big:
        big.truncate(BIG)
    return BootApp(site, Catalog({}, tmp_path / "artifacts", None, site, LISTEN))


@pytest.fixture
async def http(app: BootApp) -> AsyncIterator[HttpServer]:
    http = await start_http(app, LISTEN, idle=1)
    yield http
    await http.stop()


class Peer:
    """A client that says what it is told to, byte for byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def of(cls, http: HttpServer) -> "Peer":
        return cls(*await asyncio.open_connection("127.0.0.1", http.port))

    def say(self, data: bytes) -> None:
        self.writer.write(data)

    async def hear(self) -> bytes:
        """All until the server closes, with or without a reset."""
        heard = bytearray()
        async with asyncio.timeout(10):
            with contextlib.suppress(ConnectionError):
                while data := await self.reader.read(1 << 16):
                    heard += data
        self.writer.close()
        return bytes(heard)


async def say(http: HttpServer, *pieces: bytes) -> bytes:
    peer = await Peer.of(http)
    for piece in pieces:
        peer.say(piece)
        await peer.writer.drain()
    return await peer.hear()


def get(path: str, *headers: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: x", *headers, "\r\n"]).encode()


def post(*headers: str, body: bytes = BODY) -> bytes:
    lines = ["POST /report/t0ken HTTP/1.1", "Host: x", *headers, "\r\n"]
    return "\r\n".join(lines).encode() + body


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)


LAST = get("/healthz", "Connection: close")
CHUNKED = "Transfer-Encoding: chunked"


@pytest.mark.parametrize(
    "headers",
    [
        ("Content-Length: 20", CHUNKED),
        (CHUNKED, "Content-Length: 20"),
        ("Content-Length: 20", "Content-Length: 5"),
        ("Content-Length: 20", "Content-Length: 20"),
        ("Content-Length: +20",),
        ("Content-Length: 0x14",),
        ("Content-Length: 20, 20",),
        ("Transfer-Encoding: gzip",),
        ("Transfer-Encoding: chunked, gzip",),
        ("Transfer-Encoding: xchunked",),
        ("Transfer-Encoding : chunked",),
        ("Content-Length : 20",),
        ("X: y\r\n Content-Length: 20", "Content-Length: 5"),
        ("X: y\rContent-Length: 20",),
    ],
)
async def test_what_two_servers_could_read_in_two_ways_is_refused(
    http: HttpServer, site: MemorySite, headers: tuple[str, ...]
):
    heard = await say(http, post(*headers, body=BODY + LAST))
    assert heard.startswith(b"HTTP/1.1 400 ")
    assert heard.count(b"HTTP/1.1 ") == 1
    assert site.reports == []


async def test_what_lies_in_an_unwanted_body_is_no_request(http: HttpServer, site: MemorySite):
    inner = get("/artifacts/small")
    heard = await say(http, get("/healthz", f"Content-Length: {len(inner) + 5}") + inner, LAST)
    assert heard.count(b"HTTP/1.1 ") == 1
    assert b"Connection: close\r\n" in heard
    assert [seen.subject for seen in site.observations] == ["/healthz"]


async def test_a_body_in_chunks_is_read_and_what_follows_is_the_next_request(
    http: HttpServer, site: MemorySite
):
    chunks = b"5\r\n" + BODY[:5] + b"\r\nf;x=y\r\n" + BODY[5:] + b"\r\n0\r\n\r\n"
    heard = await say(http, post(CHUNKED, body=chunks) + LAST)
    assert heard.startswith(b"HTTP/1.1 204 ")
    assert heard.endswith(b"ok\n")
    assert [report.kind for report in site.reports] == [ReportKind.INSTALLED]


async def test_a_broken_chunk_is_refused(http: HttpServer, site: MemorySite):
    heard = await say(http, post(CHUNKED, body=b"5\r\n" + BODY[:5] + b"\r\nzz\r\n"))
    assert heard.startswith(b"HTTP/1.1 400 ")
    assert site.reports == []
    assert [seen.outcome for seen in site.observations] == [Outcome.REFUSED]


async def test_requests_sent_ahead_are_answered_in_their_order(http: HttpServer, site: MemorySite):
    paths = ["/healthz", f"/ipxe/{CLIENT}.ipxe", "/artifacts/small", "/none"]
    heard = await say(http, b"".join(map(get, paths * IN_A_ROW)) + LAST)
    assert [seen.subject for seen in site.observations] == [*paths * IN_A_ROW, "/healthz"]
    assert heard.count(b"HTTP/1.1 200 ") == 3 * IN_A_ROW + 1
    assert heard.count(b"HTTP/1.1 404 ") == IN_A_ROW


async def test_requests_sent_ahead_arrive_in_any_pieces(http: HttpServer, site: MemorySite):
    data = post(f"Content-Length: {len(BODY)}") + get("/artifacts/small") + LAST
    peer = await Peer.of(http)
    for place in range(len(data)):
        peer.say(data[place : place + 1])
        await asyncio.sleep(0)
    heard = await peer.hear()
    assert [part[:5] for part in heard.split(b"HTTP/1.1")[1:]] == [b" 204 ", b" 200 ", b" 200 "]
    assert len(site.reports) == 1
    assert heard.endswith(b"ok\n")


async def test_who_sends_ahead_without_end_is_not_read_while_it_is_served(http: HttpServer):
    peer = socket.create_connection(("127.0.0.1", http.port))
    peer.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(peer, get("/artifacts/big"))
    taken, flood = 0, get("/healthz") * 1000
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1):
            while True:
                await loop.sock_sendall(peer, flood)
                taken += len(flood)
    assert taken < 64 * AHEAD_LIMIT  # what two kernel buffers and our own hold
    peer.close()


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /" + b"a" * LINE_LIMIT + b" HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (get("/healthz", "X: " + "a" * (LINE_LIMIT + 1)), 400),
        (get("/healthz", *["X: y"] * HEADERS_LIMIT), 400),
        (get("/healthz", *["X: " + "a" * 1000] * 20), 431),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * HEAD_LIMIT, 400),
        (b"\r\n" * HEAD_LIMIT, 431),
        (b"GET /healthz HTTP/1.1\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    ],
)
async def test_a_head_that_is_too_long_or_none_is_refused(
    http: HttpServer, site: MemorySite, head: bytes, status: int
):
    heard = await say(http, head)
    assert heard.startswith(f"HTTP/1.1 {status} ".encode())
    assert heard.count(b"HTTP/1.1 ") == 1
    assert site.observations == []


async def test_a_head_that_comes_byte_by_byte_must_be_whole_in_time(http: HttpServer):
    peer = await Peer.of(http)
    loop = asyncio.get_running_loop()
    began = loop.time()

    async def drip() -> None:
        for letter in get("/healthz", "X: " + "y" * 1000):
            peer.say(bytes([letter]))
            await asyncio.sleep(0.05)

    dripping = asyncio.create_task(drip())
    assert await peer.hear() == b""
    assert 0.9 < loop.time() - began < 4
    dripping.cancel()


async def test_the_next_request_too_must_come_in_time(http: HttpServer):
    peer = await Peer.of(http)
    peer.say(get("/healthz"))
    async with asyncio.timeout(5):
        heard = await peer.hear()
    assert heard.endswith(b"ok\n")
    assert heard.count(b"HTTP/1.1 ") == 1


async def test_a_body_that_does_not_come_in_time_is_408(
    http: HttpServer, site: MemorySite, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(connection, "BODY_SECONDS", 0.2)
    heard = await say(http, post("Content-Length: 1000"))
    assert heard.startswith(b"HTTP/1.1 408 ")
    assert site.observations[0].reason == "the body did not arrive in time"


async def test_a_client_that_leaves_in_the_middle_of_its_body_is_observed(
    http: HttpServer, site: MemorySite
):
    peer = await Peer.of(http)
    peer.say(post("Content-Length: 1000"))
    peer.writer.write_eof()
    assert await peer.hear() == b""
    assert site.observations[0].outcome is Outcome.FAILED
    assert site.reports == []


async def test_a_half_closed_client_gets_all_that_it_asked_for(http: HttpServer, site: MemorySite):
    peer = await Peer.of(http)
    peer.say(get(f"/ipxe/{CLIENT}.ipxe") + get("/artifacts/big"))
    peer.writer.write_eof()
    heard = await peer.hear()
    assert heard.count(b"HTTP/1.1 200 ") == 2
    assert len(heard.rpartition(b"\r\n\r\n")[2]) == BIG
    assert [seen.outcome for seen in site.observations] == [Outcome.SERVED] * 2


async def test_a_client_that_takes_nothing_is_cut_off(
    http: HttpServer, site: MemorySite, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(connection, "longest", lambda size: 0.3)
    peer = socket.create_connection(("127.0.0.1", http.port))
    peer.sendall(get("/artifacts/big"))
    await until(lambda: site.observations)
    assert site.observations[0].outcome is Outcome.FAILED
    assert site.observations[0].reason.startswith("the client stalled after ")
    assert site.observations[0].reason.endswith(f" of {BIG} bytes")
    peer.close()


async def test_an_answer_that_nobody_acknowledges_is_not_burned(
    http: HttpServer, site: MemorySite, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(connection, "DELIVERY_LIMIT", 0.3)
    site.answers["t0ken"] = Answer(b"x" * (1 << 20))
    peer = socket.socket()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    peer.connect(("127.0.0.1", http.port))
    peer.sendall(get("/answer/t0ken"))
    await until(lambda: site.observations)
    assert site.observations[0].outcome is Outcome.FAILED
    assert site.delivered == []
    peer.close()


async def test_what_asks_for_another_protocol_is_answered_in_this_one(http: HttpServer):
    upgrade = get("/healthz", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x")
    heard = await say(http, upgrade + b"\x81\x05hello" * 10)
    assert heard.startswith(b"HTTP/1.1 200 ")
    assert b"Connection: close\r\n" in heard
    assert heard.endswith(b"ok\n")


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("wish", ["keep-alive", "close", ""])
async def test_a_connection_stays_as_its_version_and_its_wish_say(
    http: HttpServer, version: str, wish: str
):
    lines = [f"GET /healthz HTTP/{version}", "Host: x"]
    if wish:
        lines.append(f"Connection: {wish}")
    stays = wish == "keep-alive" or (version == "1.1" and not wish)
    heard = await say(http, "\r\n".join([*lines, "\r\n"]).encode() + LAST)
    assert heard.count(b" 200 OK\r\n") == 1 + stays
    told = heard.partition(b"\r\n\r\n")[0]
    assert (b"Connection: close" in told) is (version == "1.1" and not stays)
    assert (b"Connection: keep-alive" in told) is (version == "1.0" and stays)


async def test_stopping_ends_who_is_idle_and_lets_transfers_end(app: BootApp, site: MemorySite):
    http = await start_http(app, LISTEN)
    idle, busy = await Peer.of(http), await Peer.of(http)
    idle.say(get("/healthz"))
    busy.say(get("/artifacts/big"))
    await until(lambda: len(site.observations) == 1)
    await busy.reader.readexactly(1000)
    stopping = asyncio.create_task(http.stop())
    assert (await idle.hear()).endswith(b"ok\n")
    await busy.hear()
    await stopping
    assert [seen.outcome for seen in site.observations] == [Outcome.SERVED] * 2
    with pytest.raises(ConnectionError):
        await Peer.of(http)


async def test_nothing_stays_open_whatever_clients_do(http: HttpServer, site: MemorySite):
    before = open_files()

    async def leave(after: int, how: Callable[[Peer], object]) -> None:
        peer = await Peer.of(http)
        peer.say(get("/artifacts/big"))
        await peer.reader.readexactly(after)
        how(peer)
        peer.writer.close()

    ways: list[Callable[[Peer], object]] = [
        lambda peer: peer.writer.transport.abort(),
        lambda peer: peer.writer.write_eof(),
        lambda peer: peer.say(get("/healthz")),
        lambda peer: peer.say(b"\0"),
    ]
    await asyncio.gather(*(leave(1000, ways[number % 4]) for number in range(40)))
    await until(lambda: len(site.observations) >= 40)
    await until(lambda: open_files() <= before)


class FullOnce(socket.socket):
    """A listener that has no room for a connection at first."""

    full = True

    def accept(self) -> tuple[socket.socket, Any]:
        if self.full:
            self.full = False
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


async def test_a_system_without_room_is_left_alone_for_a_moment(
    app: BootApp, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(server, "REST", 0.05)
    listener = FullOnce()
    listener.bind(("127.0.0.1", 0))
    http = await start_http(app, LISTEN, sock=listener)
    assert (await say(http, LAST)).endswith(b"ok\n")
    assert "no room for more connections" in caplog.text
    await http.stop()
