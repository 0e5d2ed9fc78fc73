"""The kinds of rule that the seal table is made of.

Each rule says the same thing twice: as a question about a finished image, and as a line of the
shell script that puts it right (its functions are in `functions.sh`). Paths are shell patterns
without a leading slash.
"""

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Protocol

from imagebuild.inside.image import Image
from imagebuild.inside.tree import Entry, Kind
from imagebuild.seal.system import System

MOST_TEXT = 1 << 20
"""Bytes of a configuration file that we read."""


@dataclass(frozen=True, slots=True)
class Trace:
    """Something that should not be there."""

    path: str
    seen: str
    """What was seen, never the secret itself."""


class Rule(Protocol):
    """One thing to verify and to put right."""

    def traces(self, image: Image, system: System) -> Iterator[Trace]:
        """What contradicts the rule in a finished image."""

    def shell(self) -> Sequence[str]:
        """Lines of the script that seals."""


@dataclass(frozen=True, slots=True, init=False)
class Absent:
    """Nothing has these names."""

    patterns: tuple[str, ...]
    keep: tuple[str, ...]

    def __init__(self, *patterns: str, keep: Sequence[str] = ()) -> None:
        object.__setattr__(self, "patterns", patterns)
        object.__setattr__(self, "keep", tuple(keep))

    def traces(self, image: Image, system: System) -> Iterator[Trace]:
        for pattern in self.patterns:
            for path in image.tree.glob(pattern):
                if not _kept(path, self.keep):
                    yield Trace(path, _described(image.tree.entry(path)))

    def shell(self) -> Sequence[str]:
        return _lines("absent", self.keep, self.patterns)


@dataclass(frozen=True, slots=True, init=False)
class Hollow:
    """These folders hold no files, at any depth; the folders themselves may stay."""

    patterns: tuple[str, ...]
    keep: tuple[str, ...]
    """Names, not paths."""
    empty: bool
    """Files without content may stay."""

    def __init__(self, *patterns: str, keep: Sequence[str] = (), empty: bool = False) -> None:
        object.__setattr__(self, "patterns", patterns)
        object.__setattr__(self, "keep", tuple(keep))
        object.__setattr__(self, "empty", empty)

    def traces(self, image: Image, system: System) -> Iterator[Trace]:
        for pattern in self.patterns:
            for folder in image.tree.glob(pattern):
                for path, entry in image.tree.walk(folder):
                    if not self._may_stay(path, entry):
                        yield Trace(path, _described(entry))

    def _may_stay(self, path: str, entry: Entry) -> bool:
        if entry.kind is Kind.FOLDER or path.rpartition("/")[2] in self.keep:
            return True
        return self.empty and entry.kind is Kind.FILE and entry.size == 0

    def shell(self) -> Sequence[str]:
        return _lines("hollow", self.keep, self.patterns)


@dataclass(frozen=True, slots=True)
class Nowhere:
    """No file below these folders is called so."""

    folders: tuple[str, ...]
    names: tuple[str, ...]

    def traces(self, image: Image, system: System) -> Iterator[Trace]:
        for folder in self.folders:
            for path, entry in image.tree.walk(folder):
                name = path.rpartition("/")[2]
                if entry.kind is Kind.FILE and any(fnmatch(name, own) for own in self.names):
                    yield Trace(path, _described(entry))

    def shell(self) -> Sequence[str]:
        return [
            shlex.join(["nowhere", folder, name]) for folder in self.folders for name in self.names
        ]


@dataclass(frozen=True, slots=True, init=False)
class Emptied:
    """Files of these names may stay, without content."""

    patterns: tuple[str, ...]

    def __init__(self, *patterns: str) -> None:
        object.__setattr__(self, "patterns", patterns)

    def traces(self, image: Image, system: System) -> Iterator[Trace]:
        for pattern in self.patterns:
            for path in image.tree.glob(pattern):
                entry = image.tree.entry(path)
                if entry is not None and entry.kind is Kind.FILE and entry.size:
                    yield Trace(path, _described(entry))

    def shell(self) -> Sequence[str]:
        return [shlex.join(["emptied", pattern]) for pattern in self.patterns]


@dataclass(frozen=True, slots=True)
class Lines:
    """No line of these files matches; `instead` is what sed(1) puts in place of the match.

    The pattern is an extended regular expression that sed and Python read alike.
    """

    patterns: tuple[str, ...]
    expression: str
    instead: str | None = None
    """None: the line goes."""

    def traces(self, image: Image, system: System) -> Iterator[Trace]:
        wrong = re.compile(portable(self.expression))
        for pattern in self.patterns:
            for path in image.tree.glob(pattern):
                text = image.tree.text(path, MOST_TEXT) or ""
                for number, line in enumerate(text.splitlines(), 1):
                    if wrong.search(line):
                        yield Trace(path, f"line {number}")

    def shell(self) -> Sequence[str]:
        edit = rf"\~{self.expression}~d"
        if self.instead is not None:
            edit = f"s~{self.expression}~{self.instead}~g"
        return [shlex.join(["edited", pattern, edit]) for pattern in self.patterns]


@dataclass(frozen=True, slots=True)
class AbsentWith:
    """No file of these names has a line that matches; one that has goes as a whole."""

    patterns: tuple[str, ...]
    expression: str

    def traces(self, image: Image, system: System) -> Iterator[Trace]:
        yield from Lines(self.patterns, self.expression).traces(image, system)

    def shell(self) -> Sequence[str]:
        return [shlex.join(["absent_with", pattern, self.expression]) for pattern in self.patterns]


def portable(expression: str) -> str:
    """POSIX character classes in Python's words."""
    for name, meaning in _CLASSES.items():
        expression = expression.replace(f"[:{name}:]", meaning)
    return expression


_CLASSES = {"space": r"\s", "alnum": "0-9A-Za-z", "xdigit": "0-9A-Fa-f", "digit": "0-9"}


def _lines(function: str, keep: Sequence[str], patterns: Sequence[str]) -> list[str]:
    kept = " ".join(keep)
    return [shlex.join([function, kept, pattern]) for pattern in patterns]


def _kept(path: str, keep: Sequence[str]) -> bool:
    return any(fnmatch(path, pattern) for pattern in keep)


def _described(entry: Entry | None) -> str:
    if entry is None:
        return "there"
    match entry.kind:
        case Kind.FILE:
            return f"a file of {entry.size} bytes"
        case Kind.FOLDER:
            return "a folder"
        case Kind.LINK:
            return "a link"
        case Kind.OTHER:
            return "a device, pipe or socket"
