"""The sockets of the server: one on the well-known port, one for each transfer."""

import socket

IP_MTU_DISCOVER, IP_PMTUDISC_DONT, IP_MTU = 10, 0, 14
"""linux/in.h; Python 3.11 has no names for them."""
LISTENER_BUFFER = 1 << 20
"""Octets of requests that wait: a whole row of racks may be switched on at once."""


def listening_socket(address: str, port: int, interface: str | None) -> socket.socket:
    """Takes requests; other processes may bind the same port. Raises OSError."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, LISTENER_BUFFER)
        if interface is not None:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        listener.bind((address, port))
    except OSError:
        listener.close()
        raise
    return listener


def transfer_socket(local: str, interface: str | None, peer: tuple[str, int]) -> socket.socket:
    """A socket that exchanges datagrams with `peer` only.

    Raises OSError, also when there is no way to the peer.
    """
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        if interface is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        # A client beyond a narrow link gets fragments instead of nothing.
        sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT)
        sock.bind((local, 0))
        sock.connect(peer)
    except OSError:
        sock.close()
        raise
    return sock


def path_mtu(sock: socket.socket) -> int:
    """Octets of the largest packet that the kernel knows to reach the peer whole."""
    return sock.getsockopt(socket.IPPROTO_IP, IP_MTU)
