"""curl, as a client with its own opinion of HTTP, gets what it asks for."""

import asyncio
import dataclasses
import json
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pxe.catalog import Catalog
from pxe.http import wire
from pxe.http.app import BootApp
from pxe.http.server import HttpServer, ssl_context, start_http
from pxe.site import ReportKind
from tests.sites import CLIENT, KERNEL, LOOPBACK, SETTINGS, MemorySite
from tests.tools import require_tool

LISTEN = dataclasses.replace(SETTINGS, address=LOOPBACK, http_port=0)
CONTENT = bytes(range(251)) * 40_000


@pytest.fixture
def site() -> MemorySite:
    return MemorySite()


@pytest.fixture
def catalog(tmp_path: Path, site: MemorySite) -> Catalog:
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts/initrd.img").write_bytes(CONTENT)
    (tmp_path / "shimx64.efi").write_bytes(b"MZ")
    return Catalog(
        {"shimx64.efi": tmp_path / "shimx64.efi"}, tmp_path / "artifacts", None, site, LISTEN
    )


@pytest.fixture
async def server(site: MemorySite, catalog: Catalog) -> AsyncIterator[HttpServer]:
    server = await start_http(BootApp(site, catalog), LISTEN)
    yield server
    await server.stop()


async def run(*argv: str | Path) -> bytes:
    process = await asyncio.create_subprocess_exec(
        *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out


async def curl(server: HttpServer, path: str, *options: str | Path) -> bytes:
    """curl's standard output; it must not follow redirects nor tidy the path."""
    return await run(
        require_tool("curl"),
        "--silent",
        "--show-error",
        "--path-as-is",
        "--max-time",
        "20",
        *options,
        f"http://127.0.0.1:{server.port}{path}",
    )


async def test_a_file_arrives_byte_for_byte(server: HttpServer):
    assert await curl(server, "/artifacts/initrd.img") == CONTENT


async def test_head_announces_length_ranges_and_validator(server: HttpServer):
    head = (await curl(server, "/artifacts/initrd.img", "--head")).decode()
    assert head.startswith("HTTP/1.1 200 OK\r\n")
    for line in (f"Content-Length: {len(CONTENT)}", "Accept-Ranges: bytes", 'ETag: "'):
        assert f"\r\n{line}" in head


@pytest.mark.parametrize(
    ("wanted", "part"),
    [("0-99", CONTENT[:100]), ("5000000-", CONTENT[5_000_000:]), ("-7", CONTENT[-7:])],
)
async def test_a_range_is_that_part(server: HttpServer, wanted: str, part: bytes):
    assert await curl(server, "/artifacts/initrd.img", "--range", wanted, "--fail") == part


async def test_an_interrupted_download_resumes(server: HttpServer, tmp_path: Path):
    partial = tmp_path / "partial"
    partial.write_bytes(CONTENT[:1_234_567])
    await curl(server, "/artifacts/initrd.img", "--continue-at", "-", "--output", partial, "--fail")
    assert partial.read_bytes() == CONTENT


async def test_an_unchanged_file_is_not_sent_again(server: HttpServer, tmp_path: Path):
    for _ in range(2):
        status = await curl(
            server,
            "/artifacts/initrd.img",
            "--etag-save",
            tmp_path / "tag",
            "--etag-compare",
            tmp_path / "tag",
            "--output",
            tmp_path / "out",
            "--write-out",
            "%{http_code}",
        )
    assert status == b"304"


async def test_the_double_slash_of_shim_is_served(server: HttpServer):
    assert await curl(server, "//shimx64.efi", "--fail") == b"MZ"


@pytest.mark.parametrize(
    "path",
    [
        "/artifacts/../../../../../../etc/passwd",
        "/artifacts/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/artifacts/%252e%252e/%252e%252e/%252e%252e/%252e%252e/etc/passwd",
        "/..%5c..%5c..%5cetc%5cpasswd",
        "/artifacts",
    ],
)
async def test_no_path_leads_out(server: HttpServer, path: str):
    assert await curl(server, path, "--write-out", "%{http_code}") == b"no such file\n404"


async def test_one_connection_carries_many_requests(server: HttpServer):
    base = f"http://127.0.0.1:{server.port}"
    told = await run(
        require_tool("curl"),
        "--silent",
        "--write-out",
        "%{http_code} %{num_connects}\n",
        *(
            word
            for name in ("healthz", "nothing", "artifacts/initrd.img", "shimx64.efi")
            for word in ("--output", "/dev/null", f"{base}/{name}")
        ),
    )
    assert told.decode().split("\n")[:4] == ["200 1", "404 0", "200 0", "200 0"]


async def test_a_script_an_answer_and_a_report(server: HttpServer, site: MemorySite):
    site.target = KERNEL
    assert (await curl(server, f"/ipxe/{CLIENT}.ipxe", "--fail")).startswith(b"#!ipxe\n")
    assert await curl(server, "/answer/t0ken", "--fail") == b"disk=first\n"
    status = await curl(server, "/answer/t0ken", "--write-out", "%{http_code}", "-o", "/dev/null")
    assert status == b"403"
    body = json.dumps({"kind": "installed", "message": "done"})
    status = await curl(server, "/report/t0ken", "--data", body, "--write-out", "%{http_code}")
    assert status == b"204"
    assert [report.kind for report in site.reports] == [ReportKind.INSTALLED]


async def test_a_big_report_waits_for_100_continue_and_is_taken(
    server: HttpServer, site: MemorySite, tmp_path: Path
):
    body = tmp_path / "body"
    body.write_text(json.dumps({"kind": "inspection", "data": {"x": "y" * 900_000}}))
    options = ("--header", "Expect: 100-continue", "--data-binary", f"@{body}")
    status = await curl(server, "/report/t0ken", *options, "--write-out", "%{http_code}")
    assert status == b"204"
    assert len(site.reports[0].data["x"]) == 900_000


@pytest.fixture
async def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1, and its key."""
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    await run(
        require_tool("openssl"),
        *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
        *("-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "1"),
        *("-keyout", key, "-out", certificate),
    )
    return certificate, key


@pytest.fixture
async def secure(
    site: MemorySite, catalog: Catalog, certificate: tuple[Path, Path]
) -> AsyncIterator[HttpServer]:
    tls = ssl_context(*certificate)
    server = await start_http(BootApp(site, catalog), LISTEN, tls=tls, idle=2)
    yield server
    await server.stop()


@pytest.mark.parametrize("version", ["--tlsv1.3", "--tls-max=1.2"])
async def test_tls_serves_the_same_with_a_certificate(
    site: MemorySite,
    secure: HttpServer,
    certificate: tuple[Path, Path],
    tmp_path: Path,
    version: str,
):
    maximum = version.split("=")
    options = (require_tool("curl"), "--silent", "--fail", "--cacert", certificate[0], *maximum)
    base = f"https://127.0.0.1:{secure.port}"
    assert await run(*options, f"{base}/artifacts/initrd.img") == CONTENT
    both = await run(*options, *[f"{base}/artifacts/initrd.img"] * 2, "--range", "5-")
    assert both == CONTENT[5:] * 2
    assert await run(*options, "--range", "9-", f"{base}//shimx64.efi", "--head")
    body = tmp_path / "body"
    body.write_text(json.dumps({"kind": "inspection", "data": {"x": "y" * 900_000}}))
    await run(*options, f"{base}/report/t0ken", "--data-binary", f"@{body}")
    assert len(site.reports[0].data["x"]) == 900_000
    assert await run(*options, f"{base}/answer/t0ken") == b"disk=first\n"
    assert await run(*options, f"{base}/answer/s3cret") == b"A=b\n"
    async with asyncio.timeout(5):
        while site.delivered != ["t0ken", "s3cret"]:
            await asyncio.sleep(0.01)


async def test_a_paused_tls_connection_hears_nothing(
    certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(wire, "RECEIVE", 10)
    heard: list[bytes] = []

    class Owner:
        def received(self, data: bytes) -> None:
            heard.append(data)
            server.listen()
            server.pause()

        def half_closed(self) -> None:
            raise AssertionError

        sent = half_closed

        def lost(self, reason: str) -> None:
            raise AssertionError(reason)

    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    server = wire.EncryptedWire(asyncio.get_running_loop(), ours, ssl_context(*certificate))
    server.open(Owner())
    trusting = ssl.create_default_context(cafile=certificate[0])
    client = await asyncio.to_thread(trusting.wrap_socket, theirs, server_hostname="127.0.0.1")
    client.send(b"0123456789" * 3)
    for number in range(1, 4):
        await asyncio.sleep(0.1)
        assert heard == [b"0123456789"] * number
        server.listen()
    server.close()
    client.close()


async def test_what_is_no_tls_is_cut_off_and_the_next_client_is_served(
    secure: HttpServer, certificate: tuple[Path, Path]
):
    for words in (
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"\x16",
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", secure.port)
        writer.write(words)
        try:
            async with asyncio.timeout(5):
                assert b"HTTP" not in await reader.read()
        except ConnectionError:
            pass
        writer.close()
    url = f"https://127.0.0.1:{secure.port}/healthz"
    assert await run(require_tool("curl"), "-sf", "--cacert", certificate[0], url) == b"ok\n"


async def test_a_slow_client_gets_all_of_a_file_over_tls(
    secure: HttpServer, certificate: tuple[Path, Path]
):
    url = f"https://127.0.0.1:{secure.port}/artifacts/initrd.img"
    options = ("-sf", "--cacert", certificate[0], "--limit-rate", "5M", "--range", "0-9999999")
    assert await run(require_tool("curl"), *options, url) == CONTENT[:10_000_000]
