"""The boot server: what each of its processes runs, from sockets to stop."""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path

from pxe.advertise import Advertiser
from pxe.catalog import Catalog, File, NotFound, Text
from pxe.dhcp.server import DhcpServer
from pxe.errors import InterfaceUnusable
from pxe.http.app import BootApp
from pxe.http.server import ssl_context, start_http
from pxe.link import follow, serving_link
from pxe.neighbours import NeighbourTable
from pxe.settings import Settings
from pxe.site import Site
from pxe.supervise import BEAT_EVERY, Beat, Plane, Ready
from pxe.tftp.content import BytesContent, Content, FileContent, NoContent, Resolver
from pxe.tftp.probe import probe
from pxe.tftp.server import TftpServer

TFTP_PORT = 69
PROBED = "autoexec.ipxe"
"""A name that the catalog gives to every peer: what the server asks of itself."""
TURN_S = 0.001
"""How long a thread that reads or writes the store keeps the interpreter from the one that answers;
in Python's own 5 ms a hundred DHCP packets arrive."""
GARBAGE_THRESHOLD = 10_000
"""New objects between two looks for garbage; a thousand observations wait for their writing."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """Serve HTTPS too, on a port of its own; the same in every process, whenever it starts."""

    chain: bytes
    """In PEM."""
    key: bytes = field(repr=False)
    port: int = 443

    @contextmanager
    def files(self) -> Iterator[tuple[Path, Path]]:
        """Chain and key under names that this process can open, as OpenSSL wants."""
        with _in_memory(self.chain) as chain, _in_memory(self.key) as key:
            yield chain, key


@dataclass(frozen=True, slots=True)
class BootServer:
    """All that a process needs to build its part of the server; it must be picklable."""

    settings: Settings
    open_site: Callable[[str], AbstractContextManager[Site]]
    """Opens the program behind the servers for a plane (`dhcp`, `tftp`, `http`)."""
    programs: Mapping[str, Path]
    artifacts: Path
    ramdisk: Path | None = None
    certificate: Certificate | None = None
    advertise: bool = True
    """Whether to send IPv6 router advertisements that offer nothing (see pxe/advertise.py)."""
    repositories: Mapping[str, Path] = field(default_factory=dict)
    """Folders of packages by name, for HTTP alone: installed systems do not speak TFTP."""

    def catalog(self, site: Site) -> Catalog:
        """The tree that this server's TFTP and HTTP share."""
        return Catalog(self.programs, self.artifacts, self.ramdisk, site, self.settings)

    def http_catalog(self, site: Site) -> Catalog:
        """The same tree and what HTTP alone serves."""
        return replace(self.catalog(site), repositories=self.repositories)


@contextmanager
def _in_memory(content: bytes) -> Iterator[Path]:
    descriptor = os.memfd_create("pem", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, content)
        yield Path(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def planes(server: BootServer, *, tftp_workers: int = 1, http_workers: int = 1) -> list[Plane]:
    """The processes of a server, DHCP last: it must not promise what nobody serves yet."""
    # Without a discovery pool a second server would not be found by asking for an address.
    claim = f"interface {server.settings.interface}"
    return [
        *(
            Plane(f"http-{n}", partial(serve_http, server), claim, "HTTP")
            for n in range(http_workers)
        ),
        *(
            Plane(f"tftp-{n}", partial(serve_tftp, server), claim, "TFTP")
            for n in range(tftp_workers)
        ),
        Plane("dhcp", partial(serve_dhcp, server), claim, "DHCP"),
    ]


def serve_tftp(server: BootServer, ready: Ready) -> None:
    """One TFTP worker, until SIGTERM."""
    with server.open_site("tftp") as site:
        tftp = tftp_server(server, site)
        signal.signal(signal.SIGTERM, lambda *_: tftp.stop())
        tftp.serve_forever(ready())


def tftp_server(server: BootServer, site: Site) -> TftpServer:
    """A TFTP server that has its port. Raises InterfaceUnusable."""
    address = server.settings.address
    try:
        return TftpServer(address, TFTP_PORT, None, resolver(server.catalog(site)), site.observe)
    except OSError as cause:
        error = InterfaceUnusable(f"TFTP cannot listen on {address}:{TFTP_PORT}: {cause.strerror}")
        error.add_note(f"find it:  ss --udp --listening --processes 'sport = :{TFTP_PORT}'")
        raise error from None


def resolver(catalog: Catalog) -> Resolver:
    """The catalog in the words of the TFTP engine."""

    def resolve(name: str, peer: IPv4Address) -> Content:
        match catalog.resolve(name, peer):
            case File() as file:
                return FileContent(file.path, file.open)
            case Text(body):
                return BytesContent(body)
            case NotFound(reason):
                return NoContent(reason)

    return resolve


def serve_http(server: BootServer, ready: Ready) -> None:
    """One HTTP worker, until SIGTERM."""
    with server.open_site("http") as site:
        asyncio.run(_serve_http(server, site, ready))


async def _serve_http(server: BootServer, site: Site, ready: Ready) -> None:
    stop = _sigterm()
    async with AsyncExitStack() as stack:
        app = BootApp(site, server.http_catalog(site))
        plain = await start_http(app, server.settings, reuse_port=True)
        stack.push_async_callback(plain.stop)
        if certificate := server.certificate:
            with certificate.files() as files:
                tls = ssl_context(*files)
            secure = await start_http(
                BootApp(site, server.http_catalog(site)),
                replace(server.settings, http_port=certificate.port),
                reuse_port=True,
                tls=tls,
            )
            stack.push_async_callback(secure.stop)
        answer_promptly()
        stack.callback(_beating(ready()).cancel)
        await stop.wait()


def answer_promptly() -> None:
    """Set this process up for many short answers; call it once everything is loaded."""
    sys.setswitchinterval(TURN_S)
    gc.collect()
    gc.freeze()  # what is here now stays: no need to look through it again
    gc.set_threshold(GARBAGE_THRESHOLD)


def serve_dhcp(server: BootServer, ready: Ready) -> None:
    """DHCP and router advertisements, following the interface, until SIGTERM."""
    with server.open_site("dhcp") as site:
        asyncio.run(_serve_dhcp(server, site, ready))


async def _serve_dhcp(server: BootServer, site: Site, ready: Ready) -> None:
    settings = server.settings
    stop = _sigterm()
    known = serving_link(settings.interface, settings.address, settings.subnet)
    await asyncio.to_thread(probe, settings.address, TFTP_PORT, PROBED)
    async with AsyncExitStack() as stack:
        neighbours = NeighbourTable()
        stack.callback(neighbours.close)
        dhcp = DhcpServer(settings, site, server.programs, neighbours)
        answer_promptly()
        await dhcp.start()
        stack.push_async_callback(dhcp.stop)
        if server.advertise:
            advertiser = Advertiser(settings.interface)
            await advertiser.start()
            stack.push_async_callback(advertiser.stop)
        following = asyncio.create_task(
            follow(settings.interface, settings.address, dhcp.rebind, known)
        )
        stack.callback(following.cancel)
        stack.callback(_beating(ready()).cancel)
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({following, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if following.done():
            following.result()  # a loss of netlink is an error that the supervisor mends


def _beating(beat: Beat) -> asyncio.Task[None]:
    """Signs of life from this loop, until cancelled."""

    async def go_on() -> None:
        while True:
            beat()
            await asyncio.sleep(BEAT_EVERY)

    return asyncio.create_task(go_on())


def _sigterm() -> asyncio.Event:
    """Set by SIGTERM, which then stays without effect until the process has put all away.

    The loop's own handler would be gone with the loop, before the site has written what it has.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def end(*_: object) -> None:
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(stop.set)

    signal.signal(signal.SIGTERM, end)
    return stop
