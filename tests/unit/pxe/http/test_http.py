"""The HTTP plane against a client: files, scripts, answers burned on use, reports, limits."""

import asyncio
import contextlib
import dataclasses
import logging
import socket
import struct
from collections.abc import AsyncIterator
from ipaddress import IPv4Address
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from pxe.catalog import Catalog
from pxe.errors import InterfaceUnusable
from pxe.http.app import BootApp
from pxe.http.report import BODY_LIMIT
from pxe.http.server import HttpServer, ssl_context, start_http
from pxe.settings import Settings
from pxe.site import Answer, Outcome, Refusal, Report, ReportKind
from tests.sites import CLIENT, KERNEL, LOOPBACK, SETTINGS, MemorySite

LISTEN = dataclasses.replace(SETTINGS, address=LOOPBACK, http_port=0)
CONTENT = bytes(range(256)) * 4096


@pytest.fixture
def site() -> MemorySite:
    return MemorySite()


@pytest.fixture
def catalog(tmp_path: Path, site: MemorySite) -> Catalog:
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts/initrd.img").write_bytes(CONTENT)
    (tmp_path / "artifacts/empty").write_bytes(b"")
    (tmp_path / "snponly.efi").write_bytes(b"MZ")
    programs = {"snponly.efi": tmp_path / "snponly.efi"}
    return Catalog(programs, tmp_path / "artifacts", None, site, LISTEN)


@pytest.fixture
async def server(site: MemorySite, catalog: Catalog) -> AsyncIterator[HttpServer]:
    server = await start_http(BootApp(site, catalog), LISTEN, connections=20, idle=1)
    yield server
    await server.stop()


@pytest.fixture
async def client(server: HttpServer) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as session:
        yield session


async def raw(server: HttpServer, request: bytes) -> bytes:
    """All bytes that come back for `request` until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(request)
    try:
        return await reader.read()
    finally:
        writer.close()


def request(path: str, method: str = "GET") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()


async def test_a_file_is_sent_whole(client: aiohttp.ClientSession, site: MemorySite):
    async with client.get("/artifacts/initrd.img") as response:
        assert response.status == 200
        assert await response.read() == CONTENT
        assert response.headers["Content-Length"] == str(len(CONTENT))
        assert response.headers["Content-Type"] == "application/octet-stream"
        assert response.headers["Accept-Ranges"] == "bytes"
        assert "Transfer-Encoding" not in response.headers
    [seen] = site.observations
    assert (seen.outcome, seen.subject) == (Outcome.SERVED, "/artifacts/initrd.img")
    assert (seen.client, seen.address) == (CLIENT, LOOPBACK)
    assert seen.facts["bytes"] == len(CONTENT)


async def test_head_tells_the_length_and_sends_nothing(server: HttpServer, site: MemorySite):
    answer = await raw(server, request("/artifacts/initrd.img", "HEAD"))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert f"Content-Length: {len(CONTENT)}\r\n".encode() in answer
    assert answer.endswith(b"\r\n\r\n")
    assert site.observations[0].facts["bytes"] == 0


async def test_a_range_is_206(client: aiohttp.ClientSession):
    async with client.get(
        "/artifacts/initrd.img", headers={"Range": "bytes=1000-1999"}
    ) as response:
        assert response.status == 206
        assert response.headers["Content-Range"] == f"bytes 1000-1999/{len(CONTENT)}"
        assert await response.read() == CONTENT[1000:2000]


async def test_a_range_outside_is_416(client: aiohttp.ClientSession):
    async with client.get(
        "/artifacts/initrd.img", headers={"Range": f"bytes={len(CONTENT)}-"}
    ) as response:
        assert response.status == 416
        assert response.headers["Content-Range"] == f"bytes */{len(CONTENT)}"
        assert response.headers["Content-Length"] == "0"


async def test_a_known_entity_tag_is_304(client: aiohttp.ClientSession):
    async with client.get("/artifacts/initrd.img") as response:
        tag = response.headers["ETag"]
    async with client.get("/artifacts/initrd.img", headers={"If-None-Match": tag}) as response:
        assert response.status == 304
        assert await response.read() == b""
        assert response.headers["ETag"] == tag


async def test_an_empty_file_has_the_length_0(client: aiohttp.ClientSession):
    async with client.get("/artifacts/empty") as response:
        assert (response.status, response.headers["Content-Length"]) == (200, "0")


@pytest.mark.parametrize(
    "path",
    [
        "//snponly.efi",
        "///snponly.efi",
        "/%73nponly.efi",
        "/artifacts/../snponly.efi",
        "/artifacts%2f..%2Fsnponly.efi",
        "/snponly.efi?x=y",
        "http://x/snponly.efi",
        "http://x//snponly.efi",
    ],
)
async def test_an_odd_spelling_is_served_without_a_redirect(server: HttpServer, path: str):
    answer = await raw(server, request(path))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"Content-Type: application/efi\r\n" in answer
    assert answer.endswith(b"MZ")


@pytest.mark.parametrize(
    "path", ["/../etc/passwd", "/%2e%2e/etc/passwd", "/%252e%252e/x", "//", "/", "/none", "/x%00"]
)
async def test_what_is_not_in_the_tree_is_404(server: HttpServer, site: MemorySite, path: str):
    answer = await raw(server, request(path))
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert answer.endswith(b"no such file\n")
    assert site.observations[0].outcome is Outcome.REFUSED


async def test_a_script_is_served_to_its_machine(client: aiohttp.ClientSession, site: MemorySite):
    site.target = KERNEL
    async with client.get(f"/ipxe/{CLIENT}.ipxe") as response:
        assert (await response.text()).startswith("#!ipxe\n")
        assert response.headers["Cache-Control"] == "no-store"


async def test_an_answer_is_burned_once_it_was_delivered(
    client: aiohttp.ClientSession, site: MemorySite
):
    async with client.get("/answer/t0ken") as response:
        assert await response.read() == b"disk=first\n"
        assert response.headers["Cache-Control"] == "no-store"
    await until(lambda: site.delivered == ["t0ken"])
    async with client.get("/answer/t0ken") as response:
        assert response.status == 403
    await until(lambda: len(site.observations) == 2)
    assert [seen.outcome for seen in site.observations] == [Outcome.SERVED, Outcome.REFUSED]
    assert site.observations[1].reason == "used or never made"


async def test_what_is_given_by_tls_alone_is_not_given_in_the_clear(
    client: aiohttp.ClientSession, site: MemorySite
):
    async with client.get("/answer/s3cret", headers={"X-Forwarded-Proto": "https"}) as response:
        assert response.status == 403
    await until(lambda: bool(site.observations))
    assert site.observations[0].reason == "asked for in the clear"
    assert site.delivered == []


async def test_an_answer_in_delivery_is_to_be_asked_for_again(
    client: aiohttp.ClientSession, site: MemorySite
):
    site.answers["t0ken"] = Refusal("being delivered", again=True)
    async with client.get("/answer/t0ken") as response:
        assert response.status == 503
        assert int(response.headers["Retry-After"]) == 5
    await until(lambda: len(site.observations) == 1)
    assert site.observations[0].outcome is Outcome.REFUSED
    assert site.observations[0].reason == "being delivered"
    assert site.delivered == []


async def test_an_answer_that_the_client_did_not_take_is_not_burned(
    server: HttpServer, site: MemorySite
):
    site.answers["t0ken"] = Answer(b"x" * (8 << 20))
    peer = socket.create_connection(("127.0.0.1", server.port))
    peer.sendall(request("/answer/t0ken"))
    await asyncio.sleep(0.2)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()  # with a reset
    await until(lambda: bool(site.observations))
    assert site.observations[0].outcome is Outcome.FAILED
    assert site.delivered == []


@pytest.mark.parametrize("linger", [b"", struct.pack("ii", 1, 0)], ids=["close", "reset"])
async def test_a_client_that_has_the_answer_may_hang_up_at_once(
    server: HttpServer, site: MemorySite, linger: bytes
):
    tokens = [f"token{number}" for number in range(50)]
    site.answers = {token: Answer(b"x" * 1000) for token in tokens}
    for token in tokens:
        peer = socket.create_connection(("127.0.0.1", server.port))
        peer.setblocking(False)
        if linger:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(peer, request(f"/answer/{token}"))
        got = b""
        while not got.endswith(b"x" * 1000):
            got += await loop.sock_recv(peer, 4096)
        peer.close()
    await until(lambda: len(site.observations) == len(tokens))
    assert sorted(site.delivered) == sorted(tokens)  # each acknowledgement has its own task


async def test_an_answer_is_not_opened_by_head(client: aiohttp.ClientSession, site: MemorySite):
    async with client.head("/answer/t0ken") as response:
        assert response.status == 405
    assert site.delivered == []


async def test_no_token_is_ever_observed(
    server: HttpServer, site: MemorySite, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    for path in (
        "/answer/S3cret",
        "//answer/S3cret",
        "/answer/S3cret/x",
        "/Answer/S3cret",
        "/x/answer/S3cret",
        "/%61nswer/S3cret",
        "/answer/S3cret%00",
        "/report/S3cret",
        "/answer/S3cret bad",
    ):
        await raw(server, request(path))
    assert len(site.observations) == 8
    assert "S3cret" not in repr(site.observations)
    assert "S3cret" not in caplog.text


async def test_a_report_is_taken(client: aiohttp.ClientSession, site: MemorySite):
    body = {"kind": "inspection", "message": "done", "data": {"cpus": 2}}
    async with client.post("/report/t0ken", json=body) as response:
        assert response.status == 204
        assert await response.read() == b""
    assert site.reports == [Report(ReportKind.INSPECTION, "done", {"cpus": 2})]
    assert site.observations[0].subject == "/report/…"


@pytest.mark.parametrize(
    ("token", "body", "status"),
    [
        ("t0ken", b"{", 400),
        ("t0ken", b'{"kind": "x"}', 400),
        ("t0ken", b" " * (BODY_LIMIT + 1), 413),
        ("other", b'{"kind": "installed"}', 403),
    ],
)
async def test_a_report_that_is_not_taken_gets_one_sentence(
    client: aiohttp.ClientSession, site: MemorySite, token: str, body: bytes, status: int
):
    async with client.post(f"/report/{token}", data=body) as response:
        assert response.status == status
        assert (await response.text()).count("\n") == 1
    assert site.reports == []


@pytest.mark.parametrize(
    ("method", "path"), [("PUT", "/x"), ("DELETE", "/"), ("GET", "/report/t0ken"), ("POST", "/x")]
)
async def test_other_methods_are_refused(server: HttpServer, method: str, path: str):
    answer = await raw(server, request(path, method))
    assert answer.split()[1] in (b"404", b"405")
    assert b"Location" not in answer


async def test_the_server_is_healthy(client: aiohttp.ClientSession):
    async with client.get("/healthz") as response:
        assert await response.text() == "ok\n"


async def test_an_internal_error_is_a_sentence_and_the_server_goes_on(
    client: aiohttp.ClientSession, site: MemorySite, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(site, "answer", lambda token, address: 1 / 0)
    async with client.get("/answer/t0ken") as response:
        assert response.status == 500
        assert "division" not in await response.text()
    assert site.observations[0].outcome is Outcome.FAILED
    async with client.get("/healthz") as response:
        assert response.status == 200


@pytest.mark.parametrize("start", [b"", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow"])
async def test_a_client_that_does_not_finish_its_request_is_cut_off(
    server: HttpServer, start: bytes
):
    async with asyncio.timeout(5):
        assert await raw(server, start) == b""


async def test_a_client_that_goes_away_is_observed_as_failed(
    server: HttpServer, site: MemorySite, catalog: Catalog
):
    (catalog.artifacts / "big").write_bytes(b"x" * (32 << 20))
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(request("/artifacts/big"))
    await reader.readexactly(1000)
    writer.transport.abort()
    await until(lambda: bool(site.observations))
    assert site.observations[0].outcome is Outcome.FAILED
    assert "of 33554432 bytes" in site.observations[0].reason


async def begun(
    server: HttpServer, count: int
) -> list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connections that have begun a request: those that say nothing are not accepted yet."""
    peers = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(count)]
    for _, writer in peers:
        writer.write(request("/healthz")[:20])
    await asyncio.sleep(0.1)
    return peers


async def test_one_connection_too_many_is_cut_off(server: HttpServer):
    peers = await begun(server, 20)
    with contextlib.suppress(ConnectionError):
        assert await raw(server, request("/healthz")) == b""
    peers[0][1].write(request("/healthz")[20:])
    assert (await peers[0][0].read()).endswith(b"ok\n")
    assert (await raw(server, request("/healthz"))).endswith(b"ok\n")
    for _, writer in peers:
        writer.close()


async def test_one_address_does_not_get_all_connections(
    site: MemorySite, catalog: Catalog, caplog: pytest.LogCaptureFixture
):
    server = await start_http(BootApp(site, catalog), LISTEN, connections_of_peer=3)
    peers = await begun(server, 3)
    with contextlib.suppress(ConnectionError):
        assert await raw(server, request("/healthz")) == b""
    other = socket.socket()
    other.bind(("127.0.0.2", 0))
    other.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(other, ("127.0.0.1", server.port))
    await loop.sock_sendall(other, request("/healthz"))
    assert (await loop.sock_recv(other, 4096)).endswith(b"ok\n")
    other.close()
    for _, writer in peers:
        writer.close()
    await until(lambda: "too many connections from 127.0.0.1" in caplog.text)
    await server.stop()


async def test_a_port_in_use_is_named(server: HttpServer, site: MemorySite, catalog: Catalog):
    settings: Settings = dataclasses.replace(LISTEN, http_port=server.port)
    with pytest.raises(InterfaceUnusable, match=f"127.0.0.1:{server.port}: Address already"):
        await start_http(BootApp(site, catalog), settings)


def test_a_bad_certificate_is_named(tmp_path: Path):
    (tmp_path / "cert.pem").write_text("nothing")
    with pytest.raises(InterfaceUnusable, match=r"cert\.pem"):
        ssl_context(tmp_path / "cert.pem", tmp_path / "key.pem")


async def test_a_peer_of_another_address_gets_no_script(
    client: aiohttp.ClientSession, site: MemorySite
):
    site.reservations = tuple(
        dataclasses.replace(r, address=IPv4Address("10.20.0.11")) for r in site.reservations
    )
    async with client.get(URL(f"/ipxe/{CLIENT}.ipxe")) as response:
        assert response.status == 404
    assert site.targets == []


async def until(condition) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)
