"""The DHCP server: takes bursts off the wire, decides, keeps leases, answers, tells."""

import asyncio
import logging
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from typing import Final, NamedTuple, Protocol

from pxe.addresses import MacAddress
from pxe.dhcp.decide import Silence, decide, refuse
from pxe.dhcp.leases import QUARANTINE_TIME, LeaseBook
from pxe.dhcp.message import Message, decode
from pxe.dhcp.prepared import XID, Prepared, PreparedReplies, Told, prepare, tell
from pxe.dhcp.reply import (
    BOOT_SERVICE_PORT,
    CLIENT_PORT,
    EVERYWHERE,
    SERVER_PORT,
    Arrival,
    Destination,
    Server,
)
from pxe.dhcp.sockets import DhcpSocket, refuse_shared_port
from pxe.dhcp.waiting import Datagram, Waiting
from pxe.errors import DecodeError, InterfaceUnusable
from pxe.reservation import Lease
from pxe.settings import DhcpMode, Settings
from pxe.site import Observation, Outcome, Service, Site

log = logging.getLogger(__name__)

BURST: Final = 64
"""Datagrams that are answered together, with one write of their leases."""
OVERLOAD_PERIOD: Final = timedelta(seconds=1)


class Neighbours(Protocol):
    """Makes the kernel reach a client that cannot answer ARP yet; pxe.link has one."""

    def add(self, interface: str, address: IPv4Address, mac: MacAddress) -> None:
        """Raises InterfaceUnusable."""


class _Promise(NamedTuple):
    """A lease that must be kept before its reply goes out."""

    request: Message
    arrival: Arrival
    lease: Lease

    @property
    def is_ours_alone(self) -> bool:
        """Whether the client told all servers that it chose us, so that no other one answers."""
        return self.request.server is not None


class _Exchange(NamedTuple):
    xid: bytes
    prepared: Prepared
    promise: _Promise | None = None


class _Leaving(NamedTuple):
    xid: bytes
    reply: Prepared
    to: Destination


@dataclass(slots=True)
class _Burst:
    """What is decided and not yet sent; a client's last word counts."""

    exchanges: list[_Exchange] = field(default_factory=list)
    granted: dict[MacAddress, _Promise] = field(default_factory=dict)
    released: dict[MacAddress, Lease] = field(default_factory=dict)

    def grant(self, promise: _Promise, before: Lease | None) -> None:
        lease = promise.lease
        self.granted[lease.client] = promise
        if before is not None:
            self.released[lease.client] = before
        elif self.released.get(lease.client, lease).address == lease.address:
            self.released.pop(lease.client, None)

    def release(self, lease: Lease) -> None:
        self.granted.pop(lease.client, None)
        self.released[lease.client] = lease

    def stands(self, lease: Lease) -> bool:
        """Whether the client said nothing since that takes this lease away again."""
        last = self.granted.get(lease.client)
        return last is not None and last.lease == lease


def utc_now() -> datetime:
    """The wall clock, aware."""
    return datetime.now(UTC)


class DhcpServer:
    """Serves one interface from inside an asyncio loop; nothing on the wire can end it."""

    def __init__(
        self,
        settings: Settings,
        site: Site,
        programs: Collection[str],
        neighbours: Neighbours,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        """`programs` names the boot programs that can be loaded from us."""
        self._server = Server(settings, frozenset(programs))
        self._settings = settings
        self._site = site
        self._neighbours = neighbours
        self._clock = clock
        self._book: LeaseBook | None = None
        self._replies = PreparedReplies(site.reservation, None)
        self._sockets: list[DhcpSocket] = []
        self._waiting: dict[DhcpSocket, Waiting] = {}
        self._told_overload: datetime | None = None

    async def start(self) -> None:
        """Read the leases and open the ports. Raises InterfaceUnusable."""
        settings = self._settings
        if settings.pool is not None and settings.mode is DhcpMode.AUTHORITATIVE:
            excluded = {settings.address, settings.subnet[0], settings.subnet[-1]}
            if settings.gateway is not None:
                excluded.add(settings.gateway)
            self._book = LeaseBook(settings.pool, self._site.leases(), excluded)
            self._replies = PreparedReplies(self._site.reservation, self._book)
        self._open()
        log.info(
            "serving DHCP interface=%s address=%s mode=%s",
            settings.interface, settings.address, settings.mode.value,
        )  # fmt: skip

    async def stop(self) -> None:
        """Close the ports; leases that were acknowledged are in the store."""
        self._close()

    async def rebind(self) -> None:
        """Open the ports anew, after the interface vanished and came back.

        Raises InterfaceUnusable when it is not there; then no port is open.
        """
        self._close()
        self._open()
        log.info("serving DHCP again interface=%s", self._settings.interface)

    def _open(self) -> None:
        loop = asyncio.get_running_loop()
        if self._settings.mode is DhcpMode.AUTHORITATIVE:
            refuse_shared_port(self._settings.interface, SERVER_PORT)
        try:
            for port in (SERVER_PORT, BOOT_SERVICE_PORT):
                opened = DhcpSocket(self._settings.interface, self._settings.address, port)
                self._sockets.append(opened)
                self._waiting[opened] = Waiting()
                loop.add_reader(opened, self._serve, opened)
        except InterfaceUnusable:
            self._close()
            raise

    def _close(self) -> None:
        loop = asyncio.get_running_loop()
        while self._sockets:
            opened = self._sockets.pop()
            loop.remove_reader(opened)
            del self._waiting[opened]
            opened.close()

    def _serve(self, source: DhcpSocket) -> None:
        """Take what has arrived, answer one burst of it, and come back for the rest."""
        waiting = self._waiting.get(source)
        if waiting is None:
            return  # closed meanwhile
        try:
            waiting.put(source.receive(waiting.room))
        except OSError as error:
            log.warning("cannot receive port=%d error=%r", source.port, error.strerror)
        now = self._clock()
        self._answer_burst(source, waiting.take(BURST), now)
        if waiting.dropped:
            self._tell_overload(waiting, now)
        if waiting and not waiting.scheduled:
            waiting.scheduled = True
            asyncio.get_running_loop().call_soon(self._serve_rest, source, waiting)

    def _serve_rest(self, source: DhcpSocket, waiting: Waiting) -> None:
        waiting.scheduled = False
        self._serve(source)

    def _tell_overload(self, waiting: Waiting, now: datetime) -> None:
        """One line and one observation a second, however many were dropped."""
        if self._told_overload is not None and now - self._told_overload < OVERLOAD_PERIOD:
            return
        self._told_overload = now
        reason = f"too many at once: {waiting.take_dropped()} dropped, they ask again"
        log.warning("silent message=DISCOVER reason=%r", reason)
        self._tell(Observation(Service.DHCP, Outcome.SILENT, now, "DISCOVER", reason))

    def _answer_burst(self, source: DhcpSocket, arrived: Sequence[Datagram], now: datetime) -> None:
        burst = _Burst()
        for data, arrival in arrived:
            try:
                self._take(data, arrival, now, burst)
            except Exception:
                log.exception("failed on a datagram peer=%s data=%s", arrival.peer, data.hex())
        kept = self._keep(burst)
        leaving: list[_Leaving] = []
        for exchange in burst.exchanges:
            try:
                if (reply := self._settle(exchange, burst, kept, now)) is not None:
                    leaving.append(_Leaving(exchange.xid, reply, self._reach(reply.to)))
            except Exception:
                log.exception("failed to answer mac=%s", exchange.prepared.told.client)
        try:
            self._send(source, leaving, now)
        except Exception:
            log.exception("failed to send replies count=%d", len(leaving))

    def _take(self, data: bytes, arrival: Arrival, now: datetime, burst: _Burst) -> None:
        """Decide on one datagram and note what the decision promises."""
        if (prepared := self._replies.find(data, arrival, now)) is not None:
            burst.exchanges.append(_Exchange(data[XID], prepared))
            return
        try:
            request = decode(data)
        except DecodeError as error:
            log.debug("silent peer=%s reason=%r", arrival.peer, str(error))
            reason = f"{error}, from {arrival.peer}"
            self._tell(Observation(Service.DHCP, Outcome.SILENT, now, "datagram", reason))
            return
        reservation = self._site.reservation(request.chaddr)
        decision = decide(request, reservation, self._book, self._server, arrival, now)
        if isinstance(decision, Silence):
            self._note_silence(request, decision, now, burst)
            return
        try:
            prepared = prepare(request, decision)
        except ValueError as error:
            self._note_failure(data[XID], tell(request, decision), str(error), now)
            return
        self._replies.keep(data, arrival, reservation, decision, prepared, now)
        promise = None
        if self._book is not None:
            if decision.offered is not None:
                self._book.offer(decision.offered)
            if decision.granted is not None:
                promise = _Promise(request, arrival, decision.granted)
                burst.grant(promise, self._book.grant(decision.granted))
        burst.exchanges.append(_Exchange(data[XID], prepared, promise))

    def _note_silence(
        self, request: Message, silence: Silence, now: datetime, burst: _Burst
    ) -> None:
        if self._book is not None:
            if silence.released is not None:
                self._book.remove(silence.released)
                burst.release(silence.released)
            if silence.declined is not None:
                self._book.quarantine(silence.declined, now + QUARANTINE_TIME)
            if silence.left:
                self._book.doubt(request.chaddr)
            if silence.pool_is_full:
                self._book.note_full(now)
        subject = request.type.name if request.type else "BOOTP"
        log.log(
            logging.WARNING if silence.alarm else logging.DEBUG,
            "silent message=%s mac=%s reason=%r", subject, request.chaddr, silence.reason,
        )  # fmt: skip
        facts = {"xid": f"{request.xid:08x}"}
        self._tell(
            Observation(
                Service.DHCP,
                Outcome.SILENT,
                now,
                subject,
                silence.reason,
                request.chaddr,
                None,
                facts,
            )
        )

    def _keep(self, burst: _Burst) -> frozenset[MacAddress] | None:
        """Write the burst's leases; returns whose were kept, None when the store failed."""
        if not burst.granted and not burst.released:
            return frozenset()
        granted = tuple(promise.lease for promise in burst.granted.values())
        try:
            kept = self._site.keep_leases(granted, tuple(burst.released.values()))
        except Exception:
            log.exception("cannot keep leases count=%d", len(granted))
            return None
        if self._book is not None:
            for promise in burst.granted.values():
                if promise.is_ours_alone and promise.lease in kept:
                    self._book.confirm(promise.lease)
        return frozenset(lease.client for lease in kept)

    def _settle(
        self,
        exchange: _Exchange,
        burst: _Burst,
        kept: frozenset[MacAddress] | None,
        now: datetime,
    ) -> Prepared | None:
        """The reply to send, now that it is known whose leases were kept; None: nothing."""
        xid, prepared, promise = exchange
        if promise is None or self._book is None:
            return prepared
        lease = promise.lease
        if not burst.stands(lease):
            superseded = Silence(f"it gave {lease.address} up before we could answer")
            self._note_silence(promise.request, superseded, now, burst)
            return None
        if kept is None:
            self._book.remove(lease)
            self._note_failure(xid, prepared.told, "the lease could not be stored", now)
            return None
        if lease.client in kept:
            return prepared
        self._book.remove(lease)
        self._book.quarantine(lease.address, now + QUARANTINE_TIME)
        reason = f"another server gave {lease.address} away"
        refused = refuse(promise.request, self._server, promise.arrival, reason)
        try:
            return prepare(promise.request, refused)
        except ValueError as error:
            self._note_failure(xid, tell(promise.request, refused), str(error), now)
            return None

    def _reach(self, to: Destination) -> Destination:
        """Have the kernel know the way to a client; where the reply is to be sent."""
        if to.neighbour is None:
            return to
        try:
            self._neighbours.add(self._settings.interface, to.address, to.neighbour)
        except InterfaceUnusable as error:
            # RFC 2131, 4.1: who cannot unicast may broadcast.
            log.warning("broadcast instead mac=%s reason=%r", to.neighbour, str(error))
            return Destination(EVERYWHERE, CLIENT_PORT)
        return to

    def _send(self, source: DhcpSocket, leaving: Sequence[_Leaving], now: datetime) -> None:
        numbers = source.send([(reply.octets(xid), to) for xid, reply, to in leaving])
        for (xid, reply, _), number in zip(leaving, numbers, strict=True):
            if number:
                self._note_failure(xid, reply.told, os.strerror(number), now)
            else:
                self._note(xid, reply.told, now)

    def _note_failure(self, xid: bytes, told: Told, reason: str, now: datetime) -> None:
        self._note(xid, told._replace(outcome=Outcome.FAILED, rule=reason), now)

    def _note(self, xid: bytes, told: Told, now: datetime) -> None:
        """One line and one observation for one exchange."""
        client, subject, outcome, rule, address, more = told
        facts = {"xid": xid.hex(), **more}
        if log.isEnabledFor(logging.INFO):
            words = " ".join(f"{key}={value}" for key, value in facts.items())
            log.log(
                logging.WARNING if outcome is Outcome.FAILED else logging.INFO,
                "%s mac=%s address=%s %s rule=%r",
                subject if outcome is not Outcome.FAILED else f"failed {subject}",
                client, address, words, rule,
            )  # fmt: skip
        self._tell(Observation(Service.DHCP, outcome, now, subject, rule, client, address, facts))

    def _tell(self, observation: Observation) -> None:
        """The program's record may be out of order; the service goes on."""
        try:
            self._site.observe(observation)
        except Exception:
            log.exception("cannot record an observation subject=%s", observation.subject)
