"""In which files two images differ, and in what: contents, modes, owners, times."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatch
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


VARYING: Mapping[str, tuple[What, ...]] = {
    "var/log/*": (What.TIME,),
}
"""In what two builds of the same may differ, by shell patterns of paths; all that is left of it
when SOURCE_DATE_EPOCH is given. Why is told in docs/building-images.md."""


@dataclass(frozen=True, slots=True)
class FileChange:
    """A path that is not the same in both."""

    path: str
    """Without a leading slash."""
    what: tuple[What, ...]

    def __str__(self) -> str:
        return f"/{self.path}: {', '.join(one.value for one in self.what)}"

    def as_json(self) -> Mapping[str, Any]:
        """For other programs."""
        return {"path": f"/{self.path}", "what": [one.value for one in self.what]}


def is_expected(change: FileChange) -> bool:
    """Whether two builds of the same may differ so."""
    return any(
        fnmatch(change.path, pattern) and set(change.what) <= set(what)
        for pattern, what in VARYING.items()
    )


def compare_files(old: Path, new: Path) -> list[FileChange]:
    """Every path that differs, in the paths' order.

    Raises Unreadable, also for an image of which a part cannot be read; OSError.
    """
    check_images((old, new))
    with open_image(old) as before, open_image(new) as after:
        for path, image in ((old, before), (new, after)):
            if image.unread:
                raise Unreadable(f"{path}: files cannot be compared: {'; '.join(image.unread)}")
        return list(changes(before.tree, after.tree))


def changes(old: Tree, new: Tree) -> Iterator[FileChange]:
    """The same for two trees."""
    before, after = dict(old.walk()), dict(new.walk())
    for path in sorted(before.keys() | after.keys()):
        if path not in before:
            yield FileChange(path, (What.ADDED,))
        elif path not in after:
            yield FileChange(path, (What.REMOVED,))
        elif what := tuple(_differs(path, old, new, before, after)):
            yield FileChange(path, what)


def _differs(
    path: str, old: Tree, new: Tree, before: Mapping[str, Entry], after: Mapping[str, Entry]
) -> Iterator[What]:
    one, other = before[path], after[path]
    if one.kind is not other.kind:
        yield What.KIND
        return
    if one.size != other.size or not _same(path, one.kind, old, new):
        yield What.CONTENT
    if one.mode != other.mode:
        yield What.MODE
    if (one.owner, one.group) != (other.owner, other.group):
        yield What.OWNER
    if one.modified != other.modified:
        yield What.TIME


def _same(path: str, kind: Kind, old: Tree, new: Tree) -> bool:
    if kind is Kind.LINK:
        return old.link(path) == new.link(path)
    return kind is not Kind.FILE or old.read(path) == new.read(path)
