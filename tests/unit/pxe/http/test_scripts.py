"""Scripts that are asked for meanwhile are made in one go, and each peer gets its own."""

import asyncio
import threading
from collections.abc import Sequence
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from pxe.addresses import MacAddress
from pxe.boot import BootTarget, Loader
from pxe.catalog import Catalog, NotFound, ScriptName, Text
from pxe.http.scripts import Scripts
from tests.sites import CLIENT, KERNEL, LOOPBACK, SETTINGS, MemorySite

MINE = ScriptName(Loader.IPXE, CLIENT)
NOBODY = IPv4Address("10.20.0.77")


class SlowSite(MemorySite):
    """Waits until it may go on, and keeps how many were asked for together."""

    def __init__(self) -> None:
        super().__init__(target=KERNEL)
        self.may_go_on = threading.Event()
        self.together: list[int] = []

    def boot_targets(
        self, asked: Sequence[tuple[MacAddress, IPv4Address]], base_url: str
    ) -> Sequence[BootTarget]:
        self.together.append(len(asked))
        assert self.may_go_on.wait(5)
        return super().boot_targets(asked, base_url)


def scripts_of(site: MemorySite) -> Scripts:
    return Scripts(Catalog({}, Path("/nonexistent"), None, site, SETTINGS))


async def test_the_first_is_made_at_once_and_the_rest_together():
    site = SlowSite()
    scripts = scripts_of(site)
    asked = [asyncio.create_task(scripts.make(MINE, LOOPBACK))]
    while not site.together:
        await asyncio.sleep(0.001)
    asked += [asyncio.create_task(scripts.make(MINE, LOOPBACK)) for _ in range(20)]
    stranger = asyncio.create_task(scripts.make(MINE, NOBODY))
    gone = asyncio.create_task(scripts.make(MINE, LOOPBACK))
    await asyncio.sleep(0.01)
    gone.cancel()
    site.may_go_on.set()
    made = await asyncio.gather(*asked)
    assert all(isinstance(script, Text) for script in made)
    assert isinstance(await stranger, NotFound)
    assert site.together == [1, 21]
    assert isinstance(await scripts.make(MINE, LOOPBACK), Text)


async def test_where_few_machines_ask_nobody_waits_long_for_others(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("pxe.http.scripts.APART", 3600)
    scripts = scripts_of(MemorySite(target=KERNEL))
    async with asyncio.timeout(60):
        for _ in range(3):
            assert isinstance(await scripts.make(MINE, LOOPBACK), Text)


async def test_what_the_site_raises_is_told_to_each(monkeypatch: pytest.MonkeyPatch):
    site = MemorySite()
    monkeypatch.setattr(site, "boot_targets", lambda asked, url: 1 / 0)
    scripts = scripts_of(site)
    made = await asyncio.gather(
        *(scripts.make(MINE, LOOPBACK) for _ in range(3)), return_exceptions=True
    )
    assert [type(error) for error in made] == [ZeroDivisionError] * 3
    monkeypatch.undo()
    assert isinstance(await scripts.make(MINE, LOOPBACK), Text)
