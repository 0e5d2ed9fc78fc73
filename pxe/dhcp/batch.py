"""Many datagrams with one call of the kernel: recvmmsg(2) and sendmmsg(2).

The calls keep the interpreter: none of them waits, and were it given away for each datagram, a
thread that works beside would get as much of the time as all of the answering.
"""

import ctypes
import os
import socket
from collections.abc import Sequence
from errno import EAGAIN
from struct import Struct
from typing import Final

_libc: Final = ctypes.PyDLL(None, use_errno=True)
_libc.recvmmsg.argtypes = (
    ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p,
)  # fmt: skip
_libc.sendmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)
_NAME: Final = Struct("=HH4s8x")
"""struct sockaddr_in, ip(7): family, then port and address in the network's order."""


class _Part(ctypes.Structure):  # struct iovec, readv(2)
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Header(ctypes.Structure):  # struct msghdr, recvmsg(2)
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("parts", ctypes.c_void_p),
        ("part_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Message(ctypes.Structure):  # struct mmsghdr, recvmmsg(2)
    _fields_ = (("header", _Header), ("length", ctypes.c_uint))


def name_of(address: bytes, port: int) -> bytes:
    """A peer as the kernel knows it; `address` in four octets."""
    return _NAME.pack(socket.AF_INET, socket.htons(port), address)


def peer_of(name: bytes) -> tuple[bytes, int]:
    """The address of a peer in four octets, and its port."""
    _, port, address = _NAME.unpack(name)
    return address, socket.ntohs(port)


class Batch:
    """Room for some datagrams, told to the kernel once and used again and again."""

    def __init__(self, count: int, size: int) -> None:
        """`count` datagrams of at most `size` octets each."""
        self.count = count
        self._size = size
        self._octets = memoryview(bytearray(count * size))
        self._names = memoryview(bytearray(count * _NAME.size))
        self._parts = (_Part * count)()
        self._messages = (_Message * count)()
        octets = ctypes.addressof(ctypes.c_char.from_buffer(self._octets))
        names = ctypes.addressof(ctypes.c_char.from_buffer(self._names))
        for n in range(count):
            self._parts[n] = _Part(octets + n * size, size)
            header = self._messages[n].header
            header.name, header.name_length = names + n * _NAME.size, _NAME.size
            header.parts, header.part_count = ctypes.addressof(self._parts[n]), 1
        self._address = ctypes.addressof(self._messages)
        # Reading and writing these fields one by one through ctypes takes three times as long.
        self._to_send = memoryview(self._parts).cast("B").cast("L")[1::2]
        self._received = (
            memoryview(self._messages)
            .cast("B")
            .cast("I")[_Message.length.offset // 4 :: ctypes.sizeof(_Message) // 4]
        )

    def receive(self, file: int) -> list[tuple[bytes, bytes]]:
        """What has arrived, each with its peer's name; nothing when there is nothing.

        A datagram of `size` octets may have had more. Raises OSError.
        """
        got = _libc.recvmmsg(file, self._address, self.count, socket.MSG_DONTWAIT, None)
        if got < 0:
            if (number := ctypes.get_errno()) == EAGAIN:
                return []
            raise OSError(number, os.strerror(number))
        octets, names, size, name_size = self._octets, self._names, self._size, _NAME.size
        return [
            (
                bytes(octets[n * size : n * size + length]),
                bytes(names[n * name_size : (n + 1) * name_size]),
            )
            for n, length in enumerate(self._received[:got])
        ]

    def send(self, file: int, datagrams: Sequence[tuple[bytes, bytes]]) -> list[int]:
        """Send each to the peer with its name; returns error numbers in order, 0 for what left.

        Raises ValueError for more than `count`, or one longer than `size`.
        """
        if len(datagrams) > self.count:
            raise ValueError(f"{len(datagrams)} datagrams do not fit into {self.count}")
        for n, (data, name) in enumerate(datagrams):
            if len(data) > self._size:
                raise ValueError(f"{len(data)} octets do not fit into {self._size}")
            begin = n * self._size
            self._octets[begin : begin + len(data)] = data
            self._names[n * _NAME.size : (n + 1) * _NAME.size] = name
            self._to_send[n] = len(data)
        numbers: list[int] = []
        while (done := len(numbers)) < len(datagrams):
            begin = self._address + done * ctypes.sizeof(_Message)
            sent = _libc.sendmmsg(file, begin, len(datagrams) - done, socket.MSG_DONTWAIT)
            # It stops at the first that cannot leave, and tells why when asked for that one.
            numbers += [0] * sent if sent > 0 else [ctypes.get_errno()]
        return numbers
