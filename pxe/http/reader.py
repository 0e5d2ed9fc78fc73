"""From bytes to requests, by aiohttp's parser, and never more of them than can be held."""

import asyncio
from collections import deque
from typing import Final, NamedTuple

from aiohttp import StreamReader
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser, RawRequestMessage
from aiohttp.http_exceptions import HttpProcessingError

from pxe.http.report import BODY_LIMIT

LINE_LIMIT: Final = 4096
"""Bytes of the request line, and of each header."""
HEADERS_LIMIT: Final = 64
HEAD_LIMIT: Final = 16 << 10
"""Bytes of a whole head."""
AHEAD_LIMIT: Final = 64 << 10
"""Bytes that a client may send ahead before it is to be read no further."""
FED_AT_ONCE: Final = 4096
"""Bytes given to the parser at once, and so a bound of the requests that one feeding can give."""
CHUNKED_LIMIT: Final = 2 * BODY_LIMIT
"""Bytes of a body in chunks with all that is around them."""
_HEAD_END: Final = b"\r\n\r\n"


class Malformed(Exception):
    """What came is no request that could be answered, nor can what follows be understood."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Head(NamedTuple):
    """A request's head, and where its body arrives."""

    message: RawRequestMessage
    payload: StreamReader


class _Flow(BaseProtocol):
    """What the parser asks to be slower; our own limits are below its own."""

    def pause_reading(self) -> None:
        """Nothing to be done."""

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Nothing to be done."""


class Reader:
    """The requests of one connection.

    The parser refuses what could be read in two ways (RFC 9112, 6.3 and 11.2: two lengths, or a
    length beside a transfer coding) and what is too long; the rest is bounded here.
    """

    __slots__ = ("_ahead", "_fed", "_heads", "_last", "_left", "_parser")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._parser = HttpRequestParser(
            _Flow(loop), loop, BODY_LIMIT,
            max_line_size=LINE_LIMIT, max_headers=HEADERS_LIMIT, max_field_size=LINE_LIMIT,
            auto_decompress=False,
        )  # fmt: skip
        self._ahead = b""
        """What came and was not given to the parser yet."""
        self._fed = 0
        """Bytes of a head that is not whole yet."""
        self._last = b""
        """The last of them: its end may come in pieces too."""
        self._left = 0
        """Bytes of the body that are to come at most."""
        self._heads: deque[Head] = deque()

    def add(self, data: bytes) -> bool:
        """Keep what came for later; returns whether there is room for more."""
        self._ahead += data
        return len(self._ahead) <= AHEAD_LIMIT

    def clear(self) -> None:
        """Forget what came and was not looked at."""
        self._ahead = b""
        self._heads.clear()

    @property
    def untouched(self) -> bool:
        """Whether something came that nobody has looked at."""
        return bool(self._ahead or self._heads)

    def head(self) -> Head | None:
        """The next request's head when it is whole. Raises Malformed."""
        while not self._heads and self._ahead:
            # One head only: were what follows it malformed, the parser would not give it at all.
            before, end, _ = (self._last + self._ahead).partition(_HEAD_END)
            fed = self._feed(min(len(before) + len(end) - len(self._last), FED_AT_ONCE))
            self._last = (self._last + fed)[-3:]
            self._fed += len(fed)
            if self._fed > HEAD_LIMIT:
                raise Malformed(431, f"a request's head has at most {HEAD_LIMIT} bytes")
        if not self._heads:
            return None
        self._fed, self._last = 0, b""
        found = self._heads.popleft()
        self._left = int(found.message.headers.get("Content-Length", CHUNKED_LIMIT))
        return found

    def body(self, payload: StreamReader) -> bytes | None:
        """The body when it is whole. Raises Malformed, also when it is too long."""
        while not payload.is_eof() and self._ahead:
            self._left -= len(self._feed(min(self._left, FED_AT_ONCE)))
            if payload.total_bytes > BODY_LIMIT or not (self._left or payload.is_eof()):
                raise Malformed(413, f"a report has at most {BODY_LIMIT} bytes")
        return payload.read_nowait() if payload.is_eof() else None

    def _feed(self, count: int) -> bytes:
        data, self._ahead = self._ahead[:count], self._ahead[count:]
        try:
            messages, upgraded, _ = self._parser.feed_data(data)
        except (HttpProcessingError, ValueError) as error:
            sentence = "this is not HTTP/1, or not as it should be"
            raise Malformed(400, sentence) from error
        self._heads += (Head(message, payload) for message, payload in messages)
        if upgraded:  # to what, nobody here would speak
            self._ahead = b""
        return data
