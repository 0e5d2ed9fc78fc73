"""The answers of RFC 2131, read as its tables, and the silences that keep a segment well."""

from dataclasses import replace
from datetime import timedelta
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pxe.boot import Loader
from pxe.dhcp import options as o
from pxe.dhcp.decide import Reply, Silence, decide, refuse
from pxe.dhcp.leases import LeaseBook
from pxe.dhcp.message import BOOT_REPLY, BROADCAST, LARGEST_LIMIT, NOWHERE, Message, decode
from pxe.dhcp.options import MessageType
from pxe.dhcp.reply import BOOT_SERVICE_PORT, Arrival, Destination, Server, destination
from pxe.errors import DecodeError
from pxe.reservation import Lease, Reservation
from pxe.settings import DhcpMode
from tests.unit.pxe.dhcp.asking import (
    ABLE_IPXE,
    BIOS,
    EVERYTHING,
    HOUR,
    INSTALLED,
    MAC,
    NOW,
    POOL,
    PROGRAMS,
    RESERVED,
    STRANGER,
    UEFI,
    UEFI_HTTP,
    US,
    ask,
    server,
)
from tests.unit.pxe.dhcp.test_message import messages, wire

RELAY = "10.20.1.1"
ELSEWHERE = IPv4Address("192.0.2.7")
EVERYONE = IPv4Address("255.255.255.255")
DISCOVER, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE, INFORM = MessageType


def answer(
    request: Message,
    reservation: Reservation | None = RESERVED,
    book: LeaseBook | None = None,
    us: Server | None = None,
    arrival: Arrival | None = None,
) -> Reply | Silence:
    us = us or server(pool=POOL if book else None)
    return decide(request, reservation, book, us, arrival or Arrival(), NOW)


def reply(*arguments: object, **more: object) -> Reply:
    found = answer(*arguments, **more)  # type: ignore[arg-type]
    assert isinstance(found, Reply), found
    assert decode(found.message.encode(found.limit)) == found.message
    return found


def silence(*arguments: object, **more: object) -> Silence:
    found = answer(*arguments, **more)  # type: ignore[arg-type]
    assert isinstance(found, Silence), found
    return found


# -- RFC 2131, 4.3: which message answers which --------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "kind", "address"),
    [
        pytest.param(ask(DISCOVER), OFFER, "10.20.0.11", id="discover"),
        pytest.param(ask(DISCOVER, requested="10.20.0.99"), OFFER, "10.20.0.11", id="hint"),
        pytest.param(ask(REQUEST, requested="10.20.0.11", to=US), ACK, "10.20.0.11", id="select"),
        pytest.param(ask(REQUEST, requested="10.20.0.12", to=US), NAK, None, id="selecting-wrong"),
        pytest.param(ask(REQUEST, requested="10.20.0.11"), ACK, "10.20.0.11", id="init-reboot"),
        pytest.param(ask(REQUEST, requested="192.168.1.5"), NAK, None, id="init-reboot-moved"),
        pytest.param(ask(REQUEST, ciaddr="10.20.0.11"), ACK, "10.20.0.11", id="renewing"),
        pytest.param(ask(REQUEST, ciaddr="10.20.0.12"), NAK, None, id="renewing-wrong"),
        pytest.param(ask(REQUEST, ciaddr="192.168.1.5"), NAK, None, id="renewing-moved"),
        pytest.param(
            ask(REQUEST, ciaddr="10.20.0.11", broadcast=True), ACK, "10.20.0.11", id="rebinding"
        ),
        pytest.param(ask(INFORM, ciaddr="10.20.0.11"), ACK, None, id="inform"),
    ],
)  # fmt: skip
def test_a_known_client_is_answered(request_: Message, kind: MessageType, address: str | None):
    message = reply(request_).message
    assert message.type is kind
    assert message.yiaddr == (IPv4Address(address) if address else NOWHERE)
    assert message.server == US
    assert (message.op, message.xid, message.chaddr) == (BOOT_REPLY, 0x1234, MAC)


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (ask(REQUEST, requested="10.20.0.11", to=ELSEWHERE), "chose the server 192.0.2.7"),
        (ask(REQUEST), "names no address"),
        (ask(REQUEST, requested="10.20.0.11", ciaddr="10.20.0.12"), "names two addresses"),
        (ask(REQUEST, requested="10.20.0.11", ciaddr="192.0.2.1"), "names two addresses"),
        (ask(INFORM), "names no address"),
        (ask(INFORM, ciaddr="192.0.2.1"), "192.0.2.1 is not our subnet's"),
        (ask(DISCOVER, ciaddr="192.0.2.1"), "192.0.2.1 is not our subnet's"),
        (ask(RELEASE, ciaddr="10.20.0.11", to=US), "the reservation stays"),
        (ask(DECLINE, requested="10.20.0.11", to=ELSEWHERE), "of the server 192.0.2.7"),
        (ask(OFFER), "OFFER is for servers"),
        (ask(ACK), "ACK is for servers"),
        (ask(NAK), "NAK is for servers"),
        (ask(DISCOVER, op=2), "a reply, not a request"),
        (ask(None), "BOOTP without option 53"),
        (ask(DISCOVER, hops=17), "a loop"),
        (ask(DISCOVER, client=type(MAC)(b"\xff" * 6)), "not the address of a machine"),
        (ask(DISCOVER, client=type(MAC)(bytes(6))), "not the address of a machine"),
    ],
)
def test_what_must_not_be_answered_is_met_with_a_reason(request_: Message, reason: str):
    assert reason in silence(request_).reason


def test_an_unknown_machine_is_met_with_silence_where_no_pool_is():
    found = silence(ask(client=STRANGER), None)
    assert found.reason == f"{STRANGER} has no reservation and there is no discovery pool"


def test_a_reservation_outside_the_subnet_is_never_offered():
    outside = replace(RESERVED, address=IPv4Address("10.99.0.1"))
    assert "not in our subnet" in silence(ask(), outside).reason


def test_a_declined_reservation_is_an_alarm_and_stays():
    found = silence(ask(DECLINE, requested="10.20.0.11", to=US))
    assert found.alarm
    assert "ctl01 declined 10.20.0.11" in found.reason
    assert reply(ask()).message.yiaddr == RESERVED.address


# -- the discovery pool --------------------------------------------------------------------------


def pool_request(type: MessageType, **facts: object) -> Message:
    return ask(type, client=STRANGER, **facts)  # type: ignore[arg-type]


def test_an_unknown_machine_is_offered_and_then_granted_an_address_of_the_pool():
    book = LeaseBook(POOL)
    offer = reply(pool_request(DISCOVER), None, book)
    address = offer.message.yiaddr
    assert address in POOL
    assert offer.granted is None
    assert offer.offered is not None
    book.offer(offer.offered)
    ack = reply(pool_request(REQUEST, requested=str(address), to=US), None, book)
    assert ack.granted == Lease(STRANGER, address, NOW + HOUR)


def test_a_request_is_granted_though_we_forgot_the_offer():
    """We were restarted between offer and request."""
    ack = reply(pool_request(REQUEST, requested="10.20.3.2", to=US), None, LeaseBook(POOL))
    assert ack.granted == Lease(STRANGER, IPv4Address("10.20.3.2"), NOW + HOUR)


@pytest.mark.parametrize("how", [{"requested": "10.20.3.2"}, {"ciaddr": "10.20.3.2"}])
def test_a_lease_is_renewed(how: dict[str, str]):
    book = LeaseBook(POOL, [Lease(STRANGER, IPv4Address("10.20.3.2"), NOW)])
    ack = reply(pool_request(REQUEST, **how), None, book)
    assert ack.granted == Lease(STRANGER, IPv4Address("10.20.3.2"), NOW + HOUR)


def confirmed(lease: Lease) -> LeaseBook:
    book = LeaseBook(POOL, [lease])
    book.confirm(lease)
    return book


@pytest.mark.parametrize(
    ("left", "written", "promised"),
    [
        (HOUR, False, 3600),
        (HOUR * 3 / 4, False, 2700),
        (HOUR * 3 / 4 - timedelta(seconds=1), True, 3600),
        (timedelta(), True, 3600),
    ],
)
def test_a_young_lease_is_told_again_for_the_time_it_has_left_without_a_write(
    left: timedelta, written: bool, promised: int
):
    book = confirmed(Lease(STRANGER, POOL.first, NOW + left))
    wanted = {"requested": str(POOL.first), "to": US}
    ack = reply(pool_request(REQUEST, **wanted), None, book)
    assert (ack.granted is not None) is written
    assert ack.message.options[o.LEASE_TIME] == promised.to_bytes(4)
    assert ack.message.options[o.RENEWAL_TIME] == (promised // 2).to_bytes(4)


def test_a_lease_that_another_server_may_have_changed_is_written_anew():
    book = confirmed(Lease(STRANGER, POOL.first, NOW + HOUR))
    wanted = {"requested": str(POOL.first)}
    assert silence(pool_request(REQUEST, **wanted, to=ELSEWHERE), None, book).left
    book.doubt(STRANGER)
    assert reply(pool_request(REQUEST, **wanted, to=US), None, book).granted is not None


@pytest.mark.parametrize("how", ["requested", "ciaddr"])
def test_a_lease_is_written_anew_for_a_client_that_another_server_may_answer_too(how: str):
    book = confirmed(Lease(STRANGER, POOL.first, NOW + HOUR))
    ack = reply(pool_request(REQUEST, **{how: str(POOL.first)}), None, book)
    assert ack.granted == Lease(STRANGER, POOL.first, NOW + HOUR)


def test_an_offer_is_not_taken_for_a_lease():
    book = LeaseBook(POOL)
    book.offer(Lease(STRANGER, POOL.first, NOW + HOUR))
    ack = reply(pool_request(REQUEST, requested=str(POOL.first), to=US), None, book)
    assert ack.granted is not None


@pytest.mark.parametrize("wanted", ["10.20.3.2", "10.20.2.2", "192.168.1.5"])
def test_an_address_that_is_taken_or_not_of_the_pool_is_refused(wanted: str):
    book = LeaseBook(POOL, [Lease(MAC, IPv4Address("10.20.3.2"), NOW + HOUR)])
    assert reply(pool_request(REQUEST, requested=wanted), None, book).message.type is NAK


def test_an_exhausted_pool_is_silent():
    taken = [Lease(type(MAC)(bytes((2, 0, 0, 0, 0, number))), POOL.first + number, NOW + HOUR)
             for number in range(len(POOL))]  # fmt: skip
    found = silence(pool_request(DISCOVER), None, LeaseBook(POOL, taken))
    assert found.pool_is_full


def test_a_lease_is_released_only_by_its_holder():
    held = Lease(STRANGER, IPv4Address("10.20.3.2"), NOW + HOUR)
    book = LeaseBook(POOL, [held])
    assert silence(pool_request(RELEASE, ciaddr="10.20.3.2", to=US), None, book).released == held
    assert silence(pool_request(RELEASE, ciaddr="10.20.3.3", to=US), None, book).released is None
    spoofed = ask(RELEASE, ciaddr="10.20.3.2", to=US)
    assert silence(spoofed, None, book).released is None


def test_a_declined_address_of_the_pool_is_left_alone_only_when_its_holder_says_so():
    held = Lease(STRANGER, IPv4Address("10.20.3.2"), NOW + HOUR)
    book = LeaseBook(POOL, [held])
    found = silence(pool_request(DECLINE, requested="10.20.3.2", to=US), None, book)
    assert (found.declined, found.released) == (held.address, held)
    assert silence(ask(DECLINE, requested="10.20.3.2", to=US), None, book).declined is None


def test_a_machine_that_gets_a_reservation_leaves_its_lease_at_renewal():
    book = LeaseBook(POOL, [Lease(MAC, IPv4Address("10.20.3.2"), NOW + HOUR)])
    assert reply(ask(REQUEST, ciaddr="10.20.3.2"), RESERVED, book).message.type is NAK


# -- options -------------------------------------------------------------------------------------


def test_a_client_gets_the_options_that_it_asked_for():
    assert reply(ask(REQUEST, requested="10.20.0.11", to=US)).message.options == {
        o.MESSAGE_TYPE: bytes((ACK,)),
        o.SERVER_IDENTIFIER: US.packed,
        o.LEASE_TIME: (3600).to_bytes(4),
        o.SUBNET_MASK: bytes((255, 255, 252, 0)),
        o.ROUTERS: bytes((10, 20, 0, 254)),
        o.DNS_SERVERS: bytes((10, 20, 0, 2, 10, 20, 0, 3)),
        o.HOST_NAME: b"ctl01",
        o.DOMAIN_NAME: b"cloud.example.org",
        o.BROADCAST_ADDRESS: bytes((10, 20, 3, 255)),
        o.TIME_SERVERS: bytes((10, 20, 0, 4)),
        o.RENEWAL_TIME: (1800).to_bytes(4),
        o.REBINDING_TIME: (3150).to_bytes(4),
    }


def test_a_client_gets_nothing_that_it_did_not_ask_for():
    options = reply(ask(wants=bytes((o.ROUTERS,)))).message.options
    assert set(options) == {o.MESSAGE_TYPE, o.SERVER_IDENTIFIER, o.LEASE_TIME, o.ROUTERS}


def test_a_client_without_a_list_gets_the_usual():
    options = reply(ask(wants=None)).message.options
    assert {o.SUBNET_MASK, o.ROUTERS, o.DNS_SERVERS, o.DOMAIN_NAME} < set(options)


def test_the_mask_comes_before_the_routers():
    codes = list(reply(ask(wants=bytes((o.ROUTERS, o.SUBNET_MASK)))).message.options)
    assert codes.index(o.SUBNET_MASK) < codes.index(o.ROUTERS)


def test_inform_gets_configuration_without_address_or_lease():
    message = reply(ask(INFORM, BIOS, ciaddr="10.20.0.11")).message
    assert (message.yiaddr, message.ciaddr) == (NOWHERE, IPv4Address("10.20.0.11"))
    assert o.ROUTERS in message.options
    assert not {o.LEASE_TIME, o.RENEWAL_TIME, o.REBINDING_TIME} & set(message.options)


@pytest.mark.parametrize("type", [DISCOVER, REQUEST])
def test_identifier_and_relay_information_are_echoed_the_latter_last(type: MessageType):
    echoed = {o.RELAY_INFORMATION: b"\x01\x04eth0", o.CLIENT_IDENTIFIER: b"\x01abcdef"}
    for requested in ("10.20.0.11", "10.20.0.12"):  # the second is refused
        options = reply(ask(type, echoed, requested=requested, giaddr=RELAY)).message.options
        assert options.items() >= echoed.items()
        assert list(options)[-1] == o.RELAY_INFORMATION


@pytest.mark.parametrize("identifier", [None, b"\0" + bytes(range(16)), b"x" * 16, b""])
def test_a_machine_identifier_is_echoed_as_it_came_when_it_came(identifier: bytes | None):
    hint = {} if identifier is None else {o.MACHINE_IDENTIFIER: identifier}
    options = reply(ask(DISCOVER, UEFI, hint)).message.options
    assert options.get(o.MACHINE_IDENTIFIER) == identifier


def test_a_reply_respects_the_size_that_the_client_takes():
    assert reply(ask(DISCOVER, UEFI)).limit == 548
    hint = {o.MAXIMUM_SIZE: b"\xff\x00"}
    assert reply(ask(REQUEST, UEFI, hint, requested="10.20.0.11")).limit == LARGEST_LIMIT


# -- what boots ----------------------------------------------------------------------------------


@pytest.mark.parametrize("type", [DISCOVER, REQUEST])
@pytest.mark.parametrize(
    ("hints", "file", "more"),
    [
        pytest.param(
            BIOS, b"undionly.kpxe",
            {o.VENDOR_CLASS: b"PXEClient", o.VENDOR_OPTIONS: b"\x06\x01\x08\xff"}, id="bios",
        ),
        pytest.param(UEFI, b"snponly.efi", {}, id="uefi"),
        pytest.param(
            UEFI_HTTP, b"http://10.20.0.1/snponly.efi", {o.VENDOR_CLASS: b"HTTPClient"},
            id="uefi-http",
        ),
        pytest.param(
            BIOS | ABLE_IPXE, b"http://10.20.0.1/ipxe/52:54:00:aa:00:01.ipxe",
            {o.IPXE_OPTIONS: b"\xb0\x01\x01\xff"}, id="ipxe",
        ),
    ],
)  # fmt: skip
def test_each_firmware_gets_a_complete_boot_offer(
    type: MessageType, hints: dict[int, bytes], file: bytes, more: dict[int, bytes]
):
    message = reply(ask(type, hints, requested="10.20.0.11")).message
    assert message.siaddr == US
    assert message.file == file
    assert message.options[o.BOOT_FILE_NAME] == file
    boot_options = {o.VENDOR_CLASS, o.VENDOR_OPTIONS, o.IPXE_OPTIONS}
    assert {c: v for c, v in message.options.items() if c in boot_options} == more


@pytest.mark.parametrize("hints", [BIOS, UEFI, UEFI_HTTP, BIOS | ABLE_IPXE, INSTALLED, {}])
def test_option_60_never_comes_without_43_6_that_keeps_clients_from_port_4011(
    hints: dict[int, bytes],
):
    options = reply(ask(DISCOVER, hints)).message.options
    if options.get(o.VENDOR_CLASS) == b"PXEClient":
        assert o.encapsulated(options[o.VENDOR_OPTIONS]) == {o.PXE_DISCOVERY_CONTROL: b"\x08"}
    else:
        assert o.VENDOR_OPTIONS not in options


@pytest.mark.parametrize("hints", [INSTALLED, {}, {o.VENDOR_CLASS: b"d-i"}])
def test_an_installed_system_gets_an_address_and_nothing_to_boot(hints: dict[int, bytes]):
    message = reply(ask(DISCOVER, hints)).message
    assert message.yiaddr == RESERVED.address
    assert (message.siaddr, message.file) == (NOWHERE, b"")
    boot_options = {o.VENDOR_CLASS, o.VENDOR_OPTIONS, o.BOOT_FILE_NAME, o.TFTP_SERVER_NAME}
    assert not boot_options & set(message.options)


@pytest.mark.parametrize("type", [DISCOVER, REQUEST])
@pytest.mark.parametrize(
    ("hints", "reason"),
    [(UEFI, "snponly.efi"), ({o.ARCHITECTURE: b"\0\x06"}, "no boot program for uefi-ia32")],
)
def test_firmware_that_cannot_be_served_gets_no_half_formed_offer(
    type: MessageType, hints: dict[int, bytes], reason: str
):
    us = server(programs=PROGRAMS - {"snponly.efi"})
    assert reason in silence(ask(type, hints, requested="10.20.0.11"), us=us).reason


def test_the_tftp_server_name_is_told_to_those_who_ask():
    assert reply(ask(DISCOVER, UEFI)).message.options[o.TFTP_SERVER_NAME] == b"10.20.0.1"
    asked_less = reply(ask(DISCOVER, UEFI, wants=b"\x01")).message.options
    assert o.TFTP_SERVER_NAME not in asked_less


def test_a_loader_of_the_reservation_is_followed():
    pxelinux = replace(RESERVED, loader=Loader.PXELINUX)
    assert reply(ask(DISCOVER, BIOS | ABLE_IPXE), pxelinux).message.file == b"pxelinux.0"


# -- RFC 2131, 4.1: where replies go -------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "to"),
    [
        pytest.param(ask(), Destination(RESERVED.address, 68, MAC), id="no-address-yet"),
        pytest.param(ask(broadcast=True), Destination(EVERYONE, 68), id="broadcast-flag"),
        pytest.param(ask(giaddr=RELAY), Destination(IPv4Address(RELAY), 67), id="relay"),
        pytest.param(
            ask(REQUEST, ciaddr="10.20.0.11"), Destination(RESERVED.address, 68), id="renewing"
        ),
        pytest.param(
            ask(REQUEST, ciaddr="10.20.0.11", broadcast=True),
            Destination(RESERVED.address, 68), id="ciaddr-before-broadcast-flag",
        ),
        pytest.param(
            ask(REQUEST, ciaddr="10.20.0.11", giaddr=RELAY),
            Destination(IPv4Address(RELAY), 67), id="relay-before-ciaddr",
        ),
        pytest.param(
            ask(REQUEST, requested="10.20.0.12"), Destination(EVERYONE, 68), id="nak-is-broadcast"
        ),
        pytest.param(
            ask(REQUEST, requested="10.20.0.12", giaddr=RELAY),
            Destination(IPv4Address(RELAY), 67), id="nak-through-the-relay",
        ),
        pytest.param(
            ask(INFORM, ciaddr="10.20.0.77"),
            Destination(IPv4Address("10.20.0.77"), 68), id="inform",
        ),
    ],
)  # fmt: skip
def test_replies_go_where_rfc_2131_says(request_: Message, to: Destination):
    assert reply(request_).to == to


def test_a_nak_through_a_relay_is_to_be_broadcast():
    message = reply(ask(REQUEST, requested="10.20.0.12", giaddr=RELAY)).message
    assert message.flags == BROADCAST
    assert message.giaddr == IPv4Address(RELAY)
    assert message.options[o.ERROR_MESSAGE] == b"10.20.0.12 is not the address reserved for ctl01"


@pytest.mark.parametrize("giaddr", ["192.0.2.1", "10.20.4.1", str(US)])
def test_a_relay_of_another_subnet_gets_no_address_of_ours(giaddr: str):
    assert f"the relay {giaddr}" in silence(ask(giaddr=giaddr)).reason


def test_a_lost_lease_is_answered_with_a_nak():
    found = refuse(ask(REQUEST), server(), Arrival(), "another server gave it away")
    assert (found.message.type, found.to.address) == (NAK, EVERYONE)


# -- proxy mode ----------------------------------------------------------------------------------

PROXY = server(DhcpMode.PROXY)
FROM_CLIENT = Arrival(BOOT_SERVICE_PORT, RESERVED.address, 68)


def test_a_proxy_offers_what_to_boot_and_no_address():
    found = reply(ask(DISCOVER, BIOS, broadcast=True), us=PROXY)
    assert found.message.type is OFFER
    assert found.message.yiaddr == NOWHERE
    assert found.message.siaddr == US
    assert set(found.message.options) == {
        o.MESSAGE_TYPE, o.SERVER_IDENTIFIER, o.BOOT_FILE_NAME, o.TFTP_SERVER_NAME,
        o.VENDOR_CLASS, o.VENDOR_OPTIONS,
    }  # fmt: skip
    assert found.to == Destination(EVERYONE, 68)


@pytest.mark.parametrize(
    ("hints", "more"),
    [
        (BIOS, {o.VENDOR_CLASS: b"PXEClient", o.VENDOR_OPTIONS: b"\x06\x01\x08\xff"}),
        (BIOS | ABLE_IPXE, {o.VENDOR_CLASS: b"PXEClient", o.VENDOR_OPTIONS: b"\x06\x01\x08\xff"}),
        (UEFI, {o.VENDOR_CLASS: b"PXEClient"}),  # meant to ask on port 4011
        (UEFI_HTTP, {o.VENDOR_CLASS: b"HTTPClient"}),
    ],
)
def test_a_proxy_offer_is_told_by_option_60(hints: dict[int, bytes], more: dict[int, bytes]):
    options = reply(ask(DISCOVER, hints), us=PROXY).message.options
    assert {c: v for c, v in options.items() if c in (o.VENDOR_CLASS, o.VENDOR_OPTIONS)} == more


def test_a_proxy_answers_through_the_relay_and_keeps_the_broadcast_bit():
    found = reply(ask(DISCOVER, UEFI, giaddr=RELAY, broadcast=True), us=PROXY)
    assert found.to == Destination(IPv4Address(RELAY), 67)
    assert found.message.broadcast


def test_a_proxy_leaves_the_broadcast_bit_clear_when_it_came_so():
    assert not reply(ask(DISCOVER, UEFI), us=PROXY).message.broadcast


@pytest.mark.parametrize("hints", [INSTALLED, {}])
def test_a_proxy_is_silent_to_whoever_is_not_network_booting(hints: dict[int, bytes]):
    assert silence(ask(DISCOVER, hints), us=PROXY).reason == "it is not network booting"


@pytest.mark.parametrize("type", [REQUEST, INFORM, RELEASE, DECLINE])
def test_a_proxy_leaves_addresses_to_the_dhcp_server(type: MessageType):
    request = ask(type, UEFI, requested="10.20.0.11", ciaddr="10.20.0.11")
    assert "is for the DHCP server" in silence(request, us=PROXY).reason


@pytest.mark.parametrize("mode", DhcpMode)
def test_port_4011_tells_the_boot_file_in_either_mode(mode: DhcpMode):
    request = ask(REQUEST, UEFI, ciaddr="10.20.0.11", broadcast=True)
    found = reply(request, us=server(mode), arrival=FROM_CLIENT)
    assert found.message.type is ACK
    assert (found.message.yiaddr, found.message.file) == (NOWHERE, b"snponly.efi")
    assert found.to == Destination(RESERVED.address, 68)
    assert o.LEASE_TIME not in found.message.options


def test_port_4011_is_silent_to_strangers_from_elsewhere():
    arrival = Arrival(BOOT_SERVICE_PORT, ELSEWHERE, 4711)
    assert "not in our subnet" in silence(ask(REQUEST, UEFI), us=PROXY, arrival=arrival).reason
    assert "is for" in silence(ask(DISCOVER, UEFI), us=PROXY, arrival=FROM_CLIENT).reason


def test_a_proxy_ignores_machines_that_nobody_entered():
    assert "no reservation" in silence(ask(DISCOVER, UEFI), None, us=PROXY).reason


# -- whatever arrives ----------------------------------------------------------------------------

modes = st.sampled_from(DhcpMode)
arrivals = st.builds(
    Arrival, port=st.sampled_from([67, 4011]), peer=st.integers(0, 2**32 - 1).map(IPv4Address)
)
likely = st.builds(
    ask,
    st.sampled_from([*MessageType, None]),
    st.sampled_from([BIOS, UEFI, UEFI_HTTP, BIOS | ABLE_IPXE, INSTALLED, {}]),
    st.dictionaries(st.integers(60, 254), st.binary(max_size=40), max_size=6),
    requested=st.sampled_from([None, "10.20.0.11", "10.20.3.1", "10.20.3.2", "192.0.2.1"]),
    to=st.sampled_from([None, US, ELSEWHERE]),
    ciaddr=st.sampled_from(["0.0.0.0", "10.20.0.11", "10.20.3.1", "192.0.2.1"]),
    giaddr=st.sampled_from(["0.0.0.0", RELAY, "192.0.2.1"]),
    client=st.sampled_from([MAC, STRANGER]),
    wants=st.sampled_from([None, b"", EVERYTHING]),
    broadcast=st.booleans(),
    hops=st.integers(0, 20),
)


@given(st.one_of(likely, messages), st.booleans(), st.booleans(), modes, arrivals)
def test_whatever_arrives_nothing_is_promised_but_the_reservation_or_the_pool(
    request_: Message, known: bool, discovery: bool, mode: DhcpMode, arrival: Arrival
):
    us = server(mode, POOL if discovery else None)
    book = LeaseBook(POOL, [Lease(MAC, POOL.first, NOW + HOUR)]) if discovery else None
    found = decide(request_, RESERVED if known else None, book, us, arrival, NOW)
    if isinstance(found, Silence):
        assert found.reason
        return
    promised = found.message.yiaddr
    if known:
        assert promised in (RESERVED.address, NOWHERE)
        assert found.granted is None
    elif promised != NOWHERE:
        assert promised in POOL
        assert (promised, request_.chaddr) != (POOL.first, STRANGER)
    assert mode is DhcpMode.AUTHORITATIVE or promised == NOWHERE
    assert found.to.address == EVERYONE or found.to.address in us.settings.subnet
    assert found.to == destination(request_, found.message, arrival)


@given(st.binary(max_size=300))
def test_whatever_options_arrive_the_decision_is_made(area: bytes):
    try:
        request = decode(wire(b"\x35\x01\x01" + area))
    except DecodeError:
        return
    answer(request)
