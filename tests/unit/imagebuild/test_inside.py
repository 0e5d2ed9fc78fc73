"""What is no image is told in a sentence, every file of it, before one is looked through."""

import os
import subprocess
from pathlib import Path

import pytest

from imagebuild.difference import compare_images
from imagebuild.inside.errors import Unreadable
from imagebuild.inside.image import check_images, open_image
from tests.tools import require_tool


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A raw file with nothing but a root file system."""
    tree = tmp_path / "tree"
    (tree / "etc").mkdir(parents=True)
    (tree / "etc/os-release").write_text("ID=debian\n", encoding="utf-8")
    path = tmp_path / "root.img"
    subprocess.run(
        [str(require_tool("mkfs.ext4", "e2fsprogs")), "-q", "-d", str(tree), str(path), "4M"],
        check=True,
    )
    return path


def test_a_folder_a_pipe_and_what_is_not_there_are_no_images(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name, why in (
        ("absent", "No such file or directory"),
        (".", "it is a folder"),
        ("pipe", "it is neither a file nor a disk"),
        ("a\0b", "embedded null byte"),
        ("/proc/version", "Invalid argument"),
    ):
        with pytest.raises(Unreadable) as caught, open_image(tmp_path / name):
            pass
        assert str(caught.value).endswith(f": cannot be read: {why}, expected an image")


def test_a_text_is_told_what_was_expected(tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("hello\n" * 9000, encoding="utf-8")
    with pytest.raises(Unreadable, match="neither partitions nor a file system") as caught:
        check_images([text])
    assert str(caught.value).endswith("expected a disk image in qcow2 or raw")
    assert not getattr(caught.value, "__notes__", [])


def test_every_bad_file_is_told_at_once(tmp_path, image):
    check_images([image])
    with pytest.raises(Unreadable) as caught:
        check_images([tmp_path / "absent", image, tmp_path])
    assert [line.split(":")[0] for line in str(caught.value).splitlines()] == [
        f"{tmp_path}/absent",
        str(tmp_path),
    ]
    with pytest.raises(Unreadable, match="absent: cannot be read") as caught:
        compare_images(tmp_path / "absent", tmp_path / "gone")
    assert "gone: cannot be read" in str(caught.value)


def test_with_the_kernel_only_files_are_opened_at_first(tmp_path):
    odd = tmp_path / "odd"
    odd.write_bytes(bytes(4096))
    check_images([odd], kernel=True)
    with pytest.raises(Unreadable, match="cannot be read"):
        check_images([tmp_path / "absent"], kernel=True)
