"""Garbage on the HTTP port: no crash, no file from outside, and the next client is served."""

import asyncio
import dataclasses
import errno
import logging
import random
from pathlib import Path

import pytest

from pxe.catalog import Catalog
from pxe.http import connection
from pxe.http.app import BootApp
from pxe.http.server import start_http
from pxe.http.turns import SMALL
from tests.sites import LOOPBACK, SETTINGS, MemorySite

LISTEN = dataclasses.replace(SETTINGS, address=LOOPBACK, http_port=0)
REQUESTS = 10_000
AT_ONCE = 32
SEED = 20260102

SEEDS = (
    b'GET /artifacts/a HTTP/1.1\r\nHost: x\r\nRange: bytes=0-3\r\nIf-Range: "x"\r\n\r\n',
    b'HEAD //snponly.efi HTTP/1.0\r\nIf-None-Match: W/"1", *\r\nConnection: keep-alive\r\n\r\n',
    b"GET /answer/t0ken HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b'POST /report/t0ken HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n{"kind":"installed"}',
    b"POST /report/t0ken HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    b'5\r\n{"kin\r\n0\r\n\r\n',
    b"GET http://x/../%2e%2e/etc/shadow HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n",
    b"GET /pxelinux.cfg/7F000001 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\nCONNECT x:1 HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"POST /report/t0ken HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /artifacts/a HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /artifacts/big HTTP/1.1\r\nHost: x\r\n\r\nGET /artifacts/a HTTP/1.1\r\nHost: x\r\n\r\n"
    * 3,
)
INSERTS = (
    *(b"\r\n", b"\0", b"%", b"%00", b"..", b"/", b"\\", b"//", b" ", b":", b"\xff", b"99999999999"),
    *(b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Content-Encoding: gzip\r\n"),
    *(b"A" * 5000, b"X: y\r\n" * 100, b"bytes=", b"-", b"[" * 2000),
)


def mutated(chance: random.Random) -> bytes:
    """One of the seeds, cut, spliced and salted."""
    data = bytearray(chance.choice(SEEDS))
    for _ in range(chance.randint(0, 6)):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(5):
            case 0:
                data[at : at + chance.randint(1, 8)] = b""
            case 1:
                data[at:at] = chance.choice(INSERTS)
            case 2:
                data[at : at + 1] = chance.randbytes(1)
            case 3:
                other = chance.choice(SEEDS)
                data[at:] = other[chance.randrange(len(other)) :]
            case _:
                data[at:at] = chance.randbytes(chance.randint(1, 16))
    return bytes(data)


def open_files() -> int:
    """Descriptors of this process."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def attack(port: int, data: bytes, chance: random.Random) -> bytes:
    """Say it in one of the ways in which clients end; returns what came back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    way = chance.randrange(40)
    try:
        if way < 10:  # in pieces
            for start in range(0, len(data), cut := chance.randint(1, 200)):
                writer.write(data[start : start + cut])
                await asyncio.sleep(0)
        else:
            writer.write(data)
        if way == 39:
            await asyncio.sleep(0)
            writer.transport.abort()
            return b""
        if way != 38:  # who says nothing more is ended by the limit
            writer.write_eof()
        async with asyncio.timeout(20):
            return await reader.read()
    except OSError as error:
        if isinstance(error, ConnectionError) or error.errno == errno.ENOTCONN:
            return b""  # the server has ended it while we were still speaking
        raise
    finally:
        writer.close()


async def test_no_request_hurts_the_server(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(connection, "BODY_SECONDS", 0.5)
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts/a").write_bytes(b"x" * 1000)
    (tmp_path / "artifacts/big").write_bytes(b"x" * (SMALL + 1))
    site = MemorySite()
    catalog = Catalog({}, tmp_path / "artifacts", None, site, LISTEN)
    before = open_files()
    server = await start_http(BootApp(site, catalog), LISTEN, idle=0.5)
    unhandled: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: unhandled.append(what))
    chance = random.Random(SEED)
    inputs = iter([mutated(chance) for _ in range(REQUESTS)])

    async def attacks() -> None:
        for data in inputs:
            answer = await attack(server.port, data, chance)
            assert b"root:" not in answer
            assert not answer or answer.startswith(b"HTTP/1."), (data, answer)

    with caplog.at_level(logging.WARNING):
        async with asyncio.TaskGroup() as tasks:
            for _ in range(AT_ONCE):
                tasks.create_task(attacks())
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET /artifacts/big HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert (await reader.read()).endswith(b"x" * (SMALL + 1))
    writer.close()
    await server.stop()
    assert unhandled == []
    assert [record for record in caplog.records if record.name.startswith("pxe")] == []
    async with asyncio.timeout(10):
        while open_files() > before:  # clients of ours are closed a moment later
            await asyncio.sleep(0.05)
