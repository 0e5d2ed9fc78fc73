"""One connection's bytes: a socket that never blocks, in the clear or encrypted."""

import asyncio
import os
import socket
import ssl
import struct
from contextlib import suppress
from typing import BinaryIO, ClassVar, Final, Protocol

RECEIVE: Final = 64 << 10
"""Bytes taken from a connection at once."""
PIECE: Final = 4 << 20
"""Bytes that one sendfile(2) may take before others have their chance: about 2 ms."""
ENCRYPTED_PIECE: Final = 256 << 10
"""The same where each byte is read and encrypted by us."""
LITTLE: Final = 128 << 10
"""Bytes that wait in the kernel for a slow client."""
RECORD: Final = 16 << 10
"""Bytes that TLS encrypts as one (RFC 8446, 5.1)."""
_RESET: Final = struct.pack("ii", 1, 0)
SO_SNDBUFFORCE: Final = 32
"""asm-generic/socket.h; Python has no name for it."""


class Owner(Protocol):
    """What is told of a connection; never called before `Wire.open`."""

    def received(self, data: bytes) -> None:
        """Bytes came."""

    def half_closed(self) -> None:
        """The peer will send no more, though it may still take what we send."""

    def sent(self) -> None:
        """The kernel has taken all; only called when it could not take it at once."""

    def lost(self, reason: str) -> None:
        """The connection is gone, with what was not sent yet."""


class Wire:
    """A connection in the clear.

    It watches its socket only while it has to wait for it: most clients send a request with their
    first packet, and small answers are taken at once, so that nothing need be watched for them.
    """

    __slots__ = (
        "_at", "_end", "_fd", "_file", "_heard_all", "_loop", "_owner", "_reading", "_rest",
        "_sock", "_writing", "closed",
    )  # fmt: skip
    encrypted: ClassVar[bool] = False

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        self._loop = loop
        self._sock = sock
        self._fd = sock.fileno()
        self._owner: Owner
        self._reading = self._writing = self._heard_all = False
        self._rest = b""
        self._file: BinaryIO | None = None
        self._at = self._end = 0
        self.closed = False

    @property
    def socket(self) -> socket.socket:
        """For its state only."""
        return self._sock

    @property
    def behind(self) -> bool:
        """Whether the kernel has yet to take some of what was sent."""
        return bool(self._rest)

    def open(self, owner: Owner) -> None:
        """Begin to tell `owner` what comes, perhaps now."""
        self._owner = owner
        self._readable()

    def listen(self) -> None:
        """Go on reading."""
        if not (self._reading or self._heard_all or self.closed):
            self._reading = True
            self._loop.add_reader(self._fd, self._readable)

    def pause(self) -> None:
        """Stop reading until `listen`."""
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._fd)

    def send(self, data: bytes, *, more: bool = False) -> bool:
        """Send, `more` will follow at once; returns whether the kernel has taken all."""
        if self._rest or self.closed:
            self._rest += data
            return False
        try:
            taken = self._give(data, more)
        except BlockingIOError:
            taken = 0
        except OSError as error:
            self._lose(error)
            return False
        if taken == len(data):
            return True
        self._rest = data[taken:]
        self._watch()
        return False

    def send_file(self, file: BinaryIO, offset: int, length: int, *, ahead: int = 0) -> bool:
        """Send a part of a file after all else; returns whether the kernel has taken all.

        `ahead`: bytes that it is to take ahead, where we may say so (CAP_NET_ADMIN, socket(7)).
        """
        if ahead:
            with suppress(OSError):
                self._sock.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, ahead)
                self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, 0)
        self._file, self._at, self._end = file, offset, offset + length
        self._cork(True)
        return not self._rest and not self.closed and self._pour()

    def keep_little(self) -> None:
        """Let the kernel take no more than `LITTLE` beside what is on its way: a great buffer of
        each slow client would be much memory."""
        with suppress(OSError):
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, LITTLE)

    def file_sent(self, offset: int) -> int:
        """Bytes of the file from `offset` on that the kernel has taken so far."""
        return max(0, self._at - offset)

    def close(self) -> None:
        """Close; what the kernel has taken still reaches the peer."""
        if not self.closed:
            self.pause()
            self._unwatch()
            self.closed = True
            self._file, self._rest = None, b""
            self._sock.close()

    def abort(self) -> None:
        """Cut off, so that the peer sees an error and nothing is kept for it."""
        if not self.closed:
            with suppress(OSError):
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.close()

    def finish(self) -> None:
        """Tell the peer that nothing more follows."""
        with suppress(OSError):  # it has gone away
            self._sock.shutdown(socket.SHUT_WR)

    def _take(self) -> bytes:
        """What has come; empty when the peer sends no more. Raises OSError."""
        return self._sock.recv(RECEIVE)

    def _give(self, data: bytes, more: bool) -> int:
        """Offer bytes to the kernel; returns how many it took. Raises OSError."""
        return self._sock.send(data, socket.MSG_MORE if more else 0)

    def _give_file(self, file: int, at: int, count: int) -> int:
        """The same for bytes of a file; 0 when it ends there."""
        return os.sendfile(self._fd, file, at, min(count, PIECE))

    def _readable(self) -> None:
        try:
            data = self._take()
        except BlockingIOError:
            self.listen()
        except OSError as error:
            self._lose(error)
        else:
            if not data:
                self._heard_all = True
                self.pause()
                self._owner.half_closed()
            else:
                self._owner.received(data)

    def _writable(self) -> None:
        if self._rest:
            rest, self._rest = self._rest, b""
            if not self.send(rest, more=self._file is not None):
                return
        if self._file is not None and not self._pour():
            return
        if not self.closed:
            self._unwatch()
            self._owner.sent()

    def _pour(self) -> bool:
        assert self._file is not None
        try:
            count = self._give_file(self._file.fileno(), self._at, self._end - self._at)
        except BlockingIOError:
            self._watch()
            return False
        except OSError as error:
            self._lose(error)
            return False
        self._at += count
        if self._at == self._end:
            self._cork(False)
            self._file, self._at, self._end = None, 0, 0
            return True
        if count:
            self._watch()
        else:
            self._lose(None, "the file became shorter while it was sent")
        return False

    def _cork(self, wanted: bool) -> None:
        """Let the kernel send whole segments only, wherever it was that `sendfile` stopped.

        A sixth of the processor time of a big file went to what was too short.
        """
        with suppress(OSError):  # the client went away
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, wanted)

    def _watch(self) -> None:
        if not self._writing:
            self._writing = True
            self._loop.add_writer(self._fd, self._writable)

    def _unwatch(self) -> None:
        if self._writing:
            self._writing = False
            self._loop.remove_writer(self._fd)

    def _lose(self, error: OSError | None, reason: str = "") -> None:
        self.abort()
        self._owner.lost(reason or (error and error.strerror) or "the client went away")


class EncryptedWire(Wire):
    """A connection under TLS; its handshake is made while the first bytes are waited for."""

    __slots__ = ("_shaken", "_tls")
    encrypted = True

    def __init__(
        self, loop: asyncio.AbstractEventLoop, sock: socket.socket, context: ssl.SSLContext
    ) -> None:
        self._tls = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        self._shaken = False
        super().__init__(loop, self._tls)

    def listen(self) -> None:
        """Go on reading, also what was decrypted and not taken yet."""
        super().listen()
        if not self.closed and self._tls.pending():
            self._loop.call_soon(self._readable)

    def finish(self) -> None:
        """Tell the peer that nothing more follows, in TLS's own way first (RFC 8446, 6.1)."""
        self._say_goodbye()
        super().finish()

    def close(self) -> None:
        """Close, saying so in TLS's own way first."""
        if not self.closed:
            self._say_goodbye()
        super().close()

    def _say_goodbye(self) -> None:
        with suppress(OSError, ValueError):  # the peer need not answer
            self._tls.unwrap()

    def _readable(self) -> None:
        # `listen` calls this later, when it may have been paused again; `open` does it at once.
        if self._reading or not self._shaken:
            super()._readable()

    def _take(self) -> bytes:
        try:
            if not self._shaken:
                self._tls.do_handshake()
                self._shaken = True
            return self._tls.recv(RECEIVE)
        except ssl.SSLWantReadError:
            raise BlockingIOError from None

    def _give(self, data: bytes, more: bool) -> int:
        taken = 0
        while taken < min(len(data), ENCRYPTED_PIECE):
            try:
                taken += self._tls.send(data[taken : taken + RECORD])
            except ssl.SSLWantWriteError:
                break
        return taken

    def _give_file(self, file: int, at: int, count: int) -> int:
        data = os.pread(file, min(count, ENCRYPTED_PIECE), at)
        if data and not (taken := self._give(data, more=False)):
            raise BlockingIOError
        return taken if data else 0
