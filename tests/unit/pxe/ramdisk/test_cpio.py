"""The initrd's archive: right for the reader that everyone has, and always the same bytes."""

import subprocess
from pathlib import Path

import pytest

from pxe.ramdisk import cpio
from tests.tools import require_tool

ENTRIES = [
    cpio.file("lib/b/three", b"abc"),
    cpio.file("init", b"#!/bin/sh\n", executable=True),
    cpio.link("bin/sh", "busybox"),
    cpio.folder("proc"),
]


def test_the_same_files_in_another_order_give_the_same_bytes() -> None:
    assert cpio.archive(ENTRIES) == cpio.archive(reversed(ENTRIES))


def test_every_folder_on_the_way_comes_before_what_it_holds() -> None:
    data = cpio.archive([cpio.file("a/b/c", b"")])
    assert data.index(b"a\0") < data.index(b"a/b\0") < data.index(b"a/b/c\0")


def test_two_different_files_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="named x"):
        cpio.archive([cpio.file("x", b"1"), cpio.file("x", b"2")])


def test_cpio_unpacks_what_was_packed(tmp_path: Path) -> None:
    tool = require_tool("busybox", package="busybox-static")
    data = cpio.archive(ENTRIES)
    subprocess.run([tool, "cpio", "-idm"], input=data, cwd=tmp_path, check=True)
    assert (tmp_path / "lib/b/three").read_bytes() == b"abc"
    assert (tmp_path / "bin/sh").readlink() == Path("busybox")
    assert (tmp_path / "init").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "proc").is_dir()
    assert (tmp_path / "init").stat().st_mtime == 0
