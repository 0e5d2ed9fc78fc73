"""In which files two images differ, and in what: contents, modes, owners, times, attributes."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from imagebuild.inside.errors import Unreadable
from imagebuild.inside.image import check_images, open_image
from imagebuild.inside.tree import Entry, Kind, Tree


class What(Enum):
    """In what a file differs."""

    ADDED = "added"
    REMOVED = "removed"
    KIND = "kind"
    CONTENT = "content"
    """The bytes of a file, or where a link points to."""
    MODE = "mode"
    OWNER = "owner"
    TIME = "time"
    """Of the last modification."""
    ATTRIBUTES = "attributes"
    """Extended ones: capabilities, access control lists, SELinux' labels."""


VARYING: Mapping[str, tuple[What, ...]] = {
    "var/log": (What.TIME,),
}
"""In what files at any depth below a folder may differ in two builds of the same; all that is left
of it when SOURCE_DATE_EPOCH is given. Why is told in docs/building-images.md."""


@dataclass(frozen=True, slots=True)
class FileChange:
    """A path that is not the same in both."""

    path: str
    """Without a leading slash; empty for the root."""
    what: tuple[What, ...]
    kind: Kind = Kind.FILE
    """In the new one, if it is there."""

    def __str__(self) -> str:
        return f"/{self.path}: {', '.join(one.value for one in self.what)}"

    def as_json(self) -> Mapping[str, Any]:
        """For other programs."""
        return {"path": f"/{self.path}", "what": [one.value for one in self.what]}


def is_expected(change: FileChange) -> bool:
    """Whether two builds of the same may differ so."""
    return change.kind is Kind.FILE and any(
        change.path.startswith(f"{folder}/") and set(change.what) <= set(what)
        for folder, what in VARYING.items()
    )


@dataclass(frozen=True, slots=True)
class Facts:
    """What is compared of one path."""

    kind: Kind
    size: int
    content: bytes
    """A digest of a file's bytes, or where a link points to."""
    mode: int
    owner: tuple[int, int]
    modified: int
    attributes: Mapping[str, bytes]


def compare_files(old: Path, new: Path) -> list[FileChange]:
    """Every path that differs, in the paths' order.

    Raises Unreadable, also for an image of which a part cannot be read; OSError.
    """
    check_images((old, new))
    return list(changes(_read(old), _read(new)))


def facts(tree: Tree) -> dict[str, Facts]:
    """Of every path, the root too. Raises Unreadable."""
    root = tree.entry("")
    found = {"": _facts(tree, "", root)} if root else {}
    return found | {path: _facts(tree, path, entry) for path, entry in tree.walk()}


def changes(old: Mapping[str, Facts], new: Mapping[str, Facts]) -> Iterator[FileChange]:
    """From one to the other."""
    for path in sorted(old.keys() | new.keys()):
        one, other = old.get(path), new.get(path)
        if one and other:
            if what := tuple(_differs(one, other)):
                yield FileChange(path, what, other.kind)
        elif there := one or other:
            yield FileChange(path, (What.REMOVED if one else What.ADDED,), there.kind)


def _read(path: Path) -> dict[str, Facts]:
    with open_image(path) as image:
        if image.unread:
            raise Unreadable(f"{path}: files cannot be compared: {'; '.join(image.unread)}")
        return facts(image.tree)


def _facts(tree: Tree, path: str, entry: Entry) -> Facts:
    content = b""
    if entry.kind is Kind.FILE:
        content = hashlib.blake2b(tree.read(path) or b"").digest()
    elif entry.kind is Kind.LINK:
        content = os.fsencode(tree.link(path))
    owner, attributes = (entry.owner, entry.group), tree.attributes(path)
    return Facts(entry.kind, entry.size, content, entry.mode, owner, entry.modified, attributes)


def _differs(one: Facts, other: Facts) -> Iterator[What]:
    if one.kind is not other.kind:
        yield What.KIND
        return
    if (one.size, one.content) != (other.size, other.content):
        yield What.CONTENT
    if one.mode != other.mode:
        yield What.MODE
    if one.owner != other.owner:
        yield What.OWNER
    if one.modified != other.modified:
        yield What.TIME
    if one.attributes != other.attributes:
        yield What.ATTRIBUTES
