"""Packets as clients really send them, and as nobody should."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tftpy.TftpPacketTypes import TftpPacketERR, TftpPacketOACK, TftpPacketRRQ

from pxe.errors import DecodeError
from pxe.tftp.wire import (
    Acknowledgment,
    ErrorCode,
    Failure,
    Mode,
    ReadRequest,
    WriteRequest,
    data_header,
    decode_reply,
    decode_request,
    encode_acknowledgment,
    encode_error,
    encode_oack,
)


def rrq(name: bytes, *strings: bytes, mode: bytes = b"octet") -> bytes:
    return b"\0\1" + b"".join(part + b"\0" for part in (name, mode, *strings))


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (b"ipxe.efi", "ipxe.efi"),
        (b"/ipxe.efi", "ipxe.efi"),
        (b"//grubx64.efi", "grubx64.efi"),
        (b"boot\\x64\\wdsnbp.com", "boot/x64/wdsnbp.com"),
        (b"\\\\pxelinux.0", "pxelinux.0"),
        (b"./a/./b//c", "a/b/c"),
        (b"../../etc/passwd", "../../etc/passwd"),
        (b"snponly.efi\xff", "snponly.efi"),
        (b"snponly.efi\xff\xff", "snponly.efi"),
        ("gr\u00fcn.efi".encode(), "gr\u00fcn.efi"),
        (b"gr\xfcn.efi", "gr\ufffdn.efi"),
        (b"", ""),
        (b"/", ""),
        (b"\xff", ""),
    ],
)
def test_a_file_name_is_spelled_as_in_the_catalog(raw: bytes, name: str) -> None:
    assert decode_request(rrq(raw)) == ReadRequest(name)


def test_option_names_keep_their_spelling_and_order() -> None:
    request = decode_request(rrq(b"a", b"TSIZE", b"0", b"BlkSize", b"1468"))
    assert request == ReadRequest("a", Mode.OCTET, (("TSIZE", "0"), ("BlkSize", "1468")))


def test_an_option_that_is_given_twice_counts_once() -> None:
    request = decode_request(rrq(b"a", b"blksize", b"1468", b"BLKSIZE", b"8"))
    assert request == ReadRequest("a", Mode.OCTET, (("blksize", "1468"),))


def test_zeros_that_fill_up_a_request_are_no_options() -> None:
    request = decode_request(rrq(b"a", b"tsize", b"0") + bytes(40))
    assert request == ReadRequest("a", Mode.OCTET, (("tsize", "0"),))


def test_an_empty_option_value_is_a_value() -> None:
    assert decode_request(rrq(b"a", b"blksize", b"")) == ReadRequest(
        "a", Mode.OCTET, (("blksize", ""),)
    )


@pytest.mark.parametrize("mode", [b"netascii", b"NetASCII"])
def test_modes_are_known_in_any_case(mode: bytes) -> None:
    assert decode_request(rrq(b"a", mode=mode)) == ReadRequest("a", Mode.NETASCII)


def test_a_write_request_is_recognised() -> None:
    assert decode_request(b"\0\2x\0octet\0") == WriteRequest("x")


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"\0",
        b"\1",
        b"\0\1",
        b"\0\1a",
        b"\0\1a\0",
        b"\0\1a\0octet",
        b"\0\1a\0mail\0",
        b"\0\1a\0\0",
        b"\0\1a\0octet\0blksize\0",
        b"\0\1a\0octet\0blksize\0001428",
        b"\0\1a\0octet\0blks",
        b"\0\3\0\1data",
        b"\0\4\0\1",
        b"\0\5\0\1no\0",
        b"\0\6blksize\0008\0",
        b"\0\7",
        b"\1\0a\0octet\0",
        rrq(b"a" * 600),
    ],
)
def test_what_is_no_request_is_refused(datagram: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_request(datagram)


def test_the_longest_request_is_taken_and_one_octet_more_is_not() -> None:
    longest = rrq(b"a" * (512 - 9))
    assert len(longest) == 512
    decode_request(longest)
    with pytest.raises(DecodeError):
        decode_request(rrq(b"a" * (513 - 9)))


def assert_read_or_refused(decode: Callable[[bytes], object], datagram: bytes) -> object:
    try:
        return decode(datagram)
    except DecodeError as error:
        message = str(error)
    assert message.isprintable()  # it becomes a line in a log
    return None


@given(st.binary(max_size=600))
def test_no_datagram_raises_anything_but_a_decode_error(datagram: bytes) -> None:
    for decode in (decode_request, decode_reply):
        assert_read_or_refused(decode, datagram)


@given(st.binary(max_size=500), st.sampled_from([b"\0\1", b"\0\2", b"\0\1a\0octet\0"]))
def test_no_request_raises_anything_but_a_decode_error(rest: bytes, opcode: bytes) -> None:
    request = assert_read_or_refused(decode_request, opcode + rest)
    if isinstance(request, ReadRequest | WriteRequest):
        assert not request.name.startswith("/")
        assert "//" not in request.name
        assert "\\" not in request.name


@given(
    st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=40),
    st.dictionaries(
        st.text(st.characters(codec="ascii", categories=["Ll"]), min_size=1, max_size=9),
        st.integers(0, 99999).map(str),
        max_size=5,
    ),
)
def test_a_request_that_tftpy_encodes_is_read_as_meant(name: str, options: dict[str, str]) -> None:
    packet = TftpPacketRRQ()
    packet.filename, packet.mode, packet.options = name, "octet", options
    assert decode_request(packet.encode().buffer) == ReadRequest(
        name, Mode.OCTET, tuple(options.items())
    )


@given(
    st.dictionaries(
        st.sampled_from(["blksize", "tsize", "windowsize", "timeout", "BlkSize"]),
        st.integers(0, 1 << 40).map(str),
        min_size=1,
    )
)
def test_an_oack_is_read_by_tftpy_as_meant(options: dict[str, str]) -> None:
    packet = TftpPacketOACK()
    packet.buffer = encode_oack(options)
    assert packet.decode().options == options


def test_an_error_is_read_by_tftpy_as_meant() -> None:
    packet = TftpPacketERR()
    packet.buffer = encode_error(ErrorCode.ACCESS_VIOLATION, "no\nwriting \u00fc")
    packet.decode()
    assert (packet.errorcode, packet.errmsg) == (2, b"no\\nwriting ?")


def test_block_numbers_roll_over() -> None:
    assert data_header(65535) == b"\0\3\xff\xff"
    assert data_header(65536) == b"\0\3\0\0"
    assert encode_acknowledgment(65537) == b"\0\4\0\1"


@pytest.mark.parametrize(
    ("datagram", "reply"),
    [
        (b"\0\4\1\2", Acknowledgment(0x102)),
        (b"\0\4\1\2padding", Acknowledgment(0x102)),
        (b"\0\5\0\x08User aborted\0", Failure(8, "User aborted")),
        (b"\0\5\0\0", Failure(0, "")),
        (b"\0\5\0\1forged\nline\0", Failure(1, "forged\\nline")),
        (b"\0\5\0\1\xff", Failure(1, "\ufffd")),
    ],
)
def test_replies_are_read(datagram: bytes, reply: Acknowledgment | Failure) -> None:
    assert decode_reply(datagram) == reply


@pytest.mark.parametrize("datagram", [b"", b"\0", b"\0\4\0", b"\0\1a\0octet\0", b"\0\3\0\1"])
def test_what_is_no_reply_is_refused(datagram: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_reply(datagram)
