"""What a machine asks over HTTP and what it gets, apart from any socket."""

import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from ipaddress import IPv4Address
from typing import Any, BinaryIO, Final, NamedTuple, Protocol

TEXT: Final = "text/plain; charset=utf-8"


class Request(NamedTuple):
    """One request whose head, and body where one was wanted, has arrived whole."""

    method: str
    path: str
    """As it came off the wire, without query."""
    headers: Mapping[str, str]
    """By their names in any case."""
    peer: IPv4Address
    body: bytes = b""
    encrypted: bool = False
    """It came by TLS."""


@dataclass(slots=True)
class Response:
    """A status, header fields, and a body in memory or in an open file."""

    status: int
    body: bytes = field(default=b"", repr=False)
    fields: tuple[str, ...] = ()
    """Header lines, but for those that each response has."""
    file: BinaryIO | None = None
    """Closed by whoever sends it."""
    offset: int = 0
    length: int = 0
    """Bytes of the file to be sent from `offset` on."""
    reason: str = ""
    """The truth for the log, which the peer need not know."""
    delivered: Callable[[], None] | None = None
    """Called in a thread once the peer has acknowledged all; it may take long."""

    @property
    def size(self) -> int:
        """Bytes of the body."""
        return len(self.body) if self.file is None else self.length


class Ended(NamedTuple):
    """What came of a request."""

    request: Request
    response: Response | None
    """None when it was not sent whole; then `failure` says why."""
    seconds: float
    failure: str = ""


Responding = Response | Coroutine[Any, Any, Response]
"""A response, or what makes one when it takes time."""


class App(Protocol):
    """Decides what every request gets."""

    def takes_body(self, request: Request) -> bool:
        """Whether the body of a request, of which only the head has come, is to be read."""

    def respond(self, request: Request) -> Responding:
        """The response; raising is an internal error."""

    def ended(self, ended: Ended) -> None:
        """Called once for each request that `respond` or `takes_body` was asked about."""


def text(
    status: int, body: bytes, *fields: str, content_type: str = TEXT, reason: str = ""
) -> Response:
    """A short body, with its length and not to be kept by anyone."""
    fields = ("Cache-Control: no-store", *fields)
    if status != 204:  # which has no body, and no length of one (RFC 9110, 8.6)
        fields = (*fields, f"Content-Type: {content_type}", f"Content-Length: {len(body)}")
    return Response(status, body, fields, reason=reason)


def refusal(status: int, sentence: str, reason: str = "") -> Response:
    """One sentence; `reason` is the fuller truth for the log."""
    return text(status, f"{sentence}\n".encode(), reason=reason or sentence)


def head(response: Response, *, new: bool, stays: bool, now: float | None = None) -> bytes:
    """The status line and all header fields (RFC 9112, 3 to 5).

    `new`: the request was HTTP/1.1; `stays`: the connection waits for another one.
    """
    lines = [
        f"HTTP/1.{int(new)} {response.status} {_phrase(response.status)}",
        "Server: rackseed",
        f"Date: {_date(int(time.time() if now is None else now))}",
        *response.fields,
    ]
    if stays is not new:  # what is not the version's own way (RFC 9112, 9.3)
        lines.append(f"Connection: {'keep-alive' if stays else 'close'}")
    lines.append("\r\n")
    return "\r\n".join(lines).encode("latin-1")


@lru_cache
def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase


@lru_cache(maxsize=1)
def _date(seconds: int) -> str:
    return formatdate(seconds, usegmt=True)
