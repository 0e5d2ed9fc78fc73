"""The order of big transfers: first come, first served, instead of everybody late together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

AT_ONCE: Final = 16
"""Transfers of one process that run together: enough to fill 10 Gbit/s with clients of 1 Gbit/s."""
TURN_LIMIT: Final = 1.0
"""Seconds after which a transfer, which then is slow by itself, no longer holds others up."""
WAIT_LIMIT: Final = 5.0
"""Seconds after which a transfer begins whatever the others do."""
NEXT_LIMIT: Final = 0.05
"""Seconds that a place is kept for the same machine: after its kernel it wants its initrd."""
SMALL: Final = 1 << 20
"""Bytes up to which a transfer waits for nobody."""


class Turns:
    """Bounds how many machines share the server, so that the first ones end early.

    When 500 machines boot at once, sharing everything evenly would let all of them end last.
    A slow or stalled client holds its place for `TURN_LIMIT` only.
    """

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._places = asyncio.Semaphore(at_once)
        self._kept: dict[str, asyncio.TimerHandle] = {}

    @asynccontextmanager
    async def take(self, peer: str, size: int) -> AsyncIterator[None]:
        """Wait for the turn of `size` bytes for a peer, which lasts as long as the block."""
        if size <= SMALL or not await self._came(peer):
            yield
            return
        held = True

        def give_early() -> None:
            nonlocal held
            held = False
            self._places.release()

        early = asyncio.get_running_loop().call_later(TURN_LIMIT, give_early)
        try:
            yield
        finally:
            early.cancel()
            if held:
                self._keep(peer)

    async def _came(self, peer: str) -> bool:
        """Wait for a place; False when it took too long."""
        if kept := self._kept.pop(peer, None):
            kept.cancel()
            return True
        try:
            async with asyncio.timeout(WAIT_LIMIT):
                return await self._places.acquire()
        except TimeoutError:
            return False

    def _keep(self, peer: str) -> None:
        if peer in self._kept:
            self._places.release()
        else:
            loop = asyncio.get_running_loop()
            self._kept[peer] = loop.call_later(NEXT_LIMIT, self._leave, peer)

    def _leave(self, peer: str) -> None:
        del self._kept[peer]
        self._places.release()
