"""Requests that get an ERROR: what the client is told, what the log is told, and how often."""

import errno
import resource

from pxe.tftp.wire import ErrorCode

TOO_MANY = "too many transfers, try again later"
EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
DESCRIPTORS_SPARE = 64
"""File descriptors beside those of transfers: the store, the log, what resolves names."""


class Refused(Exception):
    """A request that gets an ERROR instead of a transfer."""

    def __init__(self, code: ErrorCode, reason: str, told: str | None = None) -> None:
        """`reason` is for the operator; `told`, where it differs, for the client."""
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.told = reason if told is None else told


def refusal(error: OSError, code: ErrorCode, told: str) -> Refused:
    """What a request gets that met `error`: errors name files, so the client is told `told`."""
    if error.errno in EXHAUSTED:
        return Refused(ErrorCode.UNDEFINED, f"{TOO_MANY}: {error.strerror}", TOO_MANY)
    if isinstance(error, FileNotFoundError):
        return Refused(ErrorCode.NOT_FOUND, str(error), "no such file")
    return Refused(code, f"{told}: {error.strerror or error}", told)


class Pace:
    """Lets `burst` through in each `period` seconds and counts the others."""

    __slots__ = ("_burst", "_left", "_period", "_since", "skipped")

    def __init__(self, burst: int, period: float) -> None:
        self._burst = self._left = burst
        self._period = period
        self._since = 0.0
        self.skipped = 0
        """Refused since this was last set to 0."""

    def admits(self, now: float) -> bool:
        if now - self._since >= self._period:
            self._since, self._left = now, self._burst
        if self._left:
            self._left -= 1
            return True
        self.skipped += 1
        return False


def allow_descriptors(transfers: int) -> None:
    """Raise this process's soft limit so that `transfers` fit, as far as the hard limit goes.

    Each transfer has a socket, and a file where it is streamed.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * transfers + DESCRIPTORS_SPARE
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
