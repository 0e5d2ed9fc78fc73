"""How long sending may take, and how it is known that all has arrived."""

import asyncio
import fcntl
import socket
import struct
import termios
from typing import Final

GRACE: Final = 30.0
"""Seconds that any transfer may take."""
SLOWEST: Final = 16 << 10
"""Bytes per second that a transfer must reach beyond its grace."""
DELIVERY_LIMIT: Final = 10.0
"""Seconds within which the client's TCP must acknowledge an answer."""

_TCP_CLOSE: Final = 7  # linux/net/tcp_states.h


class Undelivered(Exception):
    """The client went away before it had everything."""


def longest(size: int) -> float:
    """Seconds that sending `size` bytes may take."""
    return GRACE + size / SLOWEST


async def acknowledged(connection: socket.socket) -> None:
    """Wait for the acknowledgement of all that the kernel has taken so far.

    Raises Undelivered when the client resets the connection before.
    """
    pause = 0.001
    while True:
        # Looked at first: the last acknowledgement may come just before a reset, never after.
        # What a reset left unacknowledged stays counted.
        reset = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _TCP_CLOSE
        if not _unacked(connection):
            return
        if reset:
            raise Undelivered("the client reset the connection")
        await asyncio.sleep(pause)
        pause = min(2 * pause, 0.05)


def _unacked(connection: socket.socket) -> int:
    """Bytes that the kernel took and the peer has not acknowledged (tcp(7))."""
    queued = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4))
    return int(struct.unpack("i", queued)[0])
