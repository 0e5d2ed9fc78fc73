"""The order of big transfers: first come, first served, instead of everybody late together."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

AT_ONCE: Final = 16
"""Transfers of one process that run together: enough to fill 10 Gbit/s with clients of 1 Gbit/s."""
TURN_LIMIT: Final = 1.0
"""Seconds after which a transfer, which then is slow by itself, no longer holds others up."""
WAIT_LIMIT: Final = 5.0
"""Seconds after which a transfer begins whatever the others do."""
BEGUN_LIMIT: Final = 4096
"""Machines remembered that had their kernel and are to get their initrd next."""
SMALL: Final = 1 << 20
"""Bytes up to which a transfer waits for nobody."""


class Turns:
    """Bounds how many machines share the server, so that the first ones end early.

    When 500 machines boot at once, sharing everything evenly would let all of them end last. A
    machine that had one file goes before those that had none: after its kernel it wants its
    initrd. A slow or stalled client holds its place for `TURN_LIMIT` only.
    """

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._free = at_once
        self._begun: dict[str, None] = {}
        """Machines that had one file; a dictionary, to know the oldest."""
        self._first: deque[asyncio.Future[None]] = deque()
        self._later: deque[asyncio.Future[None]] = deque()

    @asynccontextmanager
    async def take(self, peer: str, size: int) -> AsyncIterator[None]:
        """Wait for the turn of `size` bytes for a peer, which lasts as long as the block."""
        if size <= SMALL or not await self._came(first=self._has_begun(peer)):
            yield
            return
        held = True

        def give_early() -> None:
            nonlocal held
            held = False
            self._give()

        early = asyncio.get_running_loop().call_later(TURN_LIMIT, give_early)
        try:
            yield
        finally:
            early.cancel()
            if held:
                self._give()

    def _has_begun(self, peer: str) -> bool:
        """Whether this is a machine's second file, which alone goes first."""
        if peer in self._begun:
            del self._begun[peer]
            return True
        self._begun[peer] = None
        if len(self._begun) > BEGUN_LIMIT:
            del self._begun[next(iter(self._begun))]
        return False

    async def _came(self, *, first: bool) -> bool:
        """Wait for a place; False when it took too long."""
        if self._free:
            self._free -= 1
            return True
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        (self._first if first else self._later).append(place)
        try:
            async with asyncio.timeout(WAIT_LIMIT):
                await place
        except BaseException as error:
            if not place.cancelled():  # it was given to us in the same moment
                self._give()
            if isinstance(error, TimeoutError):
                return False
            raise
        return True

    def _give(self) -> None:
        for waiting in (self._first, self._later):
            while waiting:
                place = waiting.popleft()
                if not place.done():  # its client went away
                    place.set_result(None)
                    return
        self._free += 1
