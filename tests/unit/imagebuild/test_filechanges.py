"""In which files two systems differ, and in what."""

import os
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from imagebuild.filechanges import (
    VARYING,
    FileChange,
    What,
    changes,
    compare_files,
    facts,
    is_expected,
)
from imagebuild.inside.errors import Unreadable
from imagebuild.inside.folder import open_folder
from imagebuild.inside.tree import Kind, Tree
from tests.unsealed import make

FILES = {"etc/one": "1", "etc/two": "2", "etc/link": "-> one", "etc/folder/": ""}
FILES |= {"etc/gone": "x", "etc/same": ""}


def test_every_difference_has_its_path_and_its_kind(tmp_path):
    old, new = make(tmp_path / "old", FILES), make(tmp_path / "new", FILES)
    (new / "etc/one").write_text("3")
    (new / "etc/two").chmod(0o600)
    (new / "etc/link").unlink()
    (new / "etc/link").symlink_to("two")
    (new / "etc/gone").unlink()
    (new / "etc/more").write_text("")
    (new / "etc/folder").rmdir()
    (new / "etc/folder").write_text("")
    for root in (old, new):
        for path in (root, *root.rglob("*")):
            os.utime(path, (10, 10), follow_symlinks=False)
    os.utime(new / "etc/two", (10, 11))
    os.setxattr(new / "etc/same", "user.label", b"x")
    new.chmod(0o711)
    with open_folder(old) as before, open_folder(new) as after:
        one, other = facts(Tree(before)), facts(Tree(after))
    found = {change.path: change.what for change in changes(one, other)}
    assert list(changes(one, one)) == []
    assert found == {
        "": (What.MODE,),
        "etc/folder": (What.KIND,),
        "etc/gone": (What.REMOVED,),
        "etc/link": (What.CONTENT,),
        "etc/more": (What.ADDED,),
        "etc/one": (What.CONTENT,),
        "etc/same": (What.ATTRIBUTES,),
        "etc/two": (What.MODE, What.TIME),
    }


def test_images_of_which_a_part_cannot_be_read_are_not_compared(tmp_path, monkeypatch):
    @contextmanager
    def opened(path):
        yield SimpleNamespace(tree=None, unread=("partition 2 holds LVM",))

    monkeypatch.setattr("imagebuild.filechanges.check_images", lambda paths: None)
    monkeypatch.setattr("imagebuild.filechanges.open_image", opened)
    with pytest.raises(Unreadable, match="old: files cannot be compared: partition 2 holds LVM"):
        compare_files(tmp_path / "old", tmp_path / "new")


@pytest.mark.parametrize(
    ("path", "what", "kind", "expected"),
    [
        ("var/log/wtmp", (What.TIME,), Kind.FILE, True),
        ("var/log/apt/term.log", (What.TIME,), Kind.FILE, True),
        ("var/log/wtmp", (What.CONTENT, What.TIME), Kind.FILE, False),
        ("var/log/apt", (What.TIME,), Kind.FOLDER, False),
        ("var/log", (What.TIME,), Kind.FOLDER, False),
        ("var/logs", (What.TIME,), Kind.FILE, False),
        ("", (What.TIME,), Kind.FOLDER, False),
        ("etc/shadow", (What.TIME,), Kind.FILE, False),
        ("boot/grub/grub.cfg", (What.CONTENT,), Kind.FILE, False),
        ("var/log/new", (What.ADDED,), Kind.FILE, False),
    ],
)
def test_two_builds_may_differ_only_as_written_down(path, what, kind, expected):
    assert is_expected(FileChange(path, what, kind)) is expected


def test_what_may_differ_is_in_the_documentation():
    text = Path("docs/building-images.md").read_text(encoding="utf-8")
    for folder in VARYING:
        assert f"below `/{folder}`" in text
