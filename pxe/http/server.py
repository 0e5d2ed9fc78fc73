"""Listens for HTTP, and bounds what a peer can make the process hold."""

import asyncio
import contextlib
import logging
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiohttp import StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import HttpProcessingError

from pxe.errors import InterfaceUnusable
from pxe.http.app import App
from pxe.http.report import BODY_LIMIT
from pxe.settings import Settings

IDLE_LIMIT: Final = 30.0
"""Seconds to send the whole head of the first request, or of the next one."""
SILENCE_LIMIT: Final = 60_000
"""Milliseconds that sent data may stay unacknowledged (TCP_USER_TIMEOUT, RFC 5482)."""
CONNECTION_LIMIT: Final = 4096
"""Connections of one process; more are cut off at once."""
LINE_LIMIT: Final = 4096
"""Bytes of the request line, and of each header."""
HEADERS_LIMIT: Final = 64
CONGESTION_CONTROL: Final = b"cubic"
"""Linux's default, also where the machine has another for the wide world: BBR sends in small paced
bursts, and a rack that boots at once then spends a third more on receiving (tcp(7))."""
BACKLOG: Final = 1024
HANDSHAKE_LIMIT: Final = 10.0
"""Seconds for a TLS handshake."""
STOP_LIMIT: Final = 2.0
"""Seconds that transfers have to end when the server stops."""

_protocol_log = logging.getLogger(f"{__name__}.protocol")


def _our_own_error(record: logging.LogRecord) -> bool:
    """Drop what peers cause; aiohttp shows a malformed request, and with it perhaps a token."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError | ConnectionError)


_protocol_log.addFilter(_our_own_error)


@dataclass(frozen=True, slots=True)
class HttpServer:
    """A listening server; `port` is the real one when 0 was asked for."""

    port: int
    _runner: web.ServerRunner
    _listener: asyncio.Server

    async def stop(self) -> None:
        """Stop listening, let transfers end for `STOP_LIMIT` seconds, cut off the rest."""
        self._listener.close()
        await self._runner.cleanup()


class _CutOff(asyncio.Protocol):
    """One connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.abort()


async def start_http(
    app: App,
    settings: Settings,
    *,
    sock: socket.socket | None = None,
    reuse_port: bool = False,
    tls: ssl.SSLContext | None = None,
    connections: int = CONNECTION_LIMIT,
    idle: float = IDLE_LIMIT,
) -> HttpServer:
    """Serve `app` on `sock`, or on the address and port of `settings`.

    With `reuse_port` several processes may share the port, and the kernel spreads connections.
    Raises InterfaceUnusable when the address cannot be bound.
    """
    sock = sock or _listening_socket(settings, reuse_port=reuse_port)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENCE_LIMIT)
    with contextlib.suppress(OSError):  # the kernel was built without it
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, CONGESTION_CONTROL)
    server = web.Server(
        app,
        request_factory=_request,
        access_log=None,
        auto_decompress=False,
        keepalive_timeout=idle,
        lingering_time=1.0,
        logger=_protocol_log,
        max_field_size=LINE_LIMIT,
        max_headers=HEADERS_LIMIT,
        max_line_size=LINE_LIMIT,
    )
    runner = web.ServerRunner(server, shutdown_timeout=STOP_LIMIT)
    await runner.setup()

    def accept() -> asyncio.Protocol:
        return server() if len(server.connections) < connections else _CutOff()

    listener = await asyncio.get_running_loop().create_server(
        accept,
        sock=sock,
        backlog=BACKLOG,
        ssl=tls,
        ssl_handshake_timeout=HANDSHAKE_LIMIT if tls else None,
    )
    return HttpServer(sock.getsockname()[1], runner, listener)


def ssl_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.2 or newer, which is what UEFI firmware speaks.

    Raises InterfaceUnusable when the files are not a certificate chain and its key in PEM.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise InterfaceUnusable(
            f"{certificate} and {key}: {error}, expected a PEM certificate and its key"
        ) from None
    return context


def _request(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: web.RequestHandler,
    writer: AbstractStreamWriter,
    task: asyncio.Task[None],
) -> web.BaseRequest:
    loop = asyncio.get_running_loop()
    return web.BaseRequest(
        message, payload, protocol, writer, task, loop, client_max_size=BODY_LIMIT
    )


def _listening_socket(settings: Settings, *, reuse_port: bool) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((str(settings.address), settings.http_port))
    except OSError as error:
        sock.close()
        failure = InterfaceUnusable(
            f"HTTP cannot listen on {settings.address}:{settings.http_port}: {error.strerror}"
        )
        failure.add_note("give another http_port in the inventory, or stop what listens there")
        raise failure from None
    return sock
