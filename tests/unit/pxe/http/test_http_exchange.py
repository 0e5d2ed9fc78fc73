"""Responses as values, and their heads byte for byte."""

import pytest

from pxe.http.exchange import Response, head, refusal, text

NOW = 1767323045.5


def test_a_text_has_its_length_and_is_kept_by_nobody() -> None:
    assert head(text(200, b"ok\n"), new=True, stays=True, now=NOW) == (
        b"HTTP/1.1 200 OK\r\n"
        b"Server: rackseed\r\n"
        b"Date: Fri, 02 Jan 2026 03:04:05 GMT\r\n"
        b"Cache-Control: no-store\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\n"
        b"Content-Length: 3\r\n\r\n"
    )


def test_no_content_has_neither_type_nor_length() -> None:
    told = head(text(204, b""), new=True, stays=True, now=NOW)
    assert b"Content-" not in told


@pytest.mark.parametrize(
    ("new", "stays", "line"),
    [(True, True, b""), (True, False, b"close"), (False, True, b"keep-alive"), (False, False, b"")],
)
def test_only_what_is_not_the_way_of_the_version_is_said(
    new: bool, stays: bool, line: bytes
) -> None:
    told = head(Response(200), new=new, stays=stays, now=NOW)
    assert told.startswith(b"HTTP/1.1 " if new else b"HTTP/1.0 ")
    assert told.partition(b"Connection: ")[2].partition(b"\r\n")[0] == line


def test_a_refusal_tells_the_log_more_than_the_peer() -> None:
    told = refusal(403, "not yours", "the token was burned at noon")
    assert told.body == b"not yours\n"
    assert told.reason == "the token was burned at noon"
    assert refusal(404, "no such file").reason == "no such file"


def test_a_body_is_not_shown() -> None:
    assert "S3cret" not in repr(text(200, b"S3cret"))
