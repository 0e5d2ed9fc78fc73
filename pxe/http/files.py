"""Responses that are files, and the few files that every machine of a rack asks for."""

import time
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Final, NamedTuple

from pxe.catalog import File
from pxe.http.exchange import Request, Response
from pxe.http.select import content_type, entity_tag, select

KEPT_SECONDS: Final = 1.0
"""How long a path leads to the same file, while that is there unchanged; it is looked at whenever
it is opened, so that only HEAD and 304 may be late by this."""
KEPT: Final = 256
"""Paths remembered at most."""


def file_response(request: Request, name: PurePosixPath, file: File) -> Response:
    """The part of a file that the request's headers select. Raises OSError as `File.open`."""
    bare = request.method == "HEAD"
    selection = select(file, request.headers, head=bare)
    fields = [f"ETag: {entity_tag(file)}", "Accept-Ranges: bytes"]
    if content_range := selection.content_range(file.size):
        fields.append(f"Content-Range: {content_range}")
    if selection.status != 304:
        kind = content_type(name, request.headers.get("User-Agent", ""))
        fields += [f"Content-Type: {kind}", f"Content-Length: {selection.length}"]
    response = Response(selection.status, fields=tuple(fields))
    if selection.length and not bare:
        response.file = file.open()
        response.offset, response.length = selection.offset, selection.length
    return response


class _Found(NamedTuple):
    name: PurePosixPath
    file: File
    until: float


class RecentFiles:
    """Spares looking for a file again that was found a moment ago: most of what a request costs."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._found: dict[str, _Found] = {}

    def keep(self, path: str, name: PurePosixPath, file: File) -> None:
        """A path, as it was asked for, led to a file."""
        if len(self._found) >= KEPT:
            self._found.clear()
        self._found[path] = _Found(name, file, self._clock() + KEPT_SECONDS)

    def name(self, path: str) -> PurePosixPath | None:
        """What a remembered path means."""
        found = self._found.get(path)
        return found.name if found else None

    def response(self, request: Request) -> Response | None:
        """The response for a path that is remembered, where the file is still the same."""
        found = self._found.get(request.path)
        if found is None or request.method not in ("GET", "HEAD") or found.until < self._clock():
            return None
        try:
            return file_response(request, found.name, found.file)
        except OSError:  # it was changed: look again
            return None
