"""The TFTP server: one loop over the well-known port and a socket for each transfer."""

import heapq
import logging
import os
import select
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from itertools import count
from time import monotonic

from pxe.errors import DecodeError
from pxe.site import Outcome
from pxe.tftp.content import BytesContent, FileContent, NoContent, Observe, Resolver
from pxe.tftp.options import Bounds, bounds_for, negotiate
from pxe.tftp.packets import OpenContent, PacketCache, Unreadable, open_content
from pxe.tftp.record import Record
from pxe.tftp.refusal import TOO_MANY, Refused, allow_descriptors, refusal
from pxe.tftp.session import Session
from pxe.tftp.sockets import listening_socket, path_mtu, transfer_socket
from pxe.tftp.transfer import RTO_MIN, Action, Done, GiveUp, Send, Wait
from pxe.tftp.wire import (
    REQUEST_MAX,
    ErrorCode,
    Failure,
    Opcode,
    ReadRequest,
    WriteRequest,
    decode_reply,
    decode_request,
    encode_error,
    encode_oack,
)

log = logging.getLogger(__name__)

EVENTS_MAX = 256
"""Sockets served between two looks at the timers."""
REQUESTS_MAX = 32
"""Requests taken at once: a flood of them must not starve the transfers."""
REPLY_MAX = 128
"""Octets read of an ACK or ERROR."""
BEAT_EVERY = 2.0
"""Seconds between two turns of an idle loop at most."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one server process may take on."""

    sessions: int = 1000
    sessions_per_peer: int = 128
    """A rack behind one address (a relay, NAT) fits; eight such addresses are needed to fill up."""
    packet_memory: int = 256 << 20
    """Octets of prepared packets."""
    file_memory: int = 64 << 20
    """Octets of the largest file that is prepared as a whole; larger ones are streamed."""
    bounds: Bounds = field(default_factory=Bounds)


class TftpServer:
    """Serves reads, in the calling process or thread, until `stop`.

    Several processes may serve the same address and port: the kernel spreads clients over them.
    """

    def __init__(
        self,
        address: IPv4Address,
        port: int,
        interface: str | None,
        resolver: Resolver,
        observe: Observe,
        limits: Limits = Limits(),
    ) -> None:
        """Binds the port (0: any), and lets the process have as many files as it may need.

        Without `interface` the server outlives the interface that has the address, and serves
        again when the address is back. Raises OSError when the port cannot be had.
        """
        allow_descriptors(limits.sessions)
        self._interface = interface
        self._resolve = resolver
        self._record = Record(observe)
        self._limits = limits
        self._cache = PacketCache(limits.packet_memory, limits.file_memory)
        self._sessions: dict[int, Session] = {}
        self._by_peer: dict[tuple[str, int], Session] = {}
        self._peers: Counter[str] = Counter()
        self._timers: list[tuple[float, int]] = []
        self._timed: dict[int, Session] = {}
        self._serial = count()
        self._stopping = self._closed = False
        self._ending = threading.RLock()  # one that the handler of a signal may find taken
        with ExitStack() as undo:
            self._listener = undo.enter_context(listening_socket(str(address), port, interface))
            self._epoll = undo.enter_context(select.epoll())
            self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            undo.callback(os.close, self._wake)
            self._resources = undo.pop_all()
        self._local: tuple[str, int] = self._listener.getsockname()
        self._epoll.register(self._listener, select.EPOLLIN)
        self._epoll.register(self._wake, select.EPOLLIN)

    @property
    def port(self) -> int:
        return self._local[1]

    @property
    def sessions(self) -> int:
        """Transfers in progress."""
        return len(self._sessions)

    def serve_forever(self, beat: Callable[[], None] = lambda: None) -> None:
        """Serve until `stop`, then close everything; the server cannot be started again.

        `beat` is called again and again, at least every `BEAT_EVERY` seconds.
        """
        next_beat = 0.0
        try:
            while not self._stopping:
                self._serve_events()
                self._serve_timers()
                if (now := monotonic()) >= next_beat:
                    beat()
                    next_beat = now + BEAT_EVERY / 2
        finally:
            for session in list(self._sessions.values()):
                self._finish(session, Outcome.FAILED, "the server stops")
            with self._ending:
                self._closed = True
                self._resources.close()

    def stop(self) -> None:
        """End `serve_forever` soon; may be called from a thread or a signal handler, and again."""
        self._stopping = True
        with self._ending:
            if not self._closed:  # else its number may be another file's by now
                os.eventfd_write(self._wake, 1)

    def _serve_events(self) -> None:
        due = max(self._timers[0][0] - monotonic(), 0) if self._timers else BEAT_EVERY
        timeout = min(due, BEAT_EVERY / 2)
        events = self._epoll.poll(timeout, EVENTS_MAX)
        now = monotonic()
        sessions = self._sessions
        for fd, _ in events:
            if fd not in sessions:
                if fd == self._listener.fileno():
                    self._serve_requests(now)
                continue
            session = sessions[fd]
            try:
                receive = session.receive  # called in one step, it would be looked for as a method
                datagram = receive(REPLY_MAX)
                if datagram != session.awaited:
                    self._serve_replies(session, datagram, now)
                elif not session.advance(now):
                    self._finish(session, Outcome.SERVED)
            except Exception as error:  # noqa: BLE001 - looked at and logged there
                self._recover(session, error, now)

    def _recover(self, session: Session, error: Exception, now: float) -> None:
        """Whatever went wrong may cost one transfer, not the loop."""
        try:
            match error:
                case OSError():
                    # An error that waits on a socket is told before the datagrams behind it.
                    self._serve_replies(session, b"", now)
                    if isinstance(error, ConnectionRefusedError):
                        self._finish(session, Outcome.FAILED, "the client closed its port")
                case Unreadable():
                    self._give_up(session, str(error))
                case _:
                    raise error
        except Exception:
            log.exception("transfer broke address=%s", session.peer[0])
            self._finish(session, Outcome.FAILED, "internal error")

    def _serve_replies(self, session: Session, datagram: bytes, now: float) -> None:
        """Serve all that waits: events come once (EPOLLET), not as long as something waits.

        Behind an awaited ACK there is nothing to serve: the next one follows our next block.
        """
        try:
            while not session.closed:
                self._serve_reply(session, datagram, now)
                datagram = session.receive(REPLY_MAX)
        except BlockingIOError:
            return
        except ConnectionRefusedError:
            self._finish(session, Outcome.FAILED, "the client closed its port")

    def _serve_reply(self, session: Session, datagram: bytes, now: float) -> None:
        try:
            reply = decode_reply(datagram)
        except DecodeError as error:
            log.debug("ignored packet address=%s reason=%s", session.peer[0], error)
            return
        if isinstance(reply, Failure):
            self._client_ended(session, reply)
        else:
            self._act(session, session.transfer.acknowledge(reply.block, now))

    def _client_ended(self, session: Session, failure: Failure) -> None:
        options = session.request[1].options
        if session.transfer.acked < 0 and any(name.lower() == "tsize" for name, _ in options):
            # OVMF and others ask for the size in a request of its own, and take ERROR to end it.
            self._finish(session, Outcome.SERVED, "size probe")
            return
        reason = f"the client gave up: error {failure.code} {failure.message}".rstrip()
        self._finish(session, Outcome.FAILED, reason)

    def _act(self, session: Session, action: Action) -> None:
        match action:
            case Send():
                try:
                    session.transmit(action)
                except Unreadable as error:
                    self._give_up(session, str(error))
            case Done():
                self._finish(session, Outcome.SERVED)
            case GiveUp(reason):
                self._give_up(session, reason)
            case Wait():
                pass

    def _give_up(self, session: Session, reason: str) -> None:
        session.refuse(ErrorCode.UNDEFINED, reason)
        self._finish(session, Outcome.FAILED, reason)

    def _serve_timers(self) -> None:
        now = monotonic()
        timers = self._timers
        while timers and timers[0][0] <= now:
            _, serial = heapq.heappop(timers)
            session = self._timed.get(serial)
            if session is None:
                continue
            try:
                if session.transfer.deadline <= now:
                    self._act(session, session.transfer.expire(now))
            except Exception as error:  # noqa: BLE001 - looked at and logged there
                self._recover(session, error, now)
            if not session.closed:
                self._set_timer(serial, session, now)

    def _set_timer(self, serial: int, session: Session, now: float) -> None:
        """Each session has one timer, which follows the deadline only when it is looked at.

        That spares a heap operation for each block; looked at so often, it is never late by more
        than the shortest deadline, and those of closed sessions soon vanish.
        """
        heapq.heappush(self._timers, (min(session.transfer.deadline, now + RTO_MIN), serial))

    def _serve_requests(self, now: float) -> None:
        for _ in range(REQUESTS_MAX):
            try:
                datagram, peer = self._listener.recvfrom(REQUEST_MAX + 1)
            except BlockingIOError:
                return
            except OSError as error:
                log.warning("cannot receive requests error=%s", error)
                return
            try:
                self._serve_request(datagram, peer, now)
            except Exception:
                log.exception("request broke address=%s", peer[0])

    def _serve_request(self, datagram: bytes, peer: tuple[str, int], now: float) -> None:
        known = self._by_peer.get(peer)
        if known is not None:
            if known.request[0] == datagram and known.transfer.acked <= 0:
                return  # repeated while our answer was on its way; its timer is running
            self._finish(known, Outcome.FAILED, "the client began again")
        try:
            request = decode_request(datagram)
        except DecodeError as error:
            self._refuse_malformed(datagram, peer, str(error), now)
            return
        try:
            self._begin(request, datagram, peer, now)
        except Refused as refused:
            self._send_error(peer, refused.code, refused.told)
            self._record.tell(Outcome.REFUSED, request.name, peer[0], refused.reason)

    def _begin(
        self,
        request: ReadRequest | WriteRequest,
        datagram: bytes,
        peer: tuple[str, int],
        now: float,
    ) -> None:
        if isinstance(request, WriteRequest):
            raise Refused(ErrorCode.ACCESS_VIOLATION, "this server takes no files")
        self._check_room(peer[0])
        content = self._open(request, peer[0])
        try:
            sock = transfer_socket(self._local[0], self._interface, peer)
        except OSError as error:
            content.close()
            raise refusal(error, ErrorCode.UNDEFINED, "no way to the client") from error
        bounds = bounds_for(self._limits.bounds, path_mtu(sock))
        parameters, accepted = negotiate(request, content.size, bounds)
        try:
            packets = self._cache.packets(content, parameters.blksize)
        except OSError as error:
            sock.close()
            raise refusal(error, ErrorCode.UNDEFINED, "the file cannot be read") from error
        finally:
            content.close()
        oack = encode_oack(accepted) if accepted else None
        serial = next(self._serial)
        session = Session(serial, sock, peer, (datagram, request), parameters, packets, oack, now)
        self._timed[serial] = session
        self._sessions[session.fd] = self._by_peer[peer] = session
        self._peers[peer[0]] += 1
        self._set_timer(serial, session, now)
        self._epoll.register(session.fd, select.EPOLLIN | select.EPOLLET)
        self._act(session, session.transfer.start(now))

    def _check_room(self, address: str) -> None:
        if len(self._sessions) >= self._limits.sessions:
            raise Refused(ErrorCode.UNDEFINED, TOO_MANY)
        if self._peers[address] >= self._limits.sessions_per_peer:
            raise Refused(ErrorCode.UNDEFINED, "too many transfers to this address")

    def _open(self, request: ReadRequest, address: str) -> OpenContent:
        if not request.name:
            raise Refused(ErrorCode.NOT_FOUND, "no file name")
        if ".." in request.name.split("/"):
            raise Refused(ErrorCode.ACCESS_VIOLATION, "the name leads out of the catalog")
        try:
            match self._resolve(request.name, IPv4Address(address)):
                case NoContent(reason):
                    raise Refused(ErrorCode.NOT_FOUND, reason, "no such file")
                case FileContent() | BytesContent() as content:
                    return open_content(content, request.mode, self._limits.file_memory)
        except OSError as error:
            told = "the file cannot be sent"
            raise refusal(error, ErrorCode.ACCESS_VIOLATION, told) from error

    def _refuse_malformed(
        self, datagram: bytes, peer: tuple[str, int], reason: str, now: float
    ) -> None:
        if datagram[:2] in (Opcode.RRQ.to_bytes(2), Opcode.WRQ.to_bytes(2)):
            self._send_error(peer, ErrorCode.ILLEGAL_OPERATION, reason)
        self._record.malformed(peer[0], reason, now)

    def _send_error(self, peer: tuple[str, int], code: ErrorCode, reason: str) -> None:
        try:
            self._listener.sendto(encode_error(code, reason), peer)
        except OSError as error:
            log.debug("error not sent address=%s reason=%s", peer[0], error)

    def _finish(self, session: Session, outcome: Outcome, reason: str = "") -> None:
        if session.closed:
            return
        del self._timed[session.serial]
        del self._sessions[session.fd]
        del self._by_peer[session.peer]
        self._peers[session.peer[0]] -= 1
        if not self._peers[session.peer[0]]:
            del self._peers[session.peer[0]]
        session.close()
        facts: dict[str, str | int] = {
            "bytes": session.octets_delivered,
            "seconds": f"{monotonic() - session.started:.3f}",
            "blksize": session.parameters.blksize,
            "windowsize": session.parameters.windowsize,
            "resent": session.transfer.resent,
        }
        self._record.tell(outcome, session.request[1].name, session.peer[0], reason, facts)
