"""The order of big transfers: first come, first served, instead of everybody late together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

AT_ONCE: Final = 32
"""Transfers of one process that run together: enough to fill 25 Gbit/s with clients of 1 Gbit/s."""
TURN_LIMIT: Final = 1.0
"""Seconds after which a transfer, which then is slow by itself, no longer holds others up."""
WAIT_LIMIT: Final = 5.0
"""Seconds after which a transfer begins whatever the others do."""
SMALL: Final = 1 << 20
"""Bytes up to which a transfer waits for nobody."""


class Turns:
    """Bounds how many transfers share the machine, so that the first ones end early.

    When 500 machines boot at once, sharing everything evenly would let all of them end last.
    A slow or stalled client keeps its place for `TURN_LIMIT` only.
    """

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._places = asyncio.Semaphore(at_once)

    @asynccontextmanager
    async def take(self, size: int) -> AsyncIterator[None]:
        """Wait for the turn of a transfer of `size` bytes, which lasts as long as the block."""
        if size <= SMALL or not await self._waited():
            yield
            return
        held = True

        def give() -> None:
            nonlocal held
            if held:
                held = False
                self._places.release()

        early = asyncio.get_running_loop().call_later(TURN_LIMIT, give)
        try:
            yield
        finally:
            early.cancel()
            give()

    async def _waited(self) -> bool:
        """False when it took too long."""
        try:
            async with asyncio.timeout(WAIT_LIMIT):
                return await self._places.acquire()
        except TimeoutError:
            return False
