"""Why an image cannot be read."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imagebuild.errors import BadInput


class Unreadable(BadInput):
    """The file is no image that we can read, or one on which nobody should rely; says why."""


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Every error says which file it is about, also one from deep within while it is looked at."""
    try:
        yield
    except Unreadable as error:
        if str(path) in str(error):
            raise
        named = Unreadable(f"{path}: {error}")
        for note in getattr(error, "__notes__", ()):
            named.add_note(note)
        raise named from error
