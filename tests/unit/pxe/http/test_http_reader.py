"""However bytes are cut, the same requests come of them."""

import asyncio
import random
from collections.abc import Iterable

import pytest

from pxe.http.reader import AHEAD_LIMIT, CHUNKED_LIMIT, Malformed, Reader

REQUESTS = (
    b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
    b"\r\nHEAD /b HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    b"POST /c HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n\r\n\r\n1"
    b"POST /d HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2\r\n\r\n\r\n3;x\r\nabc\r\n0\r\nTrailer: y\r\n\r\n"
    b"GET /e HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
)
WANTED = [
    ("GET", "/a", b""),
    ("HEAD", "/b", b""),
    ("POST", "/c", b"\r\n\r\n1"),
    ("POST", "/d", b"\r\nabc"),
    ("GET", "/e", b""),
]


def read(pieces: Iterable[bytes]) -> list[tuple[str, str, bytes]]:
    """All requests of one connection, and Malformed as the last when it came to that."""
    loop = asyncio.new_event_loop()
    reader, found, waiting = Reader(loop), list[tuple[str, str, bytes]](), None
    try:
        for piece in pieces:
            reader.add(piece)
            while waiting or (waiting := reader.head()):
                body = reader.body(waiting.payload)
                if body is None:
                    break
                found.append((waiting.message.method, waiting.message.path, body))
                waiting = None
    except Malformed as error:
        found.append(("", "", str(error.status).encode()))
    finally:
        loop.close()
    return found


def test_every_cut_gives_the_same_requests() -> None:
    for place in range(len(REQUESTS) + 1):
        assert read([REQUESTS[:place], REQUESTS[place:]]) == WANTED, place


@pytest.mark.parametrize("seed", range(50))
def test_any_pieces_give_the_same_requests(seed: int) -> None:
    chance, pieces, rest = random.Random(seed), [], REQUESTS
    while rest:
        length = chance.choice((1, 2, 3, 7, 40, 200))
        pieces.append(rest[:length])
        rest = rest[length:]
    assert read(pieces) == WANTED


@pytest.mark.parametrize("body", [b"", b"12345"])
def test_what_follows_a_request_cannot_take_it_back(body: bytes) -> None:
    head = f"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\nConnection: close"
    sent = head.encode() + b"\r\n\r\n" + body
    assert read([sent + b"garbage \0\r\n\r\n"]) == [("POST", "/x", body), ("", "", b"400")]


CHUNKED = b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("size", "most"), [(1, CHUNKED_LIMIT // 6), (1 << 10, 1 << 10)], ids=["tiny", "big"]
)
def test_a_body_in_chunks_is_bounded_like_any_other(size: int, most: int) -> None:
    chunk = b"%x\r\n" % size + b"x" * size + b"\r\n"
    within = read([CHUNKED, *[chunk * (most // 16)] * 15, b"0\r\n\r\n"])
    assert [len(body) for _, _, body in within] == [most // 16 * 15 * size]
    assert read([CHUNKED, *[chunk * (most // 16 + 1)] * 17]) == [("", "", b"413")]


def test_a_reader_says_when_enough_was_sent_ahead() -> None:
    loop = asyncio.new_event_loop()
    reader = Reader(loop)
    assert reader.add(bytes(AHEAD_LIMIT))
    assert not reader.add(b"x")
    loop.close()
