"""Responses whose end is known: sent whole, or the connection is cut off."""

import asyncio
import fcntl
import os
import socket
import struct
import termios
import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import BinaryIO, Final

from aiohttp import HttpVersion11, web

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


class Sent(web.StreamResponse):
    """A response that we wrote ourselves: its head would take aiohttp longer than all the rest."""

    def __init__(self, request: web.BaseRequest, status: int, size: int = 0) -> None:
        """`size` is the bytes of the body that were sent."""
        super().__init__(status=status)
        self.size = size
        self._stays = request.keep_alive

    @property
    def keep_alive(self) -> bool:
        """Whether the connection waits for another request."""
        return self._stays

    async def prepare(self, request: web.BaseRequest) -> None:
        """Nothing is left to be sent."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to be sent."""


async def send_body(
    request: web.BaseRequest,
    status: int,
    body: bytes,
    *fields: str,
    content_type: str = "text/plain; charset=utf-8",
) -> Sent:
    """Send a short body, with its length and not to be kept by anyone."""
    if status != 204:  # which has neither (RFC 9110, 8.6)
        fields = (*fields, f"Content-Type: {content_type}", f"Content-Length: {len(body)}")
    head = _head(request, status, "Cache-Control: no-store", *fields)
    wanted = b"" if request.method == "HEAD" else body
    await _write(request, head + wanted)
    return Sent(request, status, len(wanted))


async def deliver(request: web.BaseRequest, body: bytes, content_type: str) -> Sent:
    """Send a body and return only once the client's TCP has acknowledged its last byte.

    Raises Undelivered when the connection ends first, TimeoutError after `DELIVERY_LIMIT`.
    """
    transport = _transport(request)
    transport.set_write_buffer_limits(high=0)  # then the end of writing is the kernel's
    # A client that has all may close at once, and asyncio then closes our socket: keep a second.
    with socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno())) as connection:
        async with asyncio.timeout(DELIVERY_LIMIT):
            response = await send_body(request, 200, body, content_type=content_type)
            await _acknowledged(connection)
    return response


async def send_file(request: web.BaseRequest, file: File, content_type: str, turns: Turns) -> Sent:
    """Send the part of a file that the request's headers select, by sendfile(2), in its turn.

    Raises OSError when the file is gone (nothing was sent then), Undelivered when the client is.
    """
    head = request.method == "HEAD"
    selection = select(file, request.headers, head=head)
    fields = _file_fields(file, selection, content_type)
    if head or not selection.length:
        await _write(request, _head(request, selection.status, *fields))
        return Sent(request, selection.status)
    with file.open() as handle:
        await _write(request, _head(request, selection.status, *fields))
        async with (
            turns.take(request.remote or "", selection.length),
            asyncio.timeout(GRACE + selection.length / SLOWEST),
        ):
            await _send_part(request, handle, selection)
    return Sent(request, selection.status, selection.length)


def cut_off(request: web.BaseRequest) -> None:
    """End the connection at once: what follows on it could not be understood."""
    if request.transport is not None:
        request.transport.abort()


def _head(request: web.BaseRequest, status: int, *fields: str) -> bytes:
    """A status line and the header fields of every response, then `fields` (RFC 9112, 3 to 5)."""
    new = request.version >= HttpVersion11
    lines = [
        f"HTTP/1.{int(new)} {status} {HTTPStatus(status).phrase}",
        "Server: rackseed",
        f"Date: {_date(int(time.time()))}",
        *fields,
    ]
    if request.keep_alive is not new:  # what is not the version's own way (RFC 9112, 9.3)
        lines.append(f"Connection: {'close' if new else 'keep-alive'}")
    lines.append("\r\n")
    return "\r\n".join(lines).encode("latin-1")


@lru_cache(maxsize=1)
def _date(seconds: int) -> str:
    return formatdate(seconds, usegmt=True)


def _file_fields(file: File, selection: Selection, content_type: str) -> list[str]:
    fields = [f"ETag: {entity_tag(file)}", "Accept-Ranges: bytes"]
    if content_range := selection.content_range(file.size):
        fields.append(f"Content-Range: {content_range}")
    if selection.status != 304:
        fields += [f"Content-Type: {content_type}", f"Content-Length: {selection.length}"]
    return fields


async def _write(request: web.BaseRequest, data: bytes) -> None:
    """Hand bytes to the socket, or wait until what lies before them has room for them."""
    transport = _transport(request)
    transport.write(data)
    request.writer.output_size += len(data)
    if transport.get_write_buffer_size():
        await request.writer.drain()


async def _send_part(request: web.BaseRequest, handle: BinaryIO, selection: Selection) -> None:
    transport = _transport(request)
    os.posix_fadvise(handle.fileno(), selection.offset, selection.length, os.POSIX_FADV_SEQUENTIAL)
    # asyncio's own sendfile is for TLS: it asks epoll anew for each piece of a file.
    encrypted = transport.get_extra_info("sslcontext") is not None
    send = _sendfile if encrypted or transport.get_write_buffer_size() else _pour
    if await send(transport, handle, selection) != selection.length:
        raise Undelivered("the file became shorter while it was sent")


async def _sendfile(transport: asyncio.Transport, handle: BinaryIO, selection: Selection) -> int:
    loop = asyncio.get_running_loop()
    try:
        return await loop.sendfile(transport, handle, selection.offset, selection.length)
    except (OSError, RuntimeError) as error:  # RuntimeError: the transport is closing
        raise _went_away(handle.tell() - selection.offset, selection) from error


async def _pour(transport: asyncio.Transport, handle: BinaryIO, selection: Selection) -> int:
    """Send a part of a file whenever the socket takes more; returns bytes sent."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    file, at, end = handle.fileno(), selection.offset, selection.offset + selection.length
    # A second descriptor: asyncio lets nobody else watch the one of its transport.
    connection = os.dup(transport.get_extra_info("socket").fileno())

    def writable() -> None:
        nonlocal at
        if done.done():
            return  # or cancelled a moment ago
        try:
            sent = os.sendfile(connection, file, at, min(end - at, PIECE))
        except BlockingIOError:
            return
        except OSError as error:
            done.set_exception(error)
            return
        at += sent
        if at == end or not sent:
            done.set_result(None)

    transport.pause_reading()  # a client that closes its half has not gone away
    try:
        writable()
        if not done.done():
            loop.add_writer(connection, writable)
        await done
    except OSError as error:
        raise _went_away(at - selection.offset, selection) from error
    finally:
        loop.remove_writer(connection)
        os.close(connection)
        transport.resume_reading()
    return at - selection.offset


def _went_away(sent: int, selection: Selection) -> Undelivered:
    return Undelivered(f"went away after {sent} of {selection.length} bytes")


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


def _transport(request: web.BaseRequest) -> asyncio.Transport:
    transport = request.transport
    if transport is None or transport.is_closing():
        raise Undelivered("the client went away")
    assert isinstance(transport, asyncio.Transport)
    return transport
