"""Responses whose end is known: sent whole, or the connection is cut off."""

import asyncio
import fcntl
import os
import socket
import struct
import termios
from collections.abc import Mapping
from typing import BinaryIO, Final

from aiohttp import web

from pxe.catalog import File
from pxe.http.select import Selection, entity_tag, select
from pxe.http.turns import Turns

GRACE: Final = 30.0
"""Seconds that any transfer may take."""
SLOWEST: Final = 16 << 10
"""Bytes per second that a transfer must reach beyond its grace."""
PIECE: Final = 4 << 20
"""Bytes that one sendfile(2) may take before others have their chance: about 2 ms."""
DELIVERY_LIMIT: Final = 10.0
"""Seconds within which the client's TCP must acknowledge an answer."""

_TCP_CLOSE: Final = 7  # linux/net/tcp_states.h
_TCP_INFO_SIZE: Final = 128
_BYTES_ACKED: Final = 120
"""Where struct tcp_info (linux/tcp.h, since 4.1) has the 64-bit tcpi_bytes_acked."""


class Undelivered(Exception):
    """The client went away or stalled before it had everything."""


async def send_body(
    request: web.Request,
    status: int,
    body: bytes,
    content_type: str = "text/plain; charset=utf-8",
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """Send a short body, with its length and not to be kept by anyone."""
    response = web.Response(
        status=status,
        body=body if status != 204 else None,
        headers={"Server": "rackseed", "Cache-Control": "no-store", **(headers or {})},
    )
    if status != 204:
        response.headers["Content-Type"] = content_type
    await response.prepare(request)
    await response.write_eof()
    return response


async def deliver(request: web.Request, body: bytes, content_type: str) -> web.Response:
    """Send a body and return only once the client's TCP has acknowledged its last byte.

    Raises Undelivered when the connection ends first, TimeoutError after `DELIVERY_LIMIT`.
    """
    transport = _transport(request)
    transport.set_write_buffer_limits(high=0)  # then the end of writing is the kernel's
    # A client that has all may close at once, and asyncio then closes our socket: keep a second.
    with socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno())) as connection:
        async with asyncio.timeout(DELIVERY_LIMIT):
            response = await send_body(request, 200, body, content_type)
            await _acknowledged(connection)
    return response


async def send_file(
    request: web.Request, file: File, content_type: str, turns: Turns
) -> web.StreamResponse:
    """Send the part of a file that the request's headers select, by sendfile(2), in its turn.

    Raises OSError when the file is gone (nothing was sent then), Undelivered when the client is.
    """
    head = request.method == "HEAD"
    selection = select(file, request.headers, head=head)
    response = _file_response(file, selection, content_type)
    if head or not selection.length:
        await response.prepare(request)
    else:
        with file.open() as handle:
            await response.prepare(request)
            async with (
                turns.take(request.remote or "", selection.length),
                asyncio.timeout(GRACE + selection.length / SLOWEST),
            ):
                await _send_part(request, handle, selection)
    await response.write_eof()
    return response


def cut_off(request: web.Request) -> None:
    """End the connection at once: what follows on it could not be understood."""
    if request.transport is not None:
        request.transport.abort()


def _file_response(file: File, selection: Selection, content_type: str) -> web.StreamResponse:
    headers = {"Server": "rackseed", "ETag": entity_tag(file), "Accept-Ranges": "bytes"}
    if content_range := selection.content_range(file.size):
        headers["Content-Range"] = content_range
    if selection.status != 304:
        headers["Content-Type"] = content_type
    response = web.StreamResponse(status=selection.status, headers=headers)
    if selection.status != 304:
        response.content_length = selection.length
    return response


async def _send_part(request: web.Request, handle: BinaryIO, selection: Selection) -> None:
    transport = _transport(request)
    os.posix_fadvise(handle.fileno(), selection.offset, selection.length, os.POSIX_FADV_SEQUENTIAL)
    # asyncio's own sendfile is for TLS: it asks epoll anew for each piece of a file.
    encrypted = transport.get_extra_info("sslcontext") is not None
    try:
        if encrypted or transport.get_write_buffer_size():
            sent = await asyncio.get_running_loop().sendfile(
                transport, handle, selection.offset, selection.length
            )
        else:
            sent = await _pour(transport, handle, selection)
    except (OSError, RuntimeError) as error:  # RuntimeError: the transport is closing
        sent = handle.tell() - selection.offset
        raise Undelivered(f"went away after {sent} of {selection.length} bytes") from error
    if sent != selection.length:
        raise Undelivered("the file became shorter while it was sent")


async def _pour(transport: asyncio.Transport, handle: BinaryIO, selection: Selection) -> int:
    """Send a part of a file whenever the socket takes more; returns bytes sent.

    The file's position is then where it ended, also when an OSError is raised.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    at, end = selection.offset, selection.offset + selection.length

    def writable() -> None:
        nonlocal at
        if done.done():
            return  # cancelled a moment ago
        try:
            sent = os.sendfile(connection.fileno(), handle.fileno(), at, min(end - at, PIECE))
        except BlockingIOError:
            return
        except OSError as error:
            loop.remove_writer(connection)
            done.set_exception(error)
            return
        at += sent
        if at == end or not sent:
            loop.remove_writer(connection)
            done.set_result(None)

    transport.pause_reading()  # a client that closes its half has not gone away
    # A second descriptor: asyncio lets nobody else watch the one of its transport.
    with socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno())) as connection:
        writable()
        try:
            if not done.done():
                loop.add_writer(connection, writable)
            await done
        finally:
            loop.remove_writer(connection)
            handle.seek(at)
            transport.resume_reading()
    return at - selection.offset


async def _acknowledged(connection: socket.socket) -> None:
    """Wait for the acknowledgement of all that the kernel has taken so far."""
    wanted = _acked(connection) + _unacked(connection)
    pause = 0.001
    while True:
        # Looked at first: the last acknowledgement may come just before a reset, never after.
        reset = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _TCP_CLOSE
        if _acked(connection) >= wanted:
            return
        if reset:
            raise Undelivered("the client reset the connection")
        await asyncio.sleep(pause)
        pause = min(2 * pause, 0.05)


def _acked(connection: socket.socket) -> int:
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_SIZE)
    return int(struct.unpack_from("Q", info, _BYTES_ACKED)[0])


def _unacked(connection: socket.socket) -> int:
    queued = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4))
    return int(struct.unpack("i", queued)[0])


def _transport(request: web.Request) -> asyncio.Transport:
    if request.transport is None:
        raise Undelivered("the client went away")
    assert isinstance(request.transport, asyncio.Transport)
    return request.transport
