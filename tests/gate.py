"""A TCP forwarder that holds a connection after so many bytes, as a slow network would."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

PIECE = 1 << 16


class Gate:
    """Forwards to one port of loopback; what clients send waits beyond `limit`, if it is set."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.limit: int | None = None
        """Bytes that one connection may send; None: all."""
        self.held = threading.Event()
        """A connection came to the limit."""
        self.opened = threading.Event()
        """Lets all through that waits."""
        self._lost = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def hold_after(self, octets: int) -> None:
        """From now on connections wait after so many bytes."""
        self.held.clear()
        self._lost.clear()
        self.opened.clear()
        self.limit = octets

    def open(self) -> None:
        """Hold nothing any more."""
        self.limit = None
        self.opened.set()

    def cut(self) -> None:
        """Hold nothing any more; what waits never arrives."""
        self._lost.set()
        self.open()

    def close(self) -> None:
        """Take no more connections."""
        self.open()
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._forward, args=(client,), daemon=True).start()

    def _forward(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self.target))
        except OSError:
            client.close()
            return
        threading.Thread(target=_copy, args=(server, client), daemon=True).start()
        sent = 0
        with suppress(OSError):
            while data := client.recv(PIECE):
                sent += len(data)
                if self.limit is not None and sent > self.limit:
                    self.held.set()
                    self.opened.wait()
                    if self._lost.is_set():
                        break
                server.sendall(data)
        _end(server)
        client.close()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(PIECE):
            target.sendall(data)
    _end(target)


def _end(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_WR)


@contextmanager
def gate(target: int) -> Iterator[Gate]:
    """A gate before a port, until the end of the `with`."""
    made = Gate(target)
    try:
        yield made
    finally:
        made.close()
