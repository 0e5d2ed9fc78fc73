"""An answer counts as delivered when all of it was acknowledged, and not a moment earlier."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Iterator

import pytest

from pxe.http import transfer
from pxe.http.transfer import Undelivered, acknowledged

SIZE = 256 << 10


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A server's end that gave `SIZE` bytes to its kernel, and a client that read nothing."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * SIZE)
        client = stack.enter_context(socket.socket())
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(listener.getsockname())
        server = stack.enter_context(listener.accept()[0])
        server.setblocking(False)
        client.setblocking(False)
        assert server.send(bytes(SIZE)) == SIZE
        yield server, client


async def read(client: socket.socket, size: int) -> None:
    async with asyncio.timeout(5):
        while size > 0:
            size -= len(await asyncio.get_running_loop().sock_recv(client, size))


async def test_what_is_acknowledged_while_we_look_is_not_counted_twice(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, client = pair
    really_unacked, looks = transfer._unacked, 0

    def slowly_unacked(connection: socket.socket) -> int:
        nonlocal looks
        looks += 1
        while looks == 1 and really_unacked(connection) > SIZE // 4:
            with contextlib.suppress(BlockingIOError):
                client.recv(SIZE // 8)
        return really_unacked(connection)

    monkeypatch.setattr(transfer, "_unacked", slowly_unacked)
    waiting = asyncio.create_task(acknowledged(server))
    await asyncio.sleep(0.1)
    assert looks
    assert not waiting.done()
    reading = asyncio.create_task(read(client, SIZE))
    async with asyncio.timeout(5):
        await waiting
    assert really_unacked(server) == 0
    reading.cancel()


async def test_a_client_that_ends_after_it_has_all_has_it(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    server, client = pair
    await read(client, SIZE)
    client.close()
    async with asyncio.timeout(5):
        await acknowledged(server)


async def test_what_a_reset_cuts_off_is_not_delivered(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    server, client = pair
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    with pytest.raises(Undelivered, match="reset"):
        async with asyncio.timeout(5):
            await acknowledged(server)
