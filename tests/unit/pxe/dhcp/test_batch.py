"""Batches of datagrams, over the loopback interface."""

import errno
import socket
from collections.abc import Iterator

import pytest

from pxe.dhcp.batch import Batch, name_of, peer_of


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as there,
    ):
        here.bind(("127.0.0.1", 0))
        there.bind(("127.0.0.1", 0))
        yield here, there


def name(of: socket.socket) -> bytes:
    address, port = of.getsockname()
    return name_of(socket.inet_aton(address), port)


def test_datagrams_arrive_whole_in_order_and_with_their_peer(pair):
    here, there = pair
    out, into = Batch(8, 1500), Batch(5, 1500)
    for round in range(3):
        data = [bytes([round, n]) * (700 - 90 * n) for n in range(8)]
        assert out.send(here.fileno(), [(each, name(there)) for each in data]) == [0] * 8
        got = into.receive(there.fileno())
        assert len(got) == 5
        got += into.receive(there.fileno())
        assert got == [(each, name(here)) for each in data]
    assert peer_of(got[0][1]) == (bytes((127, 0, 0, 1)), here.getsockname()[1])
    assert into.receive(there.fileno()) == []


def test_one_that_cannot_leave_keeps_no_other_back(pair):
    here, there = pair
    nobody = name_of(bytes((127, 0, 0, 1)), 0)
    out = [(b"a", nobody), (b"b", name(there)), (b"c", nobody), (b"d", name(there))]
    batch = Batch(4, 100)
    assert batch.send(here.fileno(), out) == [errno.EINVAL, 0, errno.EINVAL, 0]
    assert [data for data, _ in batch.receive(there.fileno())] == [b"b", b"d"]


def test_a_datagram_that_is_too_long_is_cut_to_the_size(pair):
    here, there = pair
    here.sendto(bytes(4000), there.getsockname())
    here.sendto(b"", there.getsockname())
    assert [len(data) for data, _ in Batch(4, 1000).receive(there.fileno())] == [1000, 0]


def test_what_finds_no_room_is_not_sent(pair):
    here, there = pair
    batch = Batch(2, 10)
    with pytest.raises(ValueError, match="11 octets do not fit into 10"):
        batch.send(here.fileno(), [(bytes(11), name(there))])
    with pytest.raises(ValueError, match="3 datagrams do not fit into 2"):
        batch.send(here.fileno(), [(b"", name(there))] * 3)
    assert batch.send(here.fileno(), []) == []
    assert batch.receive(there.fileno()) == []


def test_a_socket_that_is_gone_is_an_error():
    with pytest.raises(OSError, match="Bad file descriptor"):
        Batch(1, 1).receive(-1)
    assert Batch(1, 1).send(-1, [(b"", bytes(16))]) == [errno.EBADF]
