"""Who is answered first, and who is not answered at all, when more ask than can be answered."""

from pxe.dhcp import options as o
from pxe.dhcp.options import MessageType
from pxe.dhcp.reply import Arrival
from pxe.dhcp.waiting import MOST, MOST_BEGINNERS, Waiting
from tests.unit.pxe.dhcp.asking import ask

DISCOVER, REQUEST, RELEASE = MessageType.DISCOVER, MessageType.REQUEST, MessageType.RELEASE
HERE = Arrival()


def datagrams(*types: MessageType) -> list[tuple[bytes, Arrival]]:
    return [(ask(type, requested=f"10.20.3.{n}").encode(), HERE) for n, type in enumerate(types)]


def test_what_finishes_an_exchange_goes_first_and_order_stays_otherwise() -> None:
    first, second, third, fourth = arrived = datagrams(DISCOVER, REQUEST, DISCOVER, RELEASE)
    waiting = Waiting()
    waiting.put(arrived)
    assert waiting.take(3) == [second, fourth, first]
    assert waiting.take(3) == [third]
    assert not waiting


def test_garbage_and_bootp_wait_for_nobody() -> None:
    garbage = [(b"", HERE), (bytes(300), HERE), (ask(None).encode(), HERE)]
    waiting = Waiting()
    waiting.put([*datagrams(DISCOVER), *garbage])
    assert waiting.take(3) == garbage


def test_a_discover_is_known_by_its_first_option_alone() -> None:
    hidden = ask(None, {o.CLIENT_IDENTIFIER: b"\x01abc", o.MESSAGE_TYPE: bytes((DISCOVER,))})
    waiting = Waiting()
    waiting.put([*datagrams(DISCOVER), (hidden.encode(), HERE)])
    assert waiting.take(1) == [(hidden.encode(), HERE)]


def test_beginners_that_find_no_room_are_counted_once() -> None:
    waiting = Waiting()
    waiting.put(datagrams(DISCOVER) * (MOST_BEGINNERS + 3))
    assert len(waiting) == MOST_BEGINNERS
    assert waiting.room == MOST - MOST_BEGINNERS
    assert (waiting.take_dropped(), waiting.take_dropped()) == (3, 0)
