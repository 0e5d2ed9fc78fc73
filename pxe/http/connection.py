"""One HTTP/1 connection: requests in, responses out, one after the other, within limits."""

import asyncio
import logging
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Address
from time import monotonic
from typing import Any, Final

from aiohttp import StreamReader
from aiohttp.http import HttpVersion11, RawRequestMessage

from pxe.http.exchange import App, Ended, Request, Response, head, refusal, text
from pxe.http.reader import Malformed, Reader
from pxe.http.transfer import DELIVERY_LIMIT, Undelivered, acknowledged, longest
from pxe.http.turns import SIP, Turn, Turns
from pxe.http.wire import Wire

log = logging.getLogger(__name__)

IDLE_LIMIT: Final = 30.0
"""Seconds to send the whole head of the first request, or of the next one."""
BODY_SECONDS: Final = 30.0
"""Seconds that a report's body may take to arrive."""
LINGER_SECONDS: Final = 1.0
"""How long we read on what nobody wants, so that our last words are not lost with a reset."""
IN_A_ROW: Final = 16
"""Requests of one connection that are answered before others have their chance."""
BODIES_AT_ONCE: Final = 64
"""Bodies that one process waits for at a time."""
BODIES_OF_PEER: Final = 16
"""Of them from one address."""


@dataclass(slots=True)
class Shared:
    """What the connections of one listener have in common."""

    app: App
    loop: asyncio.AbstractEventLoop
    idle: float = IDLE_LIMIT
    turns: Turns = field(default_factory=Turns)
    connections: set["Connection"] = field(default_factory=set)
    bodies: list[IPv4Address] = field(default_factory=list)
    """Whose are waited for."""
    stopping: bool = False


class _State(Enum):
    HEAD = "waiting for the head of a request"
    BODY = "reading a body"
    MAKING = "a response is being made"
    SENDING = "it is being sent"
    DELIVERING = "it was sent and is to be acknowledged"
    LINGERING = "all was sent, the client is to end"
    OVER = "closed"


class Connection:
    """Reads requests from a wire and sends what the app responds."""

    __slots__ = (
        "_began", "_deadline", "_going", "_heard_all", "_keep", "_last_given", "_left", "_message",
        "_payload", "_peer", "_reader", "_request", "_response", "_shared", "_sipped", "_state",
        "_task", "_turn", "_unread", "_wire",
    )  # fmt: skip

    def __init__(
        self,
        shared: Shared,
        wire: Wire,
        peer: IPv4Address,
        left: Callable[["Connection"], None],
    ) -> None:
        """`left` is called once, when it is over."""
        self._shared = shared
        self._left = left
        self._wire = wire
        self._peer = peer
        self._reader = Reader(shared.loop)
        self._state = _State.HEAD
        self._deadline = monotonic() + shared.idle
        self._going = self._heard_all = self._unread = False
        self._keep = True
        """Whether the connection waits for another request."""
        self._last_given = False
        """Whether the wire has all of the response, not only its head, or a word before it."""
        self._message: RawRequestMessage
        self._payload: StreamReader
        self._request: Request | None = None
        self._response: Response | None = None
        self._sipped = 0  # bytes of the file that went out before its turn
        self._began = 0.0
        self._task: asyncio.Task[Any] | None = None
        self._turn: Turn | None = None

    # What the wire tells

    def received(self, data: bytes) -> None:
        """Bytes came."""
        if self._state is _State.LINGERING:
            self._wire.listen()
            return
        room = self._reader.add(data)
        if self._state in (_State.HEAD, _State.BODY):
            self._go_on()
        elif not room:
            self._wire.pause()

    def half_closed(self) -> None:
        """The peer sends no more; what it asked for is still sent."""
        self._heard_all = True
        if self._state is _State.BODY:
            self.lost("the client left before its body was whole")
        elif self._state in (_State.HEAD, _State.LINGERING):
            self._close()

    def sent(self) -> None:
        """The kernel has taken all that the wire was given so far."""
        if not self._last_given:
            return
        self._last_given = False
        if self._response is not None and self._response.delivered is not None:
            self._state = _State.DELIVERING
            self._wire.pause()  # whatever comes now must not hide the acknowledgement
            self._task = self._shared.loop.create_task(self._deliver(self._response.delivered))
        else:
            self._end()

    def lost(self, reason: str) -> None:
        """The connection is gone."""
        if self._state is _State.OVER:
            return
        if self._response is not None and self._response.file is not None:
            reason = f"{reason} after {self._file_sent()} of {self._response.length} bytes"
        self._wire.abort()
        self._close()
        self._tell(None, reason)

    # What the server tells

    def look(self, now: float) -> None:
        """End what takes too long."""
        if now < self._deadline:
            return
        match self._state:
            case _State.HEAD | _State.LINGERING:
                self._close()
            case _State.BODY:
                self._refuse(408, "the body did not arrive in time")
            case _:
                self.lost("the client stalled")

    def stop(self) -> None:
        """The server stops: what it was asked for is still sent."""
        self._keep = False
        if self._state in (_State.HEAD, _State.LINGERING):
            self._close()
        elif self._state is _State.BODY:
            self.lost("the server stops")

    # Requests

    def _go_on(self) -> None:
        """Take in requests as long as there are whole ones and nobody is in the way."""
        if self._going:
            return
        self._going = True
        try:
            for _ in range(IN_A_ROW):
                if not self._step():
                    break
            else:
                self._wire.pause()  # the client's end must not overtake what it asked for
                self._shared.loop.call_soon(self._go_on)
                return
        except Malformed as error:
            log.debug("malformed request address=%s: %s", self._peer, error)
            self._refuse(error.status, str(error))
        finally:
            self._going = False
        if self._state in (_State.HEAD, _State.BODY):
            if self._heard_all:
                self.half_closed()
            else:
                self._wire.listen()

    def _step(self) -> bool:
        """Take in a head or a body; returns whether there was a whole one. Raises Malformed."""
        if self._state is _State.HEAD:
            if found := self._reader.head():
                self._take(found.message, found.payload)
            return found is not None
        if self._state is _State.BODY and self._request is not None:
            body = self._reader.body(self._payload)
            if body is not None:
                self._leave_body()
                self._respond(self._request._replace(body=body))
            return body is not None
        return False

    def _take(self, message: RawRequestMessage, payload: StreamReader) -> None:
        self._message, self._payload = message, payload
        self._began = monotonic()
        path = message.url.raw_path
        self._request = request = Request(
            message.method, path, message.headers, self._peer, encrypted=self._wire.encrypted
        )
        last = message.should_close or message.upgrade or self._shared.stopping
        self._keep = self._keep and not last
        if payload.is_eof():
            self._respond(request._replace(body=payload.read_nowait()))
        elif not self._shared.app.takes_body(request):
            self._unread = True
            self._respond(request)
        elif (body := self._reader.body(payload)) is not None:
            self._respond(request._replace(body=body))
        elif self._too_many_bodies:
            self._unread = True
            self._send(text(503, b"too many reports at once\n", "Retry-After: 5"))
        else:
            self._state = _State.BODY
            self._deadline = self._began + BODY_SECONDS
            self._shared.bodies.append(self._peer)
            # Other expectations are ignored (RFC 9110, 10.1.1).
            if message.headers.get("Expect", "").lower() == "100-continue" and self._is_new:
                self._wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _leave_body(self) -> None:
        if self._state is _State.BODY:
            self._shared.bodies.remove(self._peer)
            self._state = _State.MAKING

    @property
    def _too_many_bodies(self) -> bool:
        bodies = self._shared.bodies
        return len(bodies) >= BODIES_AT_ONCE or bodies.count(self._peer) >= BODIES_OF_PEER

    @property
    def _is_new(self) -> bool:
        return self._message.version >= HttpVersion11

    # Responses

    def _respond(self, request: Request) -> None:
        self._state = _State.MAKING
        self._deadline = math.inf
        self._request = request
        try:
            made = self._shared.app.respond(request)
        except Exception as error:  # noqa: BLE001 - logged there
            self._send(self._internal_error(error))
            return
        if isinstance(made, Response):
            self._send(made)
        else:
            making = self._shared.loop.create_task(made)
            making.add_done_callback(self._made)
            self._task = making

    def _made(self, making: asyncio.Task[Response]) -> None:
        if making.cancelled():
            return  # the client went away
        error = making.exception()
        response = self._internal_error(error) if error else making.result()
        if self._state is _State.MAKING:  # else it went away just now
            self._send(response)

    def _internal_error(self, error: BaseException) -> Response:
        """Whatever happens to one request, the server goes on."""
        log.error("request failed address=%s", self._peer, exc_info=error)
        told = b"internal error, see the server's log\n"
        return text(500, told, reason=f"internal error: {type(error).__name__}")

    def _refuse(self, status: int, sentence: str) -> None:
        """Say why nothing that follows can be understood, or will be read."""
        self._leave_body()
        self._unread = True
        self._reader.clear()
        self._send(refusal(status, sentence))

    def _send(self, response: Response) -> None:
        now = monotonic()
        self._state = _State.SENDING
        self._response = response
        self._task, self._sipped = None, 0
        self._deadline = now + (DELIVERY_LIMIT if response.delivered else longest(response.size))
        self._keep = self._keep and not self._unread
        request = self._request
        start = head(response, new=request is None or self._is_new, stays=self._keep)
        if response.file is not None:
            self._turn = turn = self._shared.turns.take(str(self._peer), response.length, now)
            turn.begin, turn.sip, turn.sent = self._begin_file, self._sip, self._file_sent
            turn.yielded = self._wire.keep_little
            self._wire.send(start, more=turn.begun)
            if turn.begun:
                self._pour()
            return
        bare = request is not None and request.method == "HEAD"
        self._last_given = True
        if self._wire.send(start if bare else start + response.body):
            self.sent()

    def _begin_file(self) -> None:
        self._shared.loop.call_soon(self._pour)

    def _sip(self) -> None:
        """Send a little, so that the client knows of us while it waits for its turn."""
        response = self._response
        if self._last_given or response is None or response.file is None or self._wire.behind:
            return
        count = min(SIP, response.length - self._sipped - 1)  # the end is left to its turn
        try:
            data = os.pread(response.file.fileno(), count, response.offset + self._sipped)
        except OSError as error:
            self.lost(f"the file cannot be read: {error.strerror}")
            return
        self._sipped += len(data)
        self._wire.send(data)

    def _file_sent(self) -> int:
        """Bytes of the file that the kernel has taken."""
        offset = 0 if self._response is None else self._response.offset
        return max(self._sipped, self._wire.file_sent(offset))

    def _pour(self) -> None:
        response = self._response
        if self._last_given or response is None or response.file is None:
            return  # it is on its way already, or the client went away
        self._last_given = True
        self._deadline = monotonic() + longest(response.length)
        offset, length = response.offset + self._sipped, response.length - self._sipped
        ahead = self._turn.ahead if self._turn else 0
        if self._wire.send_file(response.file, offset, length, ahead=ahead):
            self.sent()

    async def _deliver(self, delivered: Callable[[], None]) -> None:
        failure = ""
        try:
            await acknowledged(self._wire.socket)
            self._deadline = math.inf
            await asyncio.to_thread(delivered)
        except Undelivered as error:
            failure = str(error)
        except Exception as error:
            log.exception("a delivery could not be noted address=%s", self._peer)
            failure = f"internal error: {type(error).__name__}"
        self._task = None
        if failure:
            self.lost(failure)
        else:
            self._end()

    def _end(self) -> None:
        """One exchange is over."""
        self._let_go()
        self._tell(self._response)
        if self._keep and not self._shared.stopping:
            self._state = _State.HEAD
            self._deadline = monotonic() + self._shared.idle
            self._go_on()
        elif (self._unread or self._reader.untouched) and not self._heard_all:
            self._state = _State.LINGERING
            self._deadline = monotonic() + LINGER_SECONDS
            self._reader.clear()
            self._wire.finish()
            self._wire.listen()
        else:
            self._close()

    def _tell(self, response: Response | None, failure: str = "") -> None:
        request, self._request, self._response = self._request, None, None
        if request is None:
            return
        try:
            self._shared.app.ended(Ended(request, response, monotonic() - self._began, failure))
        except Exception:
            log.exception("what came of a request was not noted address=%s", self._peer)

    def _let_go(self) -> None:
        if self._turn is not None:
            self._shared.turns.give(self._turn, monotonic())
            self._turn = None
        if self._response is not None and self._response.file is not None:
            self._response.file.close()

    def _close(self) -> None:
        if self._state is _State.OVER:
            return
        self._leave_body()
        self._state = _State.OVER
        self._let_go()
        if self._task is not None:
            self._task.cancel()
        self._wire.close()
        self._left(self)
