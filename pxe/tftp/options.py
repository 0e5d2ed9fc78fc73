"""Which of the options that a client asked for it gets (RFC 2347, 2348, 2349, 7440)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from pxe.tftp.wire import ReadRequest

BLKSIZE_DEFAULT = 512
"""Octets in a block when nobody asks (RFC 1350, section 2)."""
BLKSIZE_MIN, BLKSIZE_MAX = 8, 65464
"""RFC 2348, page 2."""
TIMEOUT_MIN, TIMEOUT_MAX = 1, 255
"""Seconds (RFC 2349, page 2)."""
WINDOWSIZE_MIN, WINDOWSIZE_MAX = 1, 65535
"""Blocks (RFC 7440, section 3)."""
HEADERS = 20 + 8 + 4
"""Octets of IPv4, UDP and TFTP headers in front of a block."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What this server grants at most on this path."""

    blksize: int = 1468
    """The block that fits an Ethernet frame; firmware seldom puts fragments together."""
    windowsize: int = 64


@dataclass(frozen=True, slots=True)
class Parameters:
    """What holds for one transfer."""

    blksize: int = BLKSIZE_DEFAULT
    windowsize: int = 1
    timeout: int | None = None
    """Seconds before a retransmission; None: the server measures."""


def bounds_for(bounds: Bounds, mtu: int) -> Bounds:
    """`bounds` for a path that carries packets of `mtu` octets."""
    return replace(bounds, blksize=min(bounds.blksize, max(mtu - HEADERS, BLKSIZE_MIN)))


def negotiate(
    request: ReadRequest,
    size: int,
    bounds: Bounds = Bounds(),
) -> tuple[Parameters, Mapping[str, str]]:
    """The parameters of a transfer of `size` octets, and the options to acknowledge.

    An option that is unknown or has an impossible value is left out of the answer, as RFC 2347
    wants; the client then goes on without it. Names are answered in the client's spelling.
    """
    parameters = Parameters()
    accepted: dict[str, str] = {}
    for name, text in request.options:
        rule = _RULES.get(name.lower())
        value = _number(text)
        if rule is None or value is None:
            continue
        changed = rule(parameters, value, size, bounds)
        if changed is not None:
            parameters, granted = changed
            accepted[name] = str(granted)
    return parameters, accepted


_Granted = tuple[Parameters, int] | None
_Rule = Callable[[Parameters, int, int, Bounds], _Granted]


def _blksize(parameters: Parameters, asked: int, size: int, bounds: Bounds) -> _Granted:
    if asked < BLKSIZE_MIN:
        return None
    # Above the limit (tftpy asks for 65536) the client still means "the most you can".
    granted = min(asked, bounds.blksize, BLKSIZE_MAX)
    return replace(parameters, blksize=granted), granted


def _windowsize(parameters: Parameters, asked: int, size: int, bounds: Bounds) -> _Granted:
    if not WINDOWSIZE_MIN <= asked <= WINDOWSIZE_MAX:
        return None
    granted = min(asked, bounds.windowsize)
    return replace(parameters, windowsize=granted), granted


def _timeout(parameters: Parameters, asked: int, size: int, bounds: Bounds) -> _Granted:
    if not TIMEOUT_MIN <= asked <= TIMEOUT_MAX:
        return None
    return replace(parameters, timeout=asked), asked


def _tsize(parameters: Parameters, asked: int, size: int, bounds: Bounds) -> _Granted:
    return parameters, size


_RULES: Mapping[str, _Rule] = {
    "blksize": _blksize,
    "windowsize": _windowsize,
    "timeout": _timeout,
    "tsize": _tsize,
}


def _number(text: str) -> int | None:
    """Plain decimal digits only: int() would also take `+1`, ` 1` and `1_0`."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else None
