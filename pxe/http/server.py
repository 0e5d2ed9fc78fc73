"""Listens for HTTP, and bounds what peers can make the process hold."""

import asyncio
import contextlib
import errno
import logging
import socket
import ssl
from collections import Counter
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from time import monotonic
from typing import Final

from pxe.errors import InterfaceUnusable
from pxe.http.connection import IDLE_LIMIT, Connection, Shared
from pxe.http.exchange import App
from pxe.http.wire import EncryptedWire, Wire
from pxe.settings import Settings

log = logging.getLogger(__name__)

SILENCE_LIMIT: Final = 60_000
"""Milliseconds that sent data may stay unacknowledged (TCP_USER_TIMEOUT, RFC 5482)."""
CONNECTION_LIMIT: Final = 4096
"""Connections of one process; more are cut off at once."""
PEER_LIMIT: Final = 512
"""Of them from one address: a rack behind it (NAT) fits, eight such addresses fill us up."""
CONGESTION_CONTROL: Final = b"cubic"
"""Linux's default, also where the machine has another for the wide world: BBR sends in small paced
bursts, and a rack that boots at once then spends a third more on receiving (tcp(7))."""
BACKLOG: Final = 4096
SPEAKS_WITHIN: Final = 1
"""Seconds that a client may take from its connection to its first byte before we hear of it: most
come together, and need not be waited for then (TCP_DEFER_ACCEPT, tcp(7))."""
ACCEPTED_AT_ONCE: Final = 32
LOOK_EVERY: Final = 0.1
"""Seconds between two looks for what takes too long."""
REST: Final = 1.0
"""Seconds without new connections after the system had no room for one."""
TOLD_EVERY: Final = 10.0
"""Seconds between two lines about connections that were cut off."""
STOP_LIMIT: Final = 2.0
"""Seconds that transfers have to end when the server stops."""
_NO_ROOM: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class HttpServer:
    """A listening server; `port` is the real one when 0 was asked for."""

    def __init__(
        self,
        shared: Shared,
        listener: socket.socket,
        tls: ssl.SSLContext | None,
        limit: int,
        peer_limit: int,
    ) -> None:
        self._shared = shared
        self._listener = listener
        self._tls = tls
        self._limit = limit
        self._peer_limit = peer_limit
        self._peers: dict[str, int] = {}
        """Connections by address."""
        self._cut: Counter[str] = Counter()
        self._told = -TOLD_EVERY
        self.port: int = listener.getsockname()[1]
        self._looking: asyncio.TimerHandle | None = None
        self._listen()

    async def stop(self) -> None:
        """Stop listening, let transfers end for `STOP_LIMIT` seconds, cut off the rest."""
        shared = self._shared
        shared.stopping = True
        shared.loop.remove_reader(self._listener)
        self._listener.close()
        for connection in list(shared.connections):
            connection.stop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_LIMIT):
                while shared.connections:
                    await asyncio.sleep(LOOK_EVERY / 2)
        for connection in list(shared.connections):
            connection.lost("the server stops")
        if self._looking is not None:
            self._looking.cancel()

    def _listen(self) -> None:
        if not self._shared.stopping:
            self._shared.loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                sock, address = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _NO_ROOM:
                    log.error("no room for more connections error=%s", error.strerror)
                    self._shared.loop.remove_reader(self._listener)
                    self._shared.loop.call_later(REST, self._listen)
                    return
                continue  # that one went away before we came to it
            try:
                self._take(sock, address[0])
            except OSError:
                sock.close()  # it is gone already

    def _take(self, sock: socket.socket, peer: str) -> None:
        shared = self._shared
        if self._looking is None:
            self._look_later()
        if len(shared.connections) >= self._limit:
            self._cut_off(sock, "too many connections")
            return
        theirs = self._peers.get(peer, 0)
        if theirs >= self._peer_limit:
            self._cut_off(sock, f"too many connections from {peer}")
            return
        sock.setblocking(False)
        loop, tls = shared.loop, self._tls
        wire = Wire(loop, sock) if tls is None else EncryptedWire(loop, sock, tls)
        connection = Connection(shared, wire, IPv4Address(peer), partial(self._left, peer))
        shared.connections.add(connection)
        self._peers[peer] = theirs + 1
        try:
            wire.open(connection)
        except Exception as error:
            log.exception("connection broke address=%s", peer)
            connection.lost(f"internal error: {type(error).__name__}")

    def _left(self, peer: str, connection: Connection) -> None:
        self._shared.connections.remove(connection)
        self._peers[peer] -= 1
        if not self._peers[peer]:
            del self._peers[peer]

    def _cut_off(self, sock: socket.socket, reason: str) -> None:
        sock.close()
        self._cut[reason] += 1

    def _look(self) -> None:
        if not (self._shared.connections or self._cut):
            self._looking = None
            return
        self._look_later()  # first: whatever happens below, limits hold
        now = monotonic()
        self._shared.turns.look(now)
        for connection in list(self._shared.connections):
            connection.look(now)
        if self._cut and now - self._told >= TOLD_EVERY:
            for reason, count in self._cut.most_common(3):
                log.warning("connections cut off count=%d reason=%s", count, reason)
            self._cut.clear()
            self._told = now

    def _look_later(self) -> None:
        self._looking = self._shared.loop.call_later(LOOK_EVERY, self._look)


async def start_http(
    app: App,
    settings: Settings,
    *,
    sock: socket.socket | None = None,
    reuse_port: bool = False,
    tls: ssl.SSLContext | None = None,
    connections: int = CONNECTION_LIMIT,
    connections_of_peer: int = PEER_LIMIT,
    idle: float = IDLE_LIMIT,
) -> HttpServer:
    """Serve `app` on `sock`, or on the address and port of `settings`.

    With `reuse_port` several processes may share the port, and the kernel spreads connections.
    Raises InterfaceUnusable when the address cannot be bound.
    """
    sock = sock or _bound_socket(settings, reuse_port=reuse_port)
    # What is set here, accepted connections inherit.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENCE_LIMIT)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, SPEAKS_WITHIN)
    with contextlib.suppress(OSError):  # the kernel was built without it
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, CONGESTION_CONTROL)
    try:
        sock.listen(BACKLOG)
    except OSError as error:
        raise _unusable(sock, settings, error) from None
    sock.setblocking(False)
    shared = Shared(app, asyncio.get_running_loop(), idle)
    return HttpServer(shared, sock, tls, connections, connections_of_peer)


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


def _bound_socket(settings: Settings, *, reuse_port: bool) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((str(settings.address), settings.http_port))
    except OSError as error:
        raise _unusable(sock, settings, error) from None
    return sock


def _unusable(sock: socket.socket, settings: Settings, error: OSError) -> InterfaceUnusable:
    sock.close()
    failure = InterfaceUnusable(
        f"HTTP cannot listen on {settings.address}:{settings.http_port}: {error.strerror}"
    )
    failure.add_note("give another http_port in the inventory, or stop what listens there")
    return failure
