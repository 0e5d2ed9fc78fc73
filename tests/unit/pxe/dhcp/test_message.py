"""The codec reads what RFC 2131, 2132 and 3396 allow and what firmware sends, and nothing else."""

from contextlib import suppress
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pxe.addresses import MacAddress
from pxe.dhcp import options as o
from pxe.dhcp.message import (
    BOOT_REPLY,
    BOOT_REQUEST,
    HEADER,
    LARGEST_LIMIT,
    MAGIC,
    SMALLEST,
    USUAL_LIMIT,
    Message,
    decode,
)
from pxe.dhcp.options import MessageType
from pxe.errors import DecodeError
from tests.pcap import CAPTURES, Datagram, read_pcap

MAC = MacAddress.parse("52:54:00:aa:00:01")


def wire(
    area: bytes = b"", *, op: int = 1, htype: int = 1, hlen: int = 6, magic: bytes = MAGIC,
    sname: bytes = b"", file: bytes = b"",
) -> bytes:  # fmt: skip
    """A message made by hand, without what `encode` would put right."""
    head = HEADER.pack(op, htype, hlen, 0, 7, 0, 0, 0, 0, 0, 0, MAC.octets, sname, file, magic)
    return head + area


# -- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "0 octets"),
        (b"\x01", "1 octets"),
        (wire()[:-1], "239 octets"),
        (wire(b"\0" * 4000), "4240 octets"),
        (wire(magic=b"\0\0\0\0"), "magic cookie"),
        (wire(op=0), "op is 0"),
        (wire(op=3), "op is 3"),
        (wire(htype=6), "hardware type 6 with 6 octets"),
        (wire(htype=32, hlen=20), "hardware type 32 with 20 octets"),
        (wire(hlen=16), "hardware type 1 with 16 octets"),
        (wire(hlen=255), "hardware type 1 with 255 octets"),
        (wire(b"\x35"), "option 53 has no length"),
        (wire(b"\x0c\x05abcd"), "option 12 has 5 octets, 4 are left"),
        (wire(b"\x35\x02\x01\x01"), "option 53 has 2 octets, not 1"),
        (wire(b"\x35\x01\x01\x35\x01\x01"), "option 53 has 2 octets, not 1"),
        (wire(b"\x35\x01\x00"), "message type 0"),
        (wire(b"\x35\x01\x09"), "message type 9"),
        (wire(b"\x32\x03\x0a\x00\x00"), "option 50 has 3 octets, not 4"),
        (wire(b"\x36\x05\x0a\x00\x00\x01\x00"), "option 54 has 5 octets, not 4"),
        (wire(b"\x39\x01\xff"), "option 57 has 1 octets, not 2"),
        (wire(b"\x34\x01\x00"), "option 52 is 0"),
        (wire(b"\x34\x01\x04"), "option 52 is 4"),
        (wire(b"\x34\x01\x01", file=b"\x0c\x80"), "option 12 has 128 octets, 126 are left"),
        (wire(b"\x34\x01\x01", file=b"\x35\x02\x01\x01\xff"), "option 53 has 2 octets, not 1"),
    ],
)
def test_what_is_not_dhcp_on_ethernet_is_refused(data: bytes, complaint: str):
    with pytest.raises(DecodeError, match=complaint):
        decode(data)


@given(st.binary(max_size=1200))
def test_arbitrary_octets_are_decoded_or_refused(data: bytes):
    with suppress(DecodeError):
        decode(data)


@given(st.binary(max_size=700), st.binary(max_size=64), st.binary(max_size=128))
def test_arbitrary_options_are_decoded_or_refused(area: bytes, sname: bytes, file: bytes):
    try:
        message = decode(wire(area, sname=sname, file=file))
    except DecodeError:
        return
    _ = (message.type, message.requested, message.server, message.limit, message.broadcast)
    _ = (message.architectures, message.vendor_class, message.user_classes)
    o.encapsulated(message.options.get(o.IPXE_OPTIONS, b""))
    assert decode(message.encode(4096)) == message


# -- what is accepted --------------------------------------------------------------------------


def test_options_without_an_end_are_read():
    assert decode(wire(b"\x35\x01\x01")).type is MessageType.DISCOVER


def test_pads_between_options_and_octets_after_the_end_are_skipped():
    message = decode(wire(b"\0\0\x35\x01\x01\0\x0c\x01a\xff\x0c\x01b"))
    assert message.options == {o.MESSAGE_TYPE: b"\x01", o.HOST_NAME: b"a"}


def test_an_option_in_several_parts_is_joined():
    assert decode(wire(b"\x0c\x02ab\x35\x01\x01\x0c\x02cd\xff")).options[o.HOST_NAME] == b"abcd"


def test_parts_are_joined_in_the_order_options_file_sname():
    data = wire(
        b"\x34\x01\x03\x0c\x01a\xff", file=b"\x0c\x01b\xff garbage", sname=b"\0\x0c\x01c\xff"
    )
    message = decode(data)
    assert message.options == {o.HOST_NAME: b"abc"}
    assert (message.file, message.sname) == (b"", b"")


@pytest.mark.parametrize(
    ("overload", "file", "sname"), [(1, b"", b"server"), (2, b"boot", b""), (3, b"", b"")]
)
def test_a_field_that_option_52_does_not_name_stays_text(overload: int, file: bytes, sname: bytes):
    data = wire(
        bytes((52, 1, overload)),
        file=b"\x0c\x01b\xff" if overload & 1 else b"boot\0garbage",
        sname=b"\x0f\x01s\xff" if overload & 2 else b"server\0garbage",
    )
    message = decode(data)
    assert (message.file, message.sname) == (file, sname)
    assert message.options == {
        **({o.HOST_NAME: b"b"} if overload & 1 else {}),
        **({o.DOMAIN_NAME: b"s"} if overload & 2 else {}),
    }


def test_an_overloaded_field_cannot_overload_again():
    assert decode(wire(b"\x34\x01\x01", file=b"\x34\x01\x02\xff", sname=b"text")).sname == b"text"


def test_bootp_has_no_message_type():
    assert decode(wire(b"\xff")).type is None


@pytest.mark.parametrize(
    ("value", "classes"),
    [
        (b"iPXE", (b"iPXE",)),
        (b"\x04iPXE", (b"iPXE",)),
        (b"\x04iPXE\x03abc", (b"iPXE", b"abc")),
        (b"\x04iPXE\x09abc", (b"\x04iPXE\x09abc",)),
        (b"\x00", (b"\x00",)),
        (b"", ()),
    ],
)
def test_user_classes_are_read_in_both_spellings(value: bytes, classes: tuple[bytes, ...]):
    assert Message(1, 7, MAC, options={o.USER_CLASS: value}).user_classes == classes


@pytest.mark.parametrize(
    ("value", "architectures"),
    [(b"\0\x07", (7,)), (b"\0\x07\0\x10", (7, 16)), (b"\0\x07\0", (7,)), (b"\0", ()), (b"", ())],
)
def test_architectures_are_a_list(value: bytes, architectures: tuple[int, ...]):
    assert Message(1, 7, MAC, options={o.ARCHITECTURE: value}).architectures == architectures


@pytest.mark.parametrize(
    ("value", "limit"),
    [
        (None, USUAL_LIMIT),
        (b"\x00\x00", USUAL_LIMIT),
        (b"\x02\x40", USUAL_LIMIT),
        (b"\x04\x00", 1024 - 28),
        (b"\xff\x00", LARGEST_LIMIT),  # OVMF
    ],
)
def test_the_limit_is_between_576_octets_and_one_frame(value: bytes | None, limit: int):
    options = {} if value is None else {o.MAXIMUM_SIZE: value}
    assert Message(1, 7, MAC, options=options).limit == limit


def test_a_malformed_encapsulated_option_is_empty():
    assert o.encapsulated(b"\x13\x01\x01\x15") == {}
    assert o.encapsulated(b"\x13\x01\x01") == {o.IPXE_HTTP: b"\x01"}


# -- what is sent ------------------------------------------------------------------------------


def test_short_messages_are_padded_to_300_octets():
    data = Message(BOOT_REPLY, 7, MAC, options={o.MESSAGE_TYPE: b"\x02"}).encode()
    assert len(data) == SMALLEST
    assert data[HEADER.size :].rstrip(b"\0") == b"\x35\x01\x02\xff"


def test_a_boot_file_name_is_followed_by_a_nul_that_is_not_part_of_it():
    """Else firmware that looks for a NUL asks TFTP for `name\\xff`."""
    message = Message(BOOT_REPLY, 7, MAC, options={o.BOOT_FILE_NAME: b"a.efi"})
    data = message.encode()
    assert b"\x43\x05a.efi\0\xff" in data
    assert decode(data) == message


def test_a_long_option_is_split_at_255_octets():
    value = bytes(range(256)) * 2
    data = Message(BOOT_REPLY, 7, MAC, options={o.VENDOR_OPTIONS: value}).encode(LARGEST_LIMIT)
    assert data[240:242] == b"\x2b\xff"
    assert data[497:499] == b"\x2b\xff"
    assert data[754:757] == b"\x2b\x02\xfe"
    assert decode(data).options[o.VENDOR_OPTIONS] == value


@pytest.mark.parametrize(
    ("file", "sname", "length", "overload"),
    [(b"", b"", 400, 3), (b"boot", b"", 340, 2), (b"", b"tftp", 400, 1)],
)
def test_options_that_do_not_fit_go_into_empty_fields(
    file: bytes, sname: bytes, length: int, overload: int
):
    options = {o.MESSAGE_TYPE: b"\x02", o.DOMAIN_NAME: b"d" * length, o.HOST_NAME: b"h" * 10}
    message = Message(BOOT_REPLY, 7, MAC, file=file, sname=sname, options=options)
    data = message.encode()
    assert len(data) <= USUAL_LIMIT
    assert bytes((o.OVERLOAD, 1, overload)) in data
    assert decode(data) == message


def test_an_option_is_split_only_when_no_area_takes_it_whole():
    options = {o.DOMAIN_NAME: b"d" * 250, o.BOOT_FILE_NAME: b"f" * 100, o.HOST_NAME: b"h" * 50}
    data = Message(BOOT_REPLY, 7, MAC, options=options).encode()
    assert bytes((o.BOOT_FILE_NAME, 100)) + b"f" * 100 in data


def test_what_fits_nowhere_is_an_error_of_the_sender():
    message = Message(BOOT_REPLY, 7, MAC, options={o.DOMAIN_NAME: b"d" * 600})
    with pytest.raises(ValueError, match="option 15 finds no room"):
        message.encode()


@pytest.mark.parametrize("code", [o.PAD, o.OVERLOAD, o.END])
def test_options_of_the_format_itself_cannot_be_set(code: int):
    with pytest.raises(ValueError, match=f"option {code} "):
        Message(BOOT_REPLY, 7, MAC, options={code: b"\x01"}).encode()


def test_a_boot_file_that_exceeds_its_field_is_an_error():
    with pytest.raises(ValueError, match="too long"):
        Message(BOOT_REPLY, 7, MAC, file=b"f" * 129).encode()


# -- there and back ----------------------------------------------------------------------------

addresses = st.integers(0, 2**32 - 1).map(IPv4Address)
texts = st.binary(max_size=60).map(lambda text: text.replace(b"\0", b""))
option_values = st.dictionaries(
    st.sampled_from([c for c in range(1, 255) if c not in {*o.FIXED_LENGTHS}]),
    st.binary(max_size=300),
    max_size=12,
)
fixed_values = st.fixed_dictionaries(
    {},
    optional={
        o.MESSAGE_TYPE: st.integers(1, 8).map(lambda value: bytes((value,))),
        o.REQUESTED_ADDRESS: addresses.map(lambda value: value.packed),
        o.MAXIMUM_SIZE: st.binary(min_size=2, max_size=2),
    },
)
messages = st.builds(
    Message,
    op=st.sampled_from([BOOT_REQUEST, BOOT_REPLY]),
    xid=st.integers(0, 2**32 - 1),
    chaddr=st.binary(min_size=6, max_size=6).map(MacAddress),
    hops=st.integers(0, 255),
    secs=st.integers(0, 65535),
    flags=st.integers(0, 65535),
    ciaddr=addresses,
    yiaddr=addresses,
    siaddr=addresses,
    giaddr=addresses,
    sname=texts,
    file=texts,
    options=st.builds(lambda fixed, free: fixed | free, fixed_values, option_values),
)


@given(messages, st.sampled_from([USUAL_LIMIT, LARGEST_LIMIT, 4096]))
def test_decode_gives_back_what_was_encoded(message: Message, limit: int):
    try:
        data = message.encode(limit)
    except ValueError:
        assert sum(2 + len(value) for value in message.options.values()) > limit // 2
        return
    assert len(data) <= limit
    assert decode(data) == message


# -- what real clients and servers sent --------------------------------------------------------


def captured() -> list[pytest.param]:
    return [
        pytest.param(datagram, id=f"{path.stem}-{datagram.number}")
        for path in sorted(CAPTURES.glob("*.pcap"))
        for datagram in read_pcap(path)
        if {datagram.source_port, datagram.destination_port} & {67, 68}
    ]


def test_there_are_captures_of_every_firmware():
    assert len(captured()) > 50


@pytest.mark.parametrize("datagram", captured())
def test_captured_messages_survive_decoding_and_encoding(datagram: Datagram):
    try:
        message = decode(datagram.payload)
    except DecodeError:
        assert datagram.cut, "only the capture may end in the middle of an option"
        return
    assert datagram.cut or message.type is not None
    assert decode(message.encode(LARGEST_LIMIT)) == message
