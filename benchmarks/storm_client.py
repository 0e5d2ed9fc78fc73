"""A row of racks gets its power back: many clients boot at once, each as firmware does.

Each client takes an address (DHCP as UEFI), reads the first program (TFTP, window 4), takes its
address again (DHCP as iPXE), then reads script, kernel and initrd (HTTP, one connection each).
Run inside the clients' namespace, where every client's address is on the interface; DHCP goes
through one relay socket, as a rack switch would send it. Prints one JSON object.
"""

import argparse
import asyncio
import json
import re
import resource
import socket
import struct
import sys
import time
from ipaddress import IPv4Address
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pxe.addresses import MacAddress
from pxe.dhcp.message import Message, decode

DISCARD = bytearray(1 << 20)
TFTP_BLKSIZE = 1468
PATIENCE = 60.0
"""Seconds that any one reply may take before the client counts as lost."""


class Relay:
    """One socket on port 67 for all clients; replies find their client by transaction id."""

    def __init__(self, own: str, server: str) -> None:
        self.giaddr = own
        self.server = server
        self.waiting: dict[int, asyncio.Future[Message]] = {}
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self.sock.bind((own, 67))
        self.sock.setblocking(False)
        asyncio.get_running_loop().add_reader(self.sock, self._readable)
        self.retries = 0

    def _readable(self) -> None:
        while True:
            try:
                data = self.sock.recv(2048)
            except BlockingIOError:
                return
            message = decode(data)
            future = self.waiting.pop(message.xid, None)
            if future and not future.done():
                future.set_result(message)

    async def ask(self, request: bytes, xid: int) -> Message:
        """Send and send again (1, 2, 4 … seconds) until an answer comes."""
        pause = 1.0
        deadline = time.monotonic() + PATIENCE
        while True:
            future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
            self.waiting[xid] = future
            self.sock.sendto(request, (self.server, 67))
            try:
                return await asyncio.wait_for(future, pause)
            except TimeoutError:
                self.retries += 1
                pause = min(pause * 2, 8.0)
                if time.monotonic() > deadline:
                    raise


def request(kind: int, mac: MacAddress, xid: int, giaddr: str, more: bytes) -> bytes:
    """A BOOTREQUEST as network firmware for UEFI x64 sends it."""
    header = struct.pack(
        "!BBBBIHH4s4s4s4s16s192x4s",
        1, 1, 6, 1, xid, 0, 0, bytes(4), bytes(4), bytes(4),
        IPv4Address(giaddr).packed, mac.octets + bytes(10), b"\x63\x82\x53\x63",
    )  # fmt: skip
    vendor = b"PXEClient:Arch:00007:UNDI:003000"
    options = (
        bytes((53, 1, kind, 93, 2, 0, 7, 60, len(vendor))) + vendor
        + bytes((97, 17, 0)) + mac.octets + bytes(10)
        + bytes((55, 7, 1, 3, 6, 43, 60, 66, 67)) + more
    )  # fmt: skip
    return header + options + b"\xff"


async def dhcp(relay: Relay, mac: MacAddress, number: int, user_class: bytes) -> Message:
    """DISCOVER to ACK; returns the ACK."""
    xid = number << 4 | (8 if user_class else 0)
    own = bytes((77, len(user_class))) + user_class if user_class else b""
    offer = await relay.ask(request(1, mac, xid, relay.giaddr, own), xid)
    chosen = bytes((50, 4)) + offer.yiaddr.packed + bytes((54, 4)) + offer.options[54]
    xid += 1
    return await relay.ask(request(3, mac, xid, relay.giaddr, chosen + own), xid)


def boot_file(ack: Message) -> str:
    """Option 67, or the file field where a server prefers that."""
    raw = ack.options.get(67) or ack.file
    return raw.rstrip(b"\0").decode()


async def tftp(address: str, server: str, name: str) -> int:
    """Read one file, window 4; returns its bytes."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((address, 0))
        sock.setblocking(False)
        rrq = b"\0\1" + b"\0".join(
            (name.encode(), b"octet", b"blksize", b"%d" % TFTP_BLKSIZE, b"windowsize", b"4", b"")
        )
        sock.sendto(rrq, (server, 69))
        peer, last, total, window = None, 0, 0, 1
        deadline = time.monotonic() + PATIENCE
        send = rrq
        while True:
            try:
                data, source = await asyncio.wait_for(loop.sock_recvfrom(sock, 2048), 1.0)
            except TimeoutError:
                if time.monotonic() > deadline:
                    raise
                sock.sendto(send, peer or (server, 69))
                continue
            peer = peer or source
            opcode, block = struct.unpack_from("!HH", data)
            if opcode == 5:
                raise RuntimeError(f"tftp: {data[4:-1].decode(errors='replace')}")
            if opcode == 6:
                window = 4 if b"windowsize" in data.lower() else 1
                send = b"\0\4\0\0"
                sock.sendto(send, peer)
                continue
            if block != (last + 1) & 0xFFFF:
                continue
            last = block
            total += len(data) - 4
            done = len(data) - 4 < TFTP_BLKSIZE
            if done or last % window == 0:
                send = struct.pack("!HH", 4, last)
                sock.sendto(send, peer)
            if done:
                return total


async def http(address: str, url: str, keep: bool = False) -> bytes | int:
    """GET one file on its own connection; returns the body, or its size when not kept."""
    loop = asyncio.get_running_loop()
    parts = urlsplit(url)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        sock.bind((address, 0))
        await asyncio.wait_for(
            loop.sock_connect(sock, (parts.hostname, parts.port or 80)), PATIENCE
        )
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        await loop.sock_sendall(
            sock,
            f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n".encode(),
        )
        head = b""
        while b"\r\n\r\n" not in head:
            got = await asyncio.wait_for(loop.sock_recv(sock, 1 << 16), PATIENCE)
            if not got:
                raise RuntimeError(f"{url}: connection closed in the header")
            head += got
        head, _, body = head.partition(b"\r\n\r\n")
        if b" 200 " not in head.splitlines()[0]:
            raise RuntimeError(f"{url}: {head.splitlines()[0].decode()}")
        match = re.search(rb"(?im)^content-length:\s*(\d+)", head)
        if not match:
            raise RuntimeError(f"{url}: no Content-Length")
        left = int(match.group(1)) - len(body)
        if keep:
            while left > 0:
                got = await asyncio.wait_for(loop.sock_recv(sock, 1 << 16), PATIENCE)
                if not got:
                    raise RuntimeError(f"{url}: cut short")
                body += got
                left -= len(got)
            return body
        await asyncio.wait_for(_discard(loop, sock, left), 10 * PATIENCE)
        return int(match.group(1))


async def _discard(loop: asyncio.AbstractEventLoop, sock: socket.socket, left: int) -> None:
    """Take `left` bytes off a TCP socket without copying them out of the kernel (MSG_TRUNC)."""
    done = loop.create_future()

    def readable() -> None:
        nonlocal left
        try:
            got = sock.recv_into(DISCARD, min(left, len(DISCARD)), socket.MSG_TRUNC)
        except BlockingIOError:
            return
        except OSError as error:
            loop.remove_reader(sock)
            done.set_exception(error)
            return
        left -= got
        if not got or not left:
            loop.remove_reader(sock)
            if left:
                done.set_exception(RuntimeError("cut short"))
            else:
                done.set_result(None)

    if left:
        loop.add_reader(sock, readable)
        await done


async def boot(relay: Relay, server: str, mac: MacAddress, number: int) -> dict[str, float]:
    """One machine from power-on to its initrd; returns the second at which each phase ended."""
    begun = time.monotonic()
    marks: dict[str, float] = {}

    def mark(phase: str) -> None:
        marks[phase] = time.monotonic() - begun

    first = await dhcp(relay, mac, number, b"")
    address = str(first.yiaddr)
    mark("dhcp")
    await tftp(address, server, boot_file(first))
    mark("program")
    second = await dhcp(relay, mac, number, b"iPXE")
    script = await http(address, boot_file(second), keep=True)
    assert isinstance(script, bytes)
    mark("script")
    urls = re.findall(r"(?m)^\s*(?:kernel|initrd)\b.*?(http://[^\s|]+)", script.decode())
    if len(urls) < 2:
        raise RuntimeError(f"the script names no kernel and initrd: {script.decode()!r}")
    for url in urls[:2]:
        await http(address, url)
    mark("done")
    return marks


async def storm(count: int, spread: float, own: str, server: str) -> dict[str, object]:
    """All clients, evenly begun within `spread` seconds."""
    relay = Relay(own, server)

    async def one(number: int) -> dict[str, float] | str:
        await asyncio.sleep(spread * number / count)
        mac = MacAddress(bytes.fromhex("52540099") + number.to_bytes(2))
        try:
            return await boot(relay, server, mac, number)
        except (TimeoutError, OSError, RuntimeError) as error:
            return f"{type(error).__name__}: {error}"

    begun = time.monotonic()
    results = await asyncio.gather(*(one(number) for number in range(1, count + 1)))
    return {
        "seconds": time.monotonic() - begun,
        "marks": [result for result in results if isinstance(result, dict)],
        "errors": [result for result in results if isinstance(result, str)],
        "dhcp_retries": relay.retries,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, required=True)
    parser.add_argument("--spread", type=float, default=2.0, help="seconds")
    parser.add_argument("--own", required=True, help="the relay's address")
    parser.add_argument("--server", required=True)
    options = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 8192)), hard))
    result = asyncio.run(storm(options.clients, options.spread, options.own, options.server))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
