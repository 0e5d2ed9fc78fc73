"""A connection at its worst moments: a full buffer, an error of ours, a client that just left."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import pytest

from pxe.http import connection
from pxe.http.connection import BODIES_OF_PEER, IN_A_ROW, Connection, Shared
from pxe.http.exchange import Ended, Request, Responding, Response, text
from pxe.http.server import HttpServer
from pxe.http.turns import AHEAD, AT_ONCE, SIP, SIP_EVERY, SMALL, TURN_LIMIT
from pxe.http.wire import LITTLE, SO_SNDBUFFORCE

SIZE = SMALL + 1
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
GET_FILE = b"GET /file HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
WHOLE = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
BEGUN = WHOLE[:-1]
ENOUGH = 500
"""Answers that fill the smallest buffers for sure."""


@dataclass
class SmallApp:
    """Answers at once, and remembers what came of it."""

    file: Path
    ends: list[Ended] = field(default_factory=list)
    broken: bool = False
    make: Callable[[], Responding] = lambda: text(200, b"ok\n")

    def takes_body(self, request: Request) -> bool:
        return request.method == "POST"

    def respond(self, request: Request) -> Responding:
        if request.path != "/file":
            return self.make()
        file = self.file.open("rb", buffering=0)
        return Response(200, fields=(f"Content-Length: {SIZE}",), file=file, length=SIZE)

    def ended(self, ended: Ended) -> None:
        self.ends.append(ended)
        if self.broken:
            raise RuntimeError("the store is gone")


@pytest.fixture
def app(tmp_path: Path) -> SmallApp:
    (tmp_path / "file").write_bytes(b"x" * SIZE)
    return SmallApp(tmp_path / "file")


@pytest.fixture
async def shared(app: SmallApp) -> Shared:
    return Shared(app, asyncio.get_running_loop(), idle=0.3)


@pytest.fixture
async def server(shared: Shared) -> AsyncIterator[HttpServer]:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608)
    listener.listen()
    listener.setblocking(False)
    server = HttpServer(shared, listener, None, 4096, 4096)
    yield server
    await server.stop()


def client(server: HttpServer, address: str = "127.0.0.1") -> socket.socket:
    peer = socket.socket()
    peer.bind((address, 0))
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
    peer.connect(("127.0.0.1", server.port))
    peer.setblocking(False)
    return peer


async def spin() -> None:
    """Let the server do all that it can do now."""
    for _ in range(40):
        await asyncio.sleep(0)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(3):
        while not condition():
            await asyncio.sleep(0.01)


async def hear(peer: socket.socket, enough: Callable[[bytearray], bool]) -> bytes:
    heard = bytearray()
    async with asyncio.timeout(5):
        while not enough(heard):
            data = await asyncio.get_running_loop().sock_recv(peer, 1 << 16)
            if not data:
                break
            heard += data
    return bytes(heard)


async def answers_about_to_block(server: HttpServer, app: SmallApp) -> range:
    """Numbers of answers around that which fills the buffers of who reads nothing."""
    with client(server) as peer:
        peer.send(GET * ENOUGH)
        await spin()
        fitting = len(app.ends)
    await spin()
    assert 10 < fitting < ENOUGH - 10
    return range(fitting - 5, fitting + 5)


async def test_a_continue_that_the_kernel_cannot_take_at_once_ends_nothing(
    server: HttpServer, shared: Shared, app: SmallApp
) -> None:
    for before in await answers_about_to_block(server, app):
        app.ends.clear()
        with client(server) as peer:
            peer.send(GET * before + POST)
            await spin()
            if len(app.ends) < before:
                break  # already the answers before it fill the buffer
            heard = await hear(peer, lambda heard: heard.endswith(b"100 Continue\r\n\r\n"))
            await spin()
            assert len(app.ends) == before
            assert shared.bodies
            peer.send(b"hello")
            heard += await hear(peer, lambda heard: heard.endswith(b"ok\n"))
            assert heard.count(b" 200 OK") == before + 1
            assert app.ends[-1].request.body == b"hello"
            assert not shared.bodies
    else:
        pytest.fail("the buffer was never full")


async def test_a_waiting_file_whose_head_the_kernel_cannot_take_at_once_is_sent_whole(
    server: HttpServer, shared: Shared, app: SmallApp
) -> None:
    for before in await answers_about_to_block(server, app):
        app.ends.clear()
        held = [shared.turns.take(f"{before}.{n}", SIZE, 1e18) for n in range(AT_ONCE)]
        with client(server) as peer:
            peer.send(GET * before + GET_FILE)
            await spin()
            if len(app.ends) < before:
                break
            await hear(peer, lambda heard: heard.endswith(b"\r\n\r\n"))
            await spin()
            assert len(app.ends) == before
            for turn in held:
                shared.turns.give(turn, 1e18)
            heard = await hear(peer, lambda heard: len(heard) == SIZE)
            assert heard == b"x" * SIZE
            await spin()
            assert [end.failure for end in app.ends] == [""] * (before + 1)
    else:
        pytest.fail("the buffer was never full")


def may_take_ahead() -> bool:
    """Whether we may ask for more than the system's bound: root of a container may not."""
    with socket.socket() as sock:
        try:
            sock.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, AHEAD)
        except PermissionError:
            return False
    return True


@pytest.mark.skipif(not may_take_ahead(), reason="needs CAP_NET_ADMIN")
async def test_the_kernel_takes_a_file_ahead_whose_turn_it_is(
    server: HttpServer, app: SmallApp
) -> None:
    with client(server) as peer:
        peer.send(GET_FILE)
        await until(lambda: app.ends)  # it has taken all before the client reads anything
        heard = await hear(peer, lambda heard: len(heard) > SIZE)
        _, _, body = heard.partition(b"\r\n\r\n")
        body += await hear(peer, lambda more: len(body) + len(more) == SIZE)
        assert body == b"x" * SIZE


async def test_a_slow_transfer_that_lost_its_place_fills_little_of_the_kernel(
    server: HttpServer, shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pxe.http.turns.AHEAD", 0)  # it would take the whole file
    with client(server) as peer:
        peer.send(GET_FILE)
        await hear(peer, lambda heard: heard.endswith(b"x"))
        [slow] = shared.connections
        shared.turns.look(monotonic() + 2 * TURN_LIMIT)
        bound = slow._wire.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)
        assert bound == LITTLE


async def test_a_client_that_waits_for_its_turn_hears_a_little_and_then_gets_the_rest(
    server: HttpServer, shared: Shared, app: SmallApp
) -> None:
    content = os.urandom(SIZE)
    app.file.write_bytes(content)
    held = [shared.turns.take(f"{n}", SIZE, 1e18) for n in range(AT_ONCE)]
    with client(server) as peer:
        peer.send(GET_FILE)
        heard = await hear(peer, lambda heard: heard.endswith(b"\r\n\r\n"))
        start = len(heard)
        for sips in (1, 2, 3):
            shared.turns.look(monotonic() + sips * SIP_EVERY)
            wanted = start + sips * SIP - len(heard)
            heard += await hear(peer, lambda heard, wanted=wanted: len(heard) >= wanted)
        assert heard[start:] == content[: 3 * SIP]
        for turn in held:
            shared.turns.give(turn, 1e18)
        heard += await hear(peer, lambda more: len(more) == SIZE - 3 * SIP)
        assert heard[start:] == content
        await spin()
        assert [end.failure for end in app.ends] == [""]


async def test_a_client_that_does_not_take_its_sips_gets_no_more_of_them(
    server: HttpServer, shared: Shared, app: SmallApp
) -> None:
    for turn in range(AT_ONCE):
        shared.turns.take(f"{turn}", SIZE, 1e18)
    with client(server) as peer:
        peer.send(GET_FILE)
        await hear(peer, lambda heard: heard.endswith(b"\r\n\r\n"))
        [waiting] = shared.connections
        for sips in range(1, 20):
            shared.turns.look(monotonic() + sips * SIP_EVERY)
        sipped = waiting._sipped
        assert SIP <= sipped < 19 * SIP
    await until(lambda: app.ends)
    [end] = app.ends
    assert f" after {sipped} of {SIZE} bytes" in end.failure


async def test_a_response_made_for_a_client_that_just_left_is_not_sent(
    server: HttpServer, shared: Shared, app: SmallApp
) -> None:
    known: list[Connection] = []

    async def make() -> Response:
        known.extend(shared.connections)
        shared.loop.call_soon(known[0].lost, "the client went away")
        file = app.file.open("rb", buffering=0)
        return Response(200, file=file, length=SIZE)

    app.make = make
    with client(server) as peer:
        peer.send(GET)
        await spin()
    shared.turns.look(1e18)
    assert [end.failure for end in app.ends] == ["the client went away"]
    assert known[0]._response is None


async def test_what_cannot_be_noted_ends_neither_the_connection_nor_the_limits(
    server: HttpServer, shared: Shared, app: SmallApp, caplog: pytest.LogCaptureFixture
) -> None:
    app.broken = True
    with client(server) as peer:
        peer.send(GET * 2)
        await hear(peer, lambda heard: heard.count(b"ok\n") == 2)
        peer.send(POST)
        await until(lambda: shared.bodies)
        [late] = shared.connections
        late._deadline = 0
        assert (await hear(peer, lambda heard: False)).endswith(b"did not arrive in time\n")
    assert "not noted" in caplog.text
    with client(server):
        await until(lambda: shared.connections)
        await until(lambda: not shared.connections)  # its time was over


async def test_an_error_of_ours_while_looking_for_what_takes_too_long_ends_no_limit(
    server: HttpServer, shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[object] = []
    shared.loop.set_exception_handler(lambda _, what: told.append(what["exception"]))
    with client(server):
        await until(lambda: shared.connections)
        with monkeypatch.context() as patch:
            patch.setattr(shared.turns, "look", lambda now: 1 / 0)
            await until(lambda: told)
        await until(lambda: not shared.connections)


async def test_a_client_that_ends_gets_all_that_it_asked_for_before(server: HttpServer) -> None:
    wanted = 10 * IN_A_ROW
    with client(server) as peer:
        peer.send(GET)
        await hear(peer, lambda heard: heard.endswith(b"ok\n"))
        peer.send(GET * wanted)
        peer.shutdown(socket.SHUT_WR)
        heard = await hear(peer, lambda heard: False)
    assert heard.count(b" 200 OK") == wanted


async def test_one_client_cannot_take_all_places_for_bodies(
    server: HttpServer, shared: Shared
) -> None:
    with ExitStack() as stack:
        slow = [stack.enter_context(client(server, "127.0.0.1")) for _ in range(BODIES_OF_PEER)]
        for peer in slow:
            peer.send(BEGUN)
        await until(lambda: len(shared.bodies) == BODIES_OF_PEER)

        async def said(data: bytes, address: str) -> bytes:
            with client(server, address) as peer:
                peer.send(data)
                return (await hear(peer, lambda heard: b"\r\n\r\n" in heard))[:12]

        assert await said(BEGUN, "127.0.0.1") == b"HTTP/1.1 503"
        assert await said(WHOLE, "127.0.0.1") == b"HTTP/1.1 200"  # which needs no place

        with client(server, "127.0.0.2") as other:
            other.send(BEGUN)
            await until(lambda: len(shared.bodies) == BODIES_OF_PEER + 1)
            other.send(b"o")
            await hear(other, lambda heard: heard.endswith(b"ok\n"))
        slow[0].send(b"o")
        await hear(slow[0], lambda heard: heard.endswith(b"ok\n"))
        assert len(shared.bodies) == BODIES_OF_PEER - 1
    await until(lambda: not shared.bodies)


async def test_bodies_are_waited_for_a_few_at_a_time(
    server: HttpServer, shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "BODIES_AT_ONCE", 1)
    with client(server) as slow:
        slow.send(BEGUN)
        await until(lambda: shared.bodies)
        with client(server, "127.0.0.2") as peer:
            peer.send(BEGUN)
            heard = await hear(peer, lambda heard: False)
    assert heard.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: 5\r\n" in heard


async def test_a_connection_that_breaks_at_once_is_counted_no_more(
    server: HttpServer, shared: Shared, app: SmallApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(app, "takes_body", lambda request: 1 / 0)
        with client(server) as peer:
            peer.send(BEGUN)
            with pytest.raises(ConnectionResetError):
                await hear(peer, lambda heard: False)
    assert not shared.connections
    assert not server._peers
    assert [end.failure for end in app.ends] == ["internal error: ZeroDivisionError"]
