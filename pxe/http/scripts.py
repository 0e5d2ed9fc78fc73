"""Boot scripts for many machines at once: those asked for meanwhile are made in one go."""

import asyncio
import time
from ipaddress import IPv4Address
from typing import Final

from pxe.catalog import Catalog, NotFound, ScriptName, Text

TOGETHER: Final = 64
"""Scripts made in one go, at most: as many as are made in about 20 ms."""

APART: Final = 0.05
"""Seconds from one go to the next at most: nothing to a machine, and under load four fifths of a
script's cost."""
REST: Final = 4
"""How many times as long as a go took the next one waits, up to that: where few machines ask,
nobody need wait for others to come."""


class Scripts:
    """Makes scripts in a thread, as the site may have to ask a database.

    What a thread and a transaction cost does not grow with the number of scripts. The first one
    is made at once, those that come soon after it follow together.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._asked: list[tuple[ScriptName, IPv4Address, asyncio.Future[Text | NotFound]]] = []
        self._making: asyncio.Task[None] | None = None

    async def make(self, script: ScriptName, peer: IPv4Address) -> Text | NotFound:
        """The script for `peer`; raises whatever the site raised."""
        made: asyncio.Future[Text | NotFound] = asyncio.get_running_loop().create_future()
        self._asked.append((script, peer, made))
        if self._making is None:
            self._making = asyncio.create_task(self._make_all())
        return await made

    async def _make_all(self) -> None:
        try:
            while self._asked:
                now, self._asked = self._asked[:TOGETHER], self._asked[TOGETHER:]
                began = time.monotonic()
                await self._make(now)
                await asyncio.sleep(min(REST * (time.monotonic() - began), APART))
        finally:
            self._making = None

    async def _make(
        self, asked: list[tuple[ScriptName, IPv4Address, asyncio.Future[Text | NotFound]]]
    ) -> None:
        try:
            scripts = await asyncio.to_thread(
                self._catalog.scripts, [(script, peer) for script, peer, _ in asked]
            )
        except Exception as error:  # noqa: BLE001 - told to each of them
            for _, _, made in asked:
                if not made.done():  # its client went away
                    made.set_exception(error)
            return
        for (_, _, made), script in zip(asked, scripts, strict=True):
            if not made.done():
                made.set_result(script)
