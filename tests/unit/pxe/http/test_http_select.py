"""Ranges, validators and media types follow RFC 9110 and what UEFI reads."""

from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pxe.catalog import File
from pxe.http.select import Selection, content_type, entity_tag, select

FILE = File(Path("/x"), size=100, mtime_ns=1, device=2, inode=3)
TAG = entity_tag(FILE)
WHOLE = Selection(200, 0, 100)


@pytest.mark.parametrize(
    ("wanted", "selection"),
    [
        ("bytes=0-0", Selection(206, 0, 1)),
        ("bytes=0-99", Selection(206, 0, 100)),
        ("bytes=10-19", Selection(206, 10, 10)),
        ("bytes=90-", Selection(206, 90, 10)),
        ("bytes=90-1000", Selection(206, 90, 10)),
        ("bytes=-1", Selection(206, 99, 1)),
        ("bytes=-1000", Selection(206, 0, 100)),
        ("BYTES=0-0", Selection(206, 0, 1)),
        ("bytes=100-", Selection(416)),
        ("bytes=100-200", Selection(416)),
        ("bytes=-0", Selection(416)),
        ("bytes=5-4", WHOLE),
        ("bytes=-", WHOLE),
        ("bytes=", WHOLE),
        ("bytes=a-b", WHOLE),
        ("bytes=\u0660-\u0661", WHOLE),
        ("bytes=0-1,5-6", WHOLE),
        ("lines=0-1", WHOLE),
        ("bytes=" + "9" * 30 + "-", WHOLE),
    ],
)
def test_a_single_range_is_a_part_and_anything_odd_is_the_whole(wanted: str, selection: Selection):
    assert select(FILE, {"Range": wanted}, head=False) == selection
    assert select(FILE, {"Range": wanted}, head=True) == WHOLE


def test_nothing_of_an_empty_file_can_be_a_part():
    empty = File(Path("/x"), 0, 1, 2, 3)
    assert select(empty, {"Range": "bytes=0-"}, head=False) == Selection(416)
    assert select(empty, {}, head=False) == Selection(200, 0, 0)


@pytest.mark.parametrize(
    ("headers", "selection"),
    [
        ({"If-None-Match": TAG}, Selection(304)),
        ({"If-None-Match": f'"other", W/{TAG}'}, Selection(304)),
        ({"If-None-Match": "*"}, Selection(304)),
        ({"If-None-Match": '"other"'}, WHOLE),
        ({"If-None-Match": TAG, "Range": "bytes=0-0"}, Selection(304)),
        ({"If-Range": TAG, "Range": "bytes=0-0"}, Selection(206, 0, 1)),
        ({"If-Range": '"other"', "Range": "bytes=0-0"}, WHOLE),
        ({"If-Range": f"W/{TAG}", "Range": "bytes=0-0"}, WHOLE),
        ({"If-Range": "Fri, 02 Jan 2026 03:04:05 GMT", "Range": "bytes=0-0"}, WHOLE),
    ],
)
def test_validators_come_before_ranges(headers: dict[str, str], selection: Selection):
    assert select(FILE, headers, head=False) == selection


@pytest.mark.parametrize("change", ["size", "mtime_ns", "inode"])
def test_the_entity_tag_changes_with_the_file(change: str):
    values = {"size": 100, "mtime_ns": 1, "device": 2, "inode": 3}
    assert entity_tag(File(Path("/x"), **(values | {change: 9}))) != TAG


@given(wanted=st.from_regex(r"bytes=\d*-\d*", fullmatch=True) | st.text(), size=st.integers(0, 99))
def test_a_selection_never_leaves_the_file(wanted: str, size: int):
    file = File(Path("/x"), size, 1, 2, 3)
    chosen = select(file, {"Range": wanted}, head=False)
    assert 0 <= chosen.offset <= chosen.offset + chosen.length <= size
    assert (chosen.status == 206) == (chosen.content_range(size) is not None and chosen.length > 0)


@pytest.mark.parametrize(
    ("name", "agent", "kind"),
    [
        ("snponly.efi", "curl/8", "application/efi"),
        ("artifacts/boot.img", "UefiHttpBoot/1.0", "application/vnd.efi-img"),
        ("artifacts/boot.iso", "UefiHttpBoot/1.0", "application/vnd.efi-iso"),
        ("artifacts/boot.img", "iPXE/1.21", "application/octet-stream"),
        ("ramdisk/initrd.img", "UefiHttpBoot/1.0", "application/octet-stream"),
        ("ramdisk/vmlinuz", "UefiHttpBoot/1.0", "application/octet-stream"),
    ],
)
def test_only_firmware_is_told_of_disk_images(name: str, agent: str, kind: str):
    assert content_type(PurePosixPath(name), agent) == kind
