"""How far a long piece of work has come, told to whoever looks on."""

from collections.abc import Collection, Iterable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Progress(Protocol):
    """Hands on the items of a piece of work and tells of each that is taken."""

    def __call__(self, what: str, items: Collection[T], /) -> Iterable[T]:
        """The same items, in their order."""


def unseen(_: str, items: Collection[T], /) -> Iterable[T]:
    """Progress that nobody looks at."""
    return items
