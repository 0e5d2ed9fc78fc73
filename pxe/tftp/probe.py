"""The server's look at itself: fetch a file over the wire with a client that is not ours."""

import hashlib
import io
import logging
from dataclasses import dataclass
from ipaddress import IPv4Address

from tftpy import TftpClient, TftpException

from pxe.errors import PxeError


class ProbeFailed(PxeError):
    """The server did not give what it should; the message says how the client saw it."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What arrived."""

    size: int
    """Octets."""
    sha256: str


class _Sink(io.RawIOBase):
    """Counts and digests instead of keeping."""

    def __init__(self) -> None:
        self.size = 0
        self.digest = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes, /) -> int:  # type: ignore[override]
        self.size += len(data)
        self.digest.update(data)
        return len(data)

    def close(self) -> None:
        """tftpy closes what it wrote; there is nothing to close."""


def probe(address: IPv4Address, port: int, name: str, timeout: float = 2.0) -> Fetched:
    """Fetch `name`; blocks for some `timeout` seconds (rounded up) when nobody answers.

    Raises ProbeFailed.
    """
    logging.getLogger("tftpy").setLevel(logging.CRITICAL)  # it tells of every single block
    sink = _Sink()
    client = TftpClient(str(address), port, options={"blksize": 1428, "tsize": 0})
    try:
        client.download(name, sink, timeout=max(1, round(timeout)), retries=2)
    except (TftpException, OSError) as error:
        raise ProbeFailed(f"{name} from {address} port {port}: {error}") from error
    return Fetched(sink.size, sink.digest.hexdigest())
