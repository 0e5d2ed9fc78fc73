"""The HTTP plane: the catalog's tree, single-use answers, and reports of booted machines."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import PurePosixPath
from typing import Final

from pxe.catalog import Catalog, File, NotFound, ScriptName, Text, is_gone, normalise, script_name
from pxe.errors import DecodeError
from pxe.http.exchange import Ended, Request, Responding, Response, refusal, text
from pxe.http.files import RecentFiles, file_response
from pxe.http.report import decode_report
from pxe.http.scripts import Scripts
from pxe.site import Observation, Outcome, Refusal, Service, Site

ASK_AGAIN_SECONDS: Final = 5
"""What a client is told to wait for what it cannot have now."""

_TOKEN_FOLDERS: Final = frozenset({"answer", "report"})
_NO_FILE: Final = "no such file"
_Handler = Callable[[Request, PurePosixPath], Responding]


class BootApp:
    """All routes.

    One table for every raw path: what firmware sends (`//x`, `%2F`) is normalised by the
    catalog's own rules, and nothing is ever redirected, because UEFI HTTP Boot does not follow.
    """

    def __init__(self, site: Site, catalog: Catalog) -> None:
        self._site = site
        self._catalog = catalog
        self._scripts = Scripts(catalog)
        self._recent = RecentFiles()
        self._routes: Mapping[tuple[str, int], tuple[str, _Handler]] = {
            ("healthz", 1): ("GET HEAD", self._health),
            ("answer", 2): ("GET", self._answer),
            ("report", 2): ("POST", self._report),
        }

    def takes_body(self, request: Request) -> bool:
        """A report has one; what other requests bring is not read."""
        name = normalise(request.path)
        return name is not None and self._route(name) == ("POST", self._report)

    def respond(self, request: Request) -> Responding:
        """The response, or what makes it."""
        if response := self._recent.response(request):
            return response
        name = normalise(request.path)
        if name is None:
            return refusal(404, _NO_FILE, "no such name can be in the tree")
        methods, handler = self._route(name)
        if request.method not in methods.split():
            return refusal(405, f"this path takes {methods} only")
        return handler(request, name)

    def ended(self, ended: Ended) -> None:
        """Tell the site what came of a request."""
        request, response = ended.request, ended.response
        known = self._site.reservation_at(request.peer)
        status = response.status if response else 0
        size = response.size if response and request.method != "HEAD" else 0
        self._site.observe(
            Observation(
                service=Service.HTTP,
                outcome=_outcome(status),
                at=datetime.now(UTC),
                subject=_subject(self._recent.name(request.path) or normalise(request.path)),
                reason=ended.failure or (response.reason if response else ""),
                client=known.client if known else None,
                address=request.peer,
                facts={
                    "method": request.method,
                    "status": status,
                    "bytes": size,
                    "seconds": f"{ended.seconds:.3f}",
                },
            )
        )

    def _route(self, name: PurePosixPath) -> tuple[str, _Handler]:
        parts = name.parts
        return self._routes.get((parts[0], len(parts)), ("GET HEAD", self._serve))

    def _health(self, request: Request, name: PurePosixPath) -> Response:
        return text(200, b"ok\n")

    def _serve(self, request: Request, name: PurePosixPath) -> Responding:
        if script := script_name(name):
            return self._script(request, script)
        try:
            found = self._catalog.common(name)
            if not isinstance(found, File):
                return _text_response(found)
            response = file_response(request, name, found)
        except OSError as error:
            if is_gone(error):
                return refusal(404, _NO_FILE, str(error))
            return _ask_again("this file cannot be read now", str(error))
        self._recent.keep(request.path, name, found)
        return response

    async def _script(self, request: Request, script: ScriptName) -> Response:
        return _text_response(await self._scripts.make(script, request.peer))

    async def _answer(self, request: Request, name: PurePosixPath) -> Response:
        opened = await asyncio.to_thread(
            self._site.answer, name.name, request.peer, encrypted=request.encrypted
        )
        if isinstance(opened, Refusal) and opened.again:
            # 403 would be the end of an installation: machines ask again after 5xx alone.
            return _ask_again("this URL is in use", opened.reason)
        if isinstance(opened, Refusal):
            told_all = "this URL was used, withdrawn, or made for another machine"
            return refusal(403, told_all, opened.reason)
        response = text(200, opened.body, content_type=opened.content_type)
        response.delivered = partial(self._site.answer_delivered, name.name)
        return response

    async def _report(self, request: Request, name: PurePosixPath) -> Response:
        try:
            told = decode_report(request.body)
        except DecodeError as error:
            return refusal(400, str(error))
        if refused := await asyncio.to_thread(self._site.report, name.name, request.peer, told):
            return refusal(403, "this URL is not yours", refused.reason)
        return text(204, b"")


def _ask_again(sentence: str, reason: str) -> Response:
    told = f"{sentence}, ask again\n".encode()
    return text(503, told, f"Retry-After: {ASK_AGAIN_SECONDS}", reason=reason)


def _text_response(made: Text | NotFound) -> Response:
    if isinstance(made, NotFound):
        return refusal(404, _NO_FILE, made.reason)
    return text(200, made.body, content_type=made.content_type)


def _subject(name: PurePosixPath | None) -> str:
    """The path without its token; a name that could hide one is not shown at all."""
    if name is None:
        return "…"
    for index, part in enumerate(name.parts):
        if part.lower() in _TOKEN_FOLDERS:
            return f"/{PurePosixPath(*name.parts[: index + 1])}/…"
    return f"/{name}"


def _outcome(status: int) -> Outcome:
    """0 stands for a response that was not sent whole."""
    if status in range(200, 400):
        return Outcome.SERVED
    refused = status in range(400, 500) or status == 503
    return Outcome.REFUSED if refused else Outcome.FAILED
