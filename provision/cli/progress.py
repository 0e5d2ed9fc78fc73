"""A bar on the terminal for work that takes a while; nothing where nobody would see it."""

import sys
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

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
