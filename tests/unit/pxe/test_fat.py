"""The file system that firmware reads from a RAM disk."""

import subprocess
from pathlib import Path

import pytest

from pxe import fat
from tests.tools import require_tool

FILES = {
    "EFI/BOOT/BOOTX64.EFI": bytes(range(256)) * 4001,
    "EFI/BOOT/grub.cfg": b"text\n",
    "grub/grub.cfg": b"",
    "top.txt": b"x" * fat.CLUSTER,
}


def test_the_same_files_give_the_same_bytes() -> None:
    assert fat.image(FILES, "seed") == fat.image(dict(reversed(FILES.items())), "seed")


def test_mtools_reads_every_file_back(tmp_path: Path) -> None:
    mcopy = require_tool("mcopy", package="mtools")
    path = tmp_path / "disk"
    path.write_bytes(fat.image(FILES, "seed"))
    for name, content in FILES.items():
        argv = [str(mcopy), "-n", "-i", str(path), f"::{name}", "-"]
        assert subprocess.run(argv, capture_output=True, check=True).stdout == content


def test_a_small_image_is_still_fat16() -> None:
    image = fat.image({"a": b"b"}, "seed")
    assert len(image) // fat.CLUSTER > 4085
    assert image[54:62] == b"FAT16   "


def test_a_folder_of_many_files_spans_clusters(tmp_path: Path) -> None:
    mcopy = require_tool("mcopy", package="mtools")
    files = {f"many/f{number}.txt": str(number).encode() for number in range(200)}
    path = tmp_path / "disk"
    path.write_bytes(fat.image(files, "seed"))
    argv = [str(mcopy), "-n", "-i", str(path), "::many/f199.txt", "-"]
    assert subprocess.run(argv, capture_output=True, check=True).stdout == b"199"


def test_names_that_need_more_than_eight_and_three_are_read_back(tmp_path: Path) -> None:
    mcopy = require_tool("mcopy", package="mtools")
    files = {
        "user-data": b"1",
        "meta-data": b"2",
        "a.long.folder/thirteen-char": b"3",
        ".disk/exactly-twenty-six-letters": b"4",
        "network-config": b"5",
    }
    path = tmp_path / "disk"
    path.write_bytes(fat.image(files, "seed"))
    for name, content in files.items():
        argv = [str(mcopy), "-n", "-i", str(path), f"::{name}", "-"]
        assert subprocess.run(argv, capture_output=True, check=True).stdout == content


@pytest.mark.parametrize("name", ["a b", "ö", "a" * 256, "a:b"])
def test_names_of_other_characters_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not a name"):
        fat.image({name: b""}, "seed")


def test_more_than_the_format_holds_is_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        fat.image({"a": bytes(66 * 2**20)}, "seed")
