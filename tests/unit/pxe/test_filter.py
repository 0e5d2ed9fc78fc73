"""What the kernel lets through to the DHCP server, with the real kernel on the loopback."""

import socket
from dataclasses import replace

import pytest

from pxe.addresses import MacAddress
from pxe.dhcp import options
from pxe.dhcp.filter import REQUESTS, Check, attach, program
from pxe.dhcp.message import Message
from pxe.dhcp.options import MessageType

CLIENT = MacAddress.parse("02:00:00:00:00:42")
REQUEST = Message(1, 7, CLIENT, options={options.MESSAGE_TYPE: bytes((MessageType.DISCOVER,))})
WHOLE = REQUEST.encode()
SHORT = WHOLE[:243]


@pytest.fixture
def pair():
    """A filtered socket and one that sends to it."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        attach(receiver, REQUESTS)
        receiver.bind(("127.0.0.1", 0))
        receiver.setblocking(False)
        sender.connect(receiver.getsockname())
        yield receiver, sender


def with_octet(offset: int, value: int) -> bytes:
    return WHOLE[:offset] + bytes((value,)) + WHOLE[offset + 1 :]


@pytest.mark.parametrize("data", [WHOLE, SHORT, WHOLE + bytes(1000)], ids=len)
def test_requests_pass(pair, data):
    receiver, sender = pair
    sender.send(data)
    assert receiver.recv(4096) == data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x",
        WHOLE[:242],
        bytes(1400),
        with_octet(0, 2),
        with_octet(1, 6),
        with_octet(2, 16),
        with_octet(28, 0x03),
        with_octet(236, 0),
        with_octet(239, 0),
        replace(REQUEST, op=2).encode(),
    ],
)
def test_all_else_is_dropped(pair, data):
    receiver, sender = pair
    sender.send(data)
    with pytest.raises(BlockingIOError):
        receiver.recv(4096)


def test_the_kernel_refuses_no_program_of_ours_and_a_failed_check_goes_to_the_end():
    code = program((Check(0x30, 0, 0x15, 1), Check(0x30, 1, 0x15, 2, not_=True)))
    jumps = [tuple(code[at + 2 : at + 4]) for at in range(0, len(code), 8)]
    assert jumps == [(0, 0), (0, 3), (0, 0), (1, 0), (0, 0), (0, 0)]
