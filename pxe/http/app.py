"""The HTTP plane: the catalog's tree, single-use answers, and reports of booted machines."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import AddressValueError, IPv4Address
from pathlib import PurePosixPath
from typing import Final

from aiohttp import web

from pxe.catalog import Catalog, File, NotFound, Text, normalise, script_name
from pxe.errors import DecodeError
from pxe.http.report import BODY_LIMIT, decode_report
from pxe.http.scripts import Scripts
from pxe.http.select import content_type
from pxe.http.transfer import Sent, Undelivered, cut_off, deliver, send_body, send_file
from pxe.http.turns import Turns
from pxe.site import Observation, Outcome, Refusal, Service, Site

log = logging.getLogger(__name__)

BODY_SECONDS: Final = 30.0
"""Seconds that a report's body may take to arrive."""
ASK_AGAIN_SECONDS: Final = 5
"""What a client is told to wait whose answer is on its way to it already."""

_TOKEN_FOLDERS: Final = frozenset({"answer", "report"})


@dataclass(slots=True)
class _Exchange:
    """What came of one request, gathered for its one Observation."""

    request: web.BaseRequest
    peer: IPv4Address | None
    name: PurePosixPath | None
    response: Sent | None = None
    """None until it was sent whole."""
    reason: str = ""

    async def refuse(self, status: int, sentence: str, reason: str = "") -> Sent:
        """Answer with one sentence; `reason` is the fuller truth for the log."""
        self.reason = reason or sentence
        return await send_body(self.request, status, f"{sentence}\n".encode())


App = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
"""What aiohttp's server asks for each request."""
_Handler = Callable[[_Exchange, PurePosixPath, IPv4Address], Awaitable[Sent]]


def make_app(site: Site, catalog: Catalog) -> App:
    """All routes.

    One handler for every raw path: what firmware sends (`//x`, `%2F`) is normalised by the
    catalog's own rules, and nothing is ever redirected, because UEFI HTTP Boot does not follow.
    """
    turns, scripts = Turns(), Scripts(catalog)

    async def health(exchange: _Exchange, name: PurePosixPath, peer: IPv4Address) -> Sent:
        return await send_body(exchange.request, 200, b"ok\n")

    async def answer(exchange: _Exchange, name: PurePosixPath, peer: IPv4Address) -> Sent:
        opened = await asyncio.to_thread(site.answer, name.name, peer)
        if isinstance(opened, Refusal) and opened.again:
            exchange.reason = opened.reason
            # 403 would be the end of an installation: machines ask again after 5xx alone.
            return await send_body(
                exchange.request,
                503,
                b"this URL is in use, ask again\n",
                f"Retry-After: {ASK_AGAIN_SECONDS}",
            )
        if isinstance(opened, Refusal):
            return await exchange.refuse(
                403, "this URL was used, withdrawn, or made for another machine", opened.reason
            )
        response = await deliver(exchange.request, opened.body, opened.content_type)
        await asyncio.to_thread(site.answer_delivered, name.name)
        return response

    async def report(exchange: _Exchange, name: PurePosixPath, peer: IPv4Address) -> Sent:
        try:
            async with asyncio.timeout(BODY_SECONDS):
                told = decode_report(await exchange.request.read())
        except DecodeError as error:
            return await exchange.refuse(400, str(error))
        except web.HTTPRequestEntityTooLarge:
            return await exchange.refuse(413, f"a report has at most {BODY_LIMIT} bytes")
        except TimeoutError:
            return await exchange.refuse(408, "the body did not arrive in time")
        if refusal := await asyncio.to_thread(site.report, name.name, peer, told):
            return await exchange.refuse(403, "this URL is not yours", refusal.reason)
        return await send_body(exchange.request, 204, b"")

    async def serve(exchange: _Exchange, name: PurePosixPath, peer: IPv4Address) -> Sent:
        request = exchange.request
        found: File | Text | NotFound
        if script := script_name(name):
            found = await scripts.make(script, peer)
        else:
            found = catalog.common(name)
        match found:
            case Text():
                return await send_body(request, 200, found.body, content_type=found.content_type)
            case File():
                try:
                    kind = content_type(name, request.headers.get("User-Agent", ""))
                    return await send_file(request, found, kind, turns)
                except OSError as error:
                    return await exchange.refuse(404, "no such file", str(error))
            case NotFound():
                return await exchange.refuse(404, "no such file", found.reason)

    routes: Mapping[tuple[str, int], tuple[str, _Handler]] = {
        ("healthz", 1): ("GET HEAD", health),
        ("answer", 2): ("GET", answer),
        ("report", 2): ("POST", report),
    }

    async def dispatch(exchange: _Exchange) -> Sent:
        if exchange.name is None or exchange.peer is None:
            return await exchange.refuse(404, "no such file", "no such name can be in the tree")
        parts = exchange.name.parts
        methods, handler = routes.get((parts[0], len(parts)), ("GET HEAD", serve))
        if exchange.request.method not in methods.split():
            return await exchange.refuse(405, f"this path takes {methods} only")
        return await handler(exchange, exchange.name, exchange.peer)

    async def observed(request: web.BaseRequest) -> web.StreamResponse:
        exchange = _Exchange(request, _peer(request), normalise(request.rel_url.raw_path))
        began = time.monotonic()
        try:
            exchange.response = await _survived(exchange, dispatch)
        finally:
            site.observe(_observation(exchange, time.monotonic() - began, site))
        if exchange.response is None:
            return Sent(request, 0)  # nothing is left to be sent, the connection was cut off
        return exchange.response

    return observed


async def _survived(
    exchange: _Exchange, dispatch: Callable[[_Exchange], Awaitable[Sent]]
) -> Sent | None:
    """Whatever happens to one request, the server goes on; None: the connection was cut off."""
    request = exchange.request
    try:
        _let_go_on(request)
        return await dispatch(exchange)
    except (Undelivered, ConnectionError, TimeoutError) as error:
        exchange.reason = str(error) or "the client stalled"
    except Exception as error:
        log.exception("request failed path=%s", _subject(exchange.name))
        exchange.reason = f"internal error: {type(error).__name__}"
        if not request.writer.output_size:
            return await send_body(request, 500, b"internal error, see the server's log\n")
    cut_off(request)
    return None


def _let_go_on(request: web.BaseRequest) -> None:
    """Let a client go on that waits for it; other expectations are ignored (RFC 9110, 10.1.1)."""
    if request.headers.get("Expect", "").lower() == "100-continue" and request.transport:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def _peer(request: web.BaseRequest) -> IPv4Address | None:
    try:
        return IPv4Address(request.remote or "")
    except AddressValueError:
        return None


def _subject(name: PurePosixPath | None) -> str:
    """The path without its token; a name that could hide one is not shown at all."""
    if name is None:
        return "…"
    for index, part in enumerate(name.parts):
        if part.lower() in _TOKEN_FOLDERS:
            return f"/{PurePosixPath(*name.parts[: index + 1])}/…"
    return f"/{name}"


def _observation(exchange: _Exchange, seconds: float, site: Site) -> Observation:
    peer, response = exchange.peer, exchange.response
    known = None if peer is None else site.reservation_at(peer)
    status = response.status if response is not None else 0
    size = response.size if response is not None else 0
    return Observation(
        service=Service.HTTP,
        outcome=_outcome(status),
        at=datetime.now(UTC),
        subject=_subject(exchange.name),
        reason=exchange.reason,
        client=known.client if known else None,
        address=peer,
        facts={
            "method": exchange.request.method,
            "status": status,
            "bytes": size,
            "seconds": f"{seconds:.3f}",
        },
    )


def _outcome(status: int) -> Outcome:
    """0 stands for a response that was not sent whole."""
    if status in range(200, 400):
        return Outcome.SERVED
    refused = status in range(400, 500) or status == 503
    return Outcome.REFUSED if refused else Outcome.FAILED
