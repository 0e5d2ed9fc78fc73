"""Which packets prove that another DHCP server is there."""

import asyncio
import socket
from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pxe.addresses import MacAddress
from pxe.dhcp import options
from pxe.dhcp import probe as probe_module
from pxe.dhcp.message import BOOT_REPLY, NOWHERE, Message
from pxe.dhcp.options import MessageType
from pxe.dhcp.probe import (
    MOST_SERVERS,
    OtherServer,
    answer_in,
    checksum,
    frame_of,
    others,
    question,
    random_mac,
    refuse_other_servers,
    reply_in,
)
from pxe.errors import ServerConflict
from pxe.settings import DhcpMode

CLIENT = MacAddress.parse("02:00:00:00:00:42")
SERVER = MacAddress.parse("52:54:00:00:00:01")
RIVAL = IPv4Address("10.9.0.9")
GIVEN = IPv4Address("10.9.0.100")
ASKED = question(CLIENT, 7)


def offer(**facts) -> Message:
    return Message(
        BOOT_REPLY, 7, CLIENT, yiaddr=GIVEN,
        options={
            options.MESSAGE_TYPE: bytes((MessageType.OFFER,)),
            options.SERVER_IDENTIFIER: RIVAL.packed,
        },
    )._replace(**facts)  # fmt: skip


def to_client(payload: bytes, port: int = 68) -> bytes:
    """A frame to a DHCP client from 10.9.0.8."""
    frame = bytearray(frame_of(payload, SERVER))
    frame[26:30] = IPv4Address("10.9.0.8").packed
    frame[36:38] = port.to_bytes(2)
    return bytes(frame)


FOUND = OtherServer(RIVAL, SERVER, GIVEN)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (offer(), FOUND),
        (offer(file=b"pxelinux.0"), replace(FOUND, boot_file="pxelinux.0")),
        (offer(yiaddr=NOWHERE), replace(FOUND, offered=None)),
        (offer(options={}), replace(FOUND, address=IPv4Address("10.9.0.8"))),
        (offer(options={options.MESSAGE_TYPE: bytes((MessageType.ACK,))}), None),
        (offer(xid=8), None),
        (offer(chaddr=SERVER), None),
        (offer(op=1), None),
    ],
    ids=["offer", "file", "proxy", "bootp", "ack", "xid", "client", "request"],
)
def test_only_an_answer_to_our_question_counts(reply, expected):
    assert answer_in(to_client(reply.encode()), [ASKED]) == expected


def test_a_datagram_to_another_port_is_not_looked_at():
    assert reply_in(to_client(offer().encode(), port=67)) is None


@given(st.binary(max_size=400))
def test_no_frame_breaks_the_probe(data):
    answer_in(data, [ASKED])
    whole = to_client(offer().encode())
    answer_in(whole[: len(data)], [ASKED])
    answer_in(whole[:14] + data, [ASKED])
    answer_in(whole[:42] + data, [ASKED])


def test_the_question_is_a_pxe_clients_and_wants_a_broadcast_answer():
    assert ASKED.broadcast
    assert ASKED.type is MessageType.DISCOVER
    assert ASKED.vendor_class.startswith(b"PXEClient")


def test_a_frame_has_a_valid_ip_header():
    frame = frame_of(b"payload", CLIENT)
    assert frame[:14] == b"\xff" * 6 + CLIENT.octets + b"\x08\x00"
    assert checksum(frame[14:34]) == 0
    assert int.from_bytes(frame[16:18]) == len(frame) - 14


def test_our_own_servers_are_not_others_and_each_is_told_once():
    proxy = replace(FOUND, offered=None)
    ours = replace(FOUND, address=IPv4Address("10.9.0.1"))
    assert others([proxy, FOUND, ours, proxy], [IPv4Address("10.9.0.1")]) == [FOUND]


def test_random_clients_are_locally_administered_and_not_groups():
    assert all(random_mac().octets[0] & 3 == 2 for _ in range(100))


@pytest.mark.parametrize(
    ("server", "mode", "refused"),
    [
        (FOUND, DhcpMode.AUTHORITATIVE, True),
        (FOUND, DhcpMode.PROXY, False),
        (replace(FOUND, offered=None), DhcpMode.AUTHORITATIVE, True),
        (replace(FOUND, offered=None), DhcpMode.PROXY, True),
    ],
)
def test_a_rival_is_refused_by_name(server, mode, refused):
    if not refused:
        refuse_other_servers([server], mode)
        return
    with pytest.raises(ServerConflict, match=r"10\.9\.0\.9 at 52:54:00:00:00:01 offers"):
        refuse_other_servers([server], mode)


def test_nobody_is_no_rival():
    refuse_other_servers([], DhcpMode.AUTHORITATIVE)


async def test_who_invents_servers_fills_neither_memory_nor_the_error():
    wire, segment = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with wire, segment:
        wire.setblocking(False)
        segment.setblocking(False)
        for number in range(MOST_SERVERS + 4):
            invented = IPv4Address(int(RIVAL) + number)
            options_ = {**offer().options, options.SERVER_IDENTIFIER: invented.packed}
            segment.send(to_client(offer(options=options_).encode()))
        async with asyncio.timeout(5):  # well before the 60 seconds of listening
            found = await probe_module._listen(wire, [ASKED], 60, [RIVAL])
    assert len(found) == MOST_SERVERS
    assert RIVAL not in {server.address for server in found}
