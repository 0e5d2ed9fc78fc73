import re
import weakref
from pathlib import Path

import pxe.ramdisk
from pxe.http.turns import (
    AHEAD,
    HOLD_LIMIT,
    QUICK,
    SIP_EVERY,
    SMALL,
    TURN_LIMIT,
    WAIT_LIMIT,
    Turn,
    Turns,
)

BIG = SMALL + 1
NOW = 1000.0


def asked(order: Turns, name: str, told: list[str], size: int = BIG, now: float = NOW) -> Turn:
    """A turn for a peer of this name, which is added to `told` as soon as it may begin."""
    turn = order.take(name, size, now)
    turn.begin = lambda: told.append(name)
    if turn.begun:
        turn.begin()
    return turn


def test_big_transfers_begin_in_the_order_in_which_they_came() -> None:
    order, told = Turns(at_once=1), list[str]()
    turns = {name: asked(order, name, told) for name in "abc"}
    assert told == ["a"]
    order.give(turns["a"], NOW)
    assert told == ["a", "b"]
    order.give(turns["b"], NOW)
    assert told == ["a", "b", "c"]


def test_a_small_transfer_waits_for_nobody_and_keeps_nobody_waiting() -> None:
    order, told = Turns(at_once=1), list[str]()
    asked(order, "big", told)
    small = asked(order, "small", told, SMALL)
    assert told == ["big", "small"]
    order.give(small, NOW)
    asked(order, "next", told)
    assert told == ["big", "small"]


def test_a_stalled_transfer_holds_others_up_for_its_turn_only() -> None:
    order, told = Turns(at_once=1), list[str]()
    stalled = asked(order, "stalled", told)
    asked(order, "next", told)
    order.look(NOW + TURN_LIMIT - 0.01)
    assert told == ["stalled"]
    order.look(NOW + TURN_LIMIT)
    assert told == ["stalled", "next"]
    # Its place was given back once, not twice.
    order.give(stalled, NOW + TURN_LIMIT)
    asked(order, "last", told, now=NOW + TURN_LIMIT)
    assert told == ["stalled", "next"]


def test_a_quick_transfer_keeps_its_place_as_long_as_it_is_quick() -> None:
    order, told = Turns(at_once=1), list[str]()
    quick = asked(order, "quick", told)
    sent = 0
    quick.sent = lambda: sent
    asked(order, "next", told)
    for number in range(1, 11):
        sent += round(QUICK * TURN_LIMIT) + 1
        order.look(NOW + number * TURN_LIMIT)
    assert told == ["quick"]
    sent += round(QUICK * TURN_LIMIT) - 1
    order.look(NOW + 11 * TURN_LIMIT)
    assert told == ["quick", "next"]


def test_a_quick_transfer_without_end_leaves_its_place_to_others() -> None:
    order, told = Turns(at_once=1), list[str]()
    endless, now = asked(order, "endless", told), NOW
    endless.sent = lambda: round((now - NOW) * 2 * QUICK)
    endless.yielded = lambda: told.append("yielded")
    asked(order, "next", told)
    while now < NOW + HOLD_LIMIT - TURN_LIMIT:
        now += TURN_LIMIT
        order.look(now)
    assert told == ["endless"]
    now += TURN_LIMIT
    order.look(now)
    assert told == ["endless", "yielded", "next"]
    assert endless.begun


def test_the_kernel_takes_more_ahead_of_those_that_hold_a_place_only() -> None:
    order, told = Turns(at_once=1), list[str]()
    small = asked(order, "small", told, SMALL)
    turns = [asked(order, name, told) for name in "ab"]
    assert [turn.ahead for turn in (small, *turns)] == [0, AHEAD, 0]
    order.look(NOW + TURN_LIMIT)
    assert [turn.ahead for turn in turns] == [0, AHEAD]


def test_who_waits_sips_now_and_then_until_its_turn_has_come() -> None:
    order, told = Turns(at_once=1), list[str]()
    first = asked(order, "first", told)
    sips = list[float]()
    waiting = asked(order, "waiting", told)
    now = NOW
    waiting.sip = lambda: sips.append(now)
    first.sent = lambda: round((now - NOW) * 2 * QUICK)
    while now < NOW + SIP_EVERY + 0.5:
        now += 0.25
        order.look(now)
    assert sips == [NOW + SIP_EVERY]
    order.give(first, now)
    now += 2 * SIP_EVERY
    order.look(now)
    assert len(sips) == 1


def test_a_client_that_leaves_while_it_sips_is_forgotten() -> None:
    order, told = Turns(at_once=0), list[str]()
    leaving, staying = (asked(order, name, told) for name in ("leaving", "staying"))
    leaving.sip = lambda: order.give(leaving, NOW)
    staying.sip = lambda: told.append("sip")
    for number in (1, 2):
        order.look(NOW + number * SIP_EVERY)
    assert told == ["sip", "sip"]


def test_a_transfer_begins_in_the_end_whatever_the_others_do() -> None:
    order, told = Turns(at_once=1), list[str]()
    asked(order, "first", told)
    for number in range(50):  # each of them holds the place for its turn
        asked(order, f"{number}", told)
    order.look(NOW + WAIT_LIMIT)
    assert len(told) == 51


def test_a_client_that_goes_away_leaves_the_queue() -> None:
    order, told = Turns(at_once=1), list[str]()
    first = asked(order, "first", told)
    gone = asked(order, "gone", told)
    asked(order, "last", told)
    order.give(gone, NOW)
    assert told == ["first"]
    order.give(first, NOW)
    assert told == ["first", "last"]


def test_a_machine_that_began_goes_on_before_the_next_begins() -> None:
    order, told = Turns(at_once=1), list[str]()
    kernels = {name: asked(order, name, told) for name in "abc"}
    order.give(kernels["a"], NOW)
    initrd = asked(order, "a", told)
    order.give(kernels["b"], NOW)
    # c has been waiting for longer: a's initrd goes first all the same.
    assert told == ["a", "b", "a"]
    order.give(initrd, NOW)
    assert told == ["a", "b", "a", "c"]


def test_a_machine_goes_first_once_only() -> None:
    order, told = Turns(at_once=1), list[str]()
    turns = [asked(order, name, told) for name in ("a", "b")]
    again = [asked(order, "a", told) for _ in range(2)]
    order.give(turns[0], NOW)
    order.give(again[0], NOW)
    order.give(turns[1], NOW)
    assert told == ["a", "a", "b", "a"]


def test_a_place_is_free_again_after_everybody_left() -> None:
    order, told = Turns(at_once=2), list[str]()
    turns = [asked(order, name, told) for name in "abcd"]
    for turn in reversed(turns):
        order.give(turn, NOW)
    told.clear()
    for name in "xyz":
        asked(order, name, told)
    assert told == ["x", "y"]


def test_nothing_is_kept_of_a_client_that_went_away() -> None:
    class Client:
        def begin(self) -> None:
            """Send something."""

    order, client = Turns(at_once=0), Client()
    turn = order.take("client", BIG, NOW)
    turn.begin = client.begin
    kept = weakref.ref(client)
    order.give(turn, NOW)
    del client
    assert kept() is None


def test_the_ramdisk_waits_for_its_image_longer_than_for_its_turn() -> None:
    script = Path(pxe.ramdisk.__path__[0], "scripts/image.sh").read_text()
    (limit,) = re.findall(r'"\$idle" -ge (\d+)', script)
    assert int(limit) > WAIT_LIMIT + 35, "Linux writes what is older than 30 seconds, every 5"
