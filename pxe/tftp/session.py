"""One transfer on its own socket: the client sees the port as transfer identifier (RFC 1350, 4)."""

import errno
import functools
import socket
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import IPv4Address

from pxe.tftp.options import BLKSIZE_DEFAULT, Parameters
from pxe.tftp.packets import Packets, Prepared
from pxe.tftp.transfer import Send, Transfer
from pxe.tftp.wire import ErrorCode, ReadRequest, encode_acknowledgment, encode_error

UDP_SEGMENT = 103
"""linux/udp.h; Python 3.11 has no name for it."""
SEGMENTS_MAX = 64
"""UDP_MAX_SEGMENTS in Linux before 6.9."""
DATAGRAM_MAX = 65507
"""Octets of UDP payload in one IPv4 packet, segmented later or not."""
NO_OFFLOAD = (errno.EIO, errno.EINVAL, errno.EMSGSIZE, errno.EOPNOTSUPP)
"""What the kernel says when the way out cannot cut a send into segments."""


@functools.cache
def acknowledgments() -> Sequence[bytes]:
    """The ACK of each block number: 3 MB, in exchange for not parsing one for each block."""
    return [encode_acknowledgment(number) for number in range(1 << 16)]


class Session:
    """Sends what its transfer decides; the server calls it for each event."""

    __slots__ = (
        "_acknowledgments", "_burst", "_oack", "_ready", "_send", "_sock", "awaited",
        "closed", "fd", "packets", "parameters", "peer", "receive", "request", "serial",
        "started", "transfer",
    )  # fmt: skip

    def __init__(
        self,
        serial: int,
        sock: socket.socket,
        peer: tuple[str, int],
        request: tuple[bytes, ReadRequest],
        parameters: Parameters,
        packets: Packets,
        oack: bytes | None,
        now: float,
    ) -> None:
        """Takes over `sock` and `packets`; `request` is the datagram and what it says."""
        self.serial = serial
        self._sock = sock
        self._send = sock.send
        self.receive = sock.recv
        self.fd = sock.fileno()
        self.peer = peer
        self.request = request
        self.parameters = parameters
        self.packets = packets
        self._oack = oack
        self.started = now
        self.closed = False
        self.transfer = Transfer(
            packets.size // parameters.blksize + 1,
            parameters.windowsize,
            options=oack is not None,
            timeout=parameters.timeout,
        )
        self._acknowledgments = acknowledgments()
        self.awaited: bytes | None = None
        """The ACK after which `advance` may be called."""
        self._burst = packets.stride * self._segments()
        self._ready: Sequence[memoryview] | None = None
        if isinstance(packets, Prepared) and parameters.windowsize == 1:
            self._ready = packets.singles

    def _segments(self) -> int:
        """How many packets one send may carry (generic segmentation offload)."""
        stride = self.packets.stride
        if self.parameters.blksize < BLKSIZE_DEFAULT:
            return 1  # an OACK or ERROR that is longer would be cut too
        wanted = min(self.parameters.windowsize, SEGMENTS_MAX, DATAGRAM_MAX // stride)
        if wanted > 1:
            try:
                self._sock.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, stride)
            except OSError:
                return 1
        return wanted

    @property
    def address(self) -> IPv4Address:
        return IPv4Address(self.peer[0])

    @property
    def octets_delivered(self) -> int:
        return min(max(self.transfer.acked, 0) * self.parameters.blksize, self.packets.size)

    def advance(self, now: float) -> bool:
        """Everything sent has arrived: send the next window; False when there is none.

        Raises Unreadable.
        """
        transfer = self.transfer
        first = transfer.sent
        count = transfer.advance(now)
        if not count:
            return False
        self.awaited = self._acknowledgments[(first + count) & 0xFFFF]
        if (ready := self._ready) is not None:
            send = self._send
            try:
                send(ready[first])
            except OSError:
                pass  # said or made good below
            else:
                return True
        self._send_window(self.packets.window(first + 1, count))
        return True

    def transmit(self, send: Send) -> None:
        """Send what the transfer decided. Raises Unreadable; ConnectionRefusedError by a peer."""
        transfer = self.transfer
        in_step = transfer.copies == 1 and transfer.sent == transfer.high
        self.awaited = self._acknowledgments[transfer.sent & 0xFFFF] if in_step else None
        if send.first == 0:
            with suppress(OSError):  # lost: the timer takes care
                self._send(self._oack or b"")
            return
        data = self.packets.window(send.first, send.count)
        for _ in range(send.copies):
            self._send_window(data)

    def refuse(self, code: ErrorCode, message: str) -> None:
        """Tell the client that the transfer ends."""
        with suppress(OSError):
            self._send(encode_error(code, message))

    def _send_window(self, data: memoryview) -> None:
        for start in range(0, len(data), self._burst):
            try:
                self._send(data[start : start + self._burst])
            except ConnectionRefusedError:
                raise  # told once: a later packet would never hear of it
            except OSError as error:
                if error.errno in NO_OFFLOAD and self._burst > self.packets.stride:
                    self._leave_offload()
                    return self._send_window(data[start:])
                # A full queue, a link that is down: as good as lost on the way, and the timer
                # of the transfer takes care.
                return None
        return None

    def _leave_offload(self) -> None:
        self._burst = self.packets.stride
        self._sock.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 0)

    def close(self) -> None:
        self.closed = True
        self._sock.close()
        self.packets.close()
