"""A bar on the terminal for work that takes a while; nothing where nobody would see it."""

import logging
import sys
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import TextIO, TypeGuard, TypeVar

from rich.console import Console

from provision.progress import Progress, unseen

T = TypeVar("T")


@contextmanager
def shown() -> Iterator[Progress]:
    """Progress as one bar on standard error, gone at the end; unseen when that is no terminal."""
    if not sys.stderr.isatty():
        yield unseen
        return
    from rich import progress  # keeps --help fast

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
    )
    made = progress.Progress(
        *columns, console=Console(stderr=True), transient=True, redirect_stdout=False
    )
    with made as bar:

        def tell(what: str, items: Collection[T], /) -> Iterable[T]:
            return bar.track(items, description=what)

        yield tell


@contextmanager
def logging_above() -> Iterator[None]:
    """Let what is logged to a terminal come above what is drawn there, instead of into it.

    For use within rich's `Live`, which puts a stream of its own in the place of `sys.stderr`;
    handlers have the one from before.
    """
    handlers = [one for one in logging.getLogger().handlers if _tells_terminal(one)]
    streams = [handler.stream for handler in handlers]
    for handler in handlers:
        handler.setStream(sys.stderr)
    try:
        yield
    finally:
        for handler, stream in zip(handlers, streams, strict=True):
            handler.setStream(stream)


def _tells_terminal(handler: logging.Handler) -> TypeGuard[logging.StreamHandler[TextIO]]:
    return isinstance(handler, logging.StreamHandler) and handler.stream.isatty()
