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
_TCP_INFO_SIZE: Final = 128
_BYTES_ACKED: Final = 120
"""Where struct tcp_info (linux/tcp.h, since 4.1) has the 64-bit tcpi_bytes_acked."""


class Undelivered(Exception):
    """The client went away before it had everything."""


def longest(size: int) -> float:
    """Seconds that sending `size` bytes may take."""
    return GRACE + size / SLOWEST


async def acknowledged(connection: socket.socket) -> None:
    """Wait for the acknowledgement of all that the kernel has taken so far.

    Raises Undelivered when the client resets the connection before.
    """
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
