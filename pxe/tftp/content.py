"""What a file name can stand for, and the program around the server that knows it."""

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import BinaryIO, Protocol

from pxe.site import Observation


@dataclass(frozen=True, slots=True)
class FileContent:
    """A regular file; whoever resolved the name answers for its lying in an allowed folder."""

    path: Path
    opener: Callable[[], BinaryIO] | None = None
    """Opens exactly the file that was resolved, or raises OSError; None: what lies at `path`."""


@dataclass(frozen=True, slots=True)
class BytesContent:
    """Something rendered for this client."""

    data: bytes


@dataclass(frozen=True, slots=True)
class NoContent:
    """There is no such name."""

    reason: str


Content = FileContent | BytesContent | NoContent


class Resolver(Protocol):
    """Finds the content of a name, as `decode_request` spells it, for the client at `peer`.

    Called in the server's loop: all transfers wait while it works.
    """

    def __call__(self, name: str, peer: IPv4Address) -> Content: ...


Observe = Callable[[Observation], None]
