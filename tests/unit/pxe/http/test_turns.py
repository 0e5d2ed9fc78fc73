import asyncio

import pytest

from pxe.http import turns
from pxe.http.turns import SMALL, Turns

BIG = SMALL + 1


async def transfer(order: Turns, name: str, told: list[str], ends: asyncio.Event) -> None:
    async with order.take(name, BIG):
        told.append(name)
        await ends.wait()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0.001)


def test_big_transfers_begin_in_the_order_in_which_they_came() -> None:
    async def story() -> None:
        order, told = Turns(at_once=1), list[str]()
        ends = {name: asyncio.Event() for name in "abc"}
        tasks = [asyncio.create_task(transfer(order, name, told, ends[name])) for name in "abc"]
        await settle()
        assert told == ["a"]
        ends["a"].set()
        await settle()
        assert told == ["a", "b"]
        ends["b"].set()
        ends["c"].set()
        await asyncio.gather(*tasks)
        assert told == ["a", "b", "c"]

    asyncio.run(story())


def test_a_small_transfer_waits_for_nobody() -> None:
    async def story() -> None:
        order = Turns(at_once=1)
        async with order.take("a", BIG), asyncio.timeout(0.1), order.take("b", SMALL):
            pass

    asyncio.run(story())


def test_a_stalled_transfer_holds_others_up_for_its_turn_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(turns, "TURN_LIMIT", 0.01)

    async def story() -> None:
        order = Turns(at_once=1)
        async with order.take("a", BIG), asyncio.timeout(1), order.take("b", BIG):
            pass
        # Its place was given back once, not twice.
        async with order.take("c", BIG):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.005), order.take("d", BIG):
                    pass

    asyncio.run(story())


def test_a_transfer_begins_in_the_end_whatever_the_others_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(turns, "WAIT_LIMIT", 0.01)

    async def story() -> None:
        order = Turns(at_once=1)
        async with order.take("a", BIG), asyncio.timeout(0.5), order.take("b", BIG):
            pass

    asyncio.run(story())


def test_a_client_that_goes_away_leaves_the_queue() -> None:
    async def story() -> None:
        order, told, ends = Turns(at_once=1), list[str](), asyncio.Event()
        first = asyncio.create_task(transfer(order, "first", told, ends))
        gone = asyncio.create_task(transfer(order, "gone", told, ends))
        last = asyncio.create_task(transfer(order, "last", told, ends))
        await settle()
        gone.cancel()
        ends.set()
        await asyncio.gather(first, last)
        assert told == ["first", "last"]

    asyncio.run(story())


def test_a_machine_that_began_goes_on_before_the_next_begins() -> None:
    async def story() -> None:
        order, told = Turns(at_once=1), list[str]()

        async def boot(peer: str) -> None:
            for part in ("kernel", "initrd"):
                async with order.take(peer, BIG):
                    told.append(f"{peer} {part}")
                    await asyncio.sleep(0.002)

        await asyncio.gather(*(boot(peer) for peer in "abc"))
        # b was already waiting when a's kernel ended: a goes on before c.
        assert told == ["a kernel", "b kernel", "a initrd", "b initrd", "c kernel", "c initrd"]

    asyncio.run(story())


def test_a_place_that_is_given_to_a_client_that_just_went_away_is_not_lost() -> None:
    async def story() -> None:
        order, told, ends = Turns(at_once=1), list[str](), asyncio.Event()
        first = asyncio.create_task(transfer(order, "first", told, ends))
        gone = asyncio.create_task(transfer(order, "gone", told, ends))
        await settle()
        ends.set()
        await first
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        async with asyncio.timeout(1), order.take("next", BIG):
            pass

    asyncio.run(story())
