"""Files in packets: shared, within the memory limit, the same as read block by block."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pxe.tftp.content import BytesContent, FileContent
from pxe.tftp.packets import PacketCache, Prepared, Streamed, Unreadable, open_content
from pxe.tftp.wire import Mode


def expected(data: bytes, blksize: int, first: int, count: int) -> bytes:
    blocks = len(data) // blksize + 1
    return b"".join(
        b"\0\3" + (n & 0xFFFF).to_bytes(2) + data[(n - 1) * blksize : n * blksize]
        for n in range(first, min(first + count, blocks + 1))
    )


@given(st.binary(max_size=200), st.integers(8, 40), st.data())
def test_a_window_is_its_packets_end_to_end(data: bytes, blksize: int, draw: st.DataObject) -> None:
    blocks = len(data) // blksize + 1
    first = draw.draw(st.integers(1, blocks))
    count = draw.draw(st.integers(1, blocks - first + 1))
    assert Prepared(data, blksize).window(first, count) == expected(data, blksize, first, count)
    fd = os.memfd_create("file")
    os.write(fd, data)
    streamed = Streamed(fd, len(data), blksize)
    assert streamed.window(first, count) == expected(data, blksize, first, count)
    streamed.close()


def test_block_numbers_of_a_long_file_roll_over() -> None:
    window = Prepared(bytes(8 * 70_000), 8).window(65535, 3)
    assert [bytes(window[at : at + 4]) for at in (0, 12, 24)] == [
        b"\0\3\xff\xff", b"\0\3\0\0", b"\0\3\0\1",
    ]  # fmt: skip


def file_of(path: Path, data: bytes) -> FileContent:
    path.write_bytes(data)
    return FileContent(path)


def test_transfers_of_one_file_share_its_packets(tmp_path: Path) -> None:
    content = file_of(tmp_path / "a", bytes(5000))
    cache = PacketCache(1 << 20, 1 << 20)
    one, two, other = (
        cache.packets(open_content(content, Mode.OCTET, 1 << 20), size) for size in (512, 512, 1468)
    )
    assert one is two
    assert other is not one


def test_a_file_that_was_replaced_is_read_anew(tmp_path: Path) -> None:
    cache = PacketCache(1 << 20, 1 << 20)
    path = tmp_path / "a"
    old = cache.packets(open_content(file_of(path, b"old"), Mode.OCTET, 99), 512)
    path.unlink()
    new = cache.packets(open_content(file_of(path, b"newer"), Mode.OCTET, 99), 512)
    assert bytes(old.window(1, 1))[4:] == b"old"
    assert bytes(new.window(1, 1))[4:] == b"newer"


def test_packets_in_use_are_kept_and_the_rest_is_streamed(tmp_path: Path) -> None:
    cache = PacketCache(total_max=25_000, file_max=20_000)
    a, b, c = (file_of(tmp_path / name, name.encode() * 10_000) for name in "abc")
    first = cache.packets(open_content(a, Mode.OCTET, 1), 1000)
    second = cache.packets(open_content(b, Mode.OCTET, 1), 1000)
    third = cache.packets(open_content(c, Mode.OCTET, 1), 1000)
    assert [type(each) for each in (first, second, third)] == [Prepared, Prepared, Streamed]
    assert cache.total <= 25_000
    third.close()
    first.close()
    fourth = cache.packets(open_content(c, Mode.OCTET, 1), 1000)
    assert isinstance(fourth, Prepared)
    assert cache.total <= 25_000


@pytest.mark.parametrize(("size", "blksize"), [(20_001, 512), (1 << 21, 8)])
def test_a_huge_file_and_tiny_blocks_are_streamed(tmp_path: Path, size: int, blksize: int) -> None:
    cache = PacketCache(1 << 30, 20_000 if size < 1 << 20 else 1 << 30)
    packets = cache.packets(
        open_content(file_of(tmp_path / "a", bytes(size)), Mode.OCTET, 1), blksize
    )
    assert isinstance(packets, Streamed)
    packets.close()


def test_a_file_that_shrinks_while_streamed_is_an_error(tmp_path: Path) -> None:
    content = file_of(tmp_path / "a", bytes(1000))
    opened = open_content(content, Mode.OCTET, 1)
    packets = PacketCache(10, 10).packets(opened, 512)
    os.truncate(content.path, 10)
    with pytest.raises(Unreadable, match="shorter"):
        packets.window(1, 2)
    packets.close()


def test_text_is_translated_for_netascii(tmp_path: Path) -> None:
    assert open_content(BytesContent(b"a\nb\rc"), Mode.NETASCII, 99).data == b"a\r\nb\r\0c"
    opened = open_content(file_of(tmp_path / "a", b"a\n"), Mode.NETASCII, 99)
    assert (opened.data, opened.size) == (b"a\r\n", 3)
    with pytest.raises(OSError, match="octet"):
        open_content(file_of(tmp_path / "a", bytes(100)), Mode.NETASCII, 99)


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "fifo"):
        with pytest.raises(OSError, match="regular"):
            open_content(FileContent(path), Mode.OCTET, 1)
    with pytest.raises(FileNotFoundError):
        open_content(FileContent(tmp_path / "none"), Mode.OCTET, 1)


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    test_only_regular_files_are_opened(tmp_path)
    test_text_is_translated_for_netascii(tmp_path)
    test_packets_in_use_are_kept_and_the_rest_is_streamed(tmp_path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
