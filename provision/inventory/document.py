"""A YAML file as a tree in which everything knows its line.

Built from the parser's events, never by `yaml.load`: scalars keep the characters that a person
wrote (52:54:00:12:34:56 is a base-60 integer to YAML 1.1), nothing recurses, and aliases cost
what they expand to.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

from provision.inventory.model import Place
from provision.inventory.problems import InventoryInvalid, Problem

MAX_BYTES = 4 * 1024 * 1024
"""About 20,000 hosts; a file larger than this is not an inventory."""

MAX_DEPTH = 32
MAX_NODES = 500_000
"""Counted after aliases are expanded."""

_NULLS = frozenset(["", "~", "null", "Null", "NULL"])
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""YAML 1.2.2, 5.1: what a stream may not contain."""

_PARSER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml where PyYAML was built with it: ten times faster."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value exactly as written, without its quotes."""

    text: str
    line: int
    quoted: bool = False

    @property
    def is_null(self) -> bool:
        """Whether YAML reads it as nothing."""
        return not self.quoted and self.text in _NULLS

    size = 1


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    items: "tuple[Node, ...]"
    line: int
    size: int = field(default=1, repr=False)


@dataclass(frozen=True, slots=True)
class Table:
    """A mapping; `entries` gives for each key its own scalar and its value."""

    entries: "Mapping[str, tuple[Scalar, Node]]"
    line: int
    size: int = field(default=1, repr=False)


Node = Scalar | Items | Table


def read_document(path: Path) -> tuple[Node, list[Problem]]:
    """Read one YAML document and the mistakes that do not hinder reading on.

    Raises InventoryInvalid when the file cannot be read or is not YAML at all.
    """
    text = _read_text(path)
    builder = _Builder(path)
    try:
        for event in yaml.parse(text, Loader=_PARSER):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        builder.fail(*_syntax_error(error, text))
    except yaml.YAMLError as error:
        builder.fail(1, f"not YAML: {str(error).splitlines()[0]}")
    root = builder.root
    if root is None or (isinstance(root, Scalar) and root.is_null):
        hint = "begin with the sections network, roles and racks; examples/rack.yaml shows them"
        raise InventoryInvalid(
            [Problem(Place(path, 0), "", "the file is empty, expected an inventory", hint)]
        )
    return root, builder.problems


def _read_text(path: Path) -> str:
    def fail(line: int, message: str, hint: str | None = None) -> InventoryInvalid:
        return InventoryInvalid([Problem(Place(path, line), "", message, hint)])

    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise fail(
            0, "there is no such file, expected an inventory", "name another with --inventory PATH"
        ) from None
    except IsADirectoryError:
        hint = f"--inventory {path / 'inventory.yaml'}"
        raise fail(0, "this is a folder, expected a file", hint) from None
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise fail(0, f"cannot be read ({why}), expected a readable file") from None
    if len(raw) > MAX_BYTES:
        raise fail(0, f"larger than {MAX_BYTES // 2**20} MiB, expected an inventory")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        found = f"byte 0x{raw[error.start]:02x} is not UTF-8, expected UTF-8 text"
        raise fail(line, found, "save the file with the encoding UTF-8") from None
    if match := _UNPRINTABLE.search(text):
        line = text.count("\n", 0, match.start()) + 1
        found = f"the control character U+{ord(match[0]):04X}, expected printable text"
        raise fail(line, found)
    return text


def _syntax_error(error: yaml.MarkedYAMLError, text: str) -> tuple[int, str, str | None]:
    mark = error.problem_mark or error.context_mark
    lines = text.splitlines() or [""]
    number = min(mark.line if mark else 0, len(lines) - 1)
    line = lines[number]
    if "\t" in line[: len(line) - len(line.lstrip())]:
        found = "a tab in the indentation, expected spaces"
        return number + 1, found, "let the editor write spaces for this file"
    what = ", ".join(part for part in (error.context, error.problem) if part)
    hint = None
    if "mapping values are not allowed" in what:
        hint = "a value that contains ': ' needs quotes; or a line above is indented otherwise"
    return number + 1, f"not YAML: {what}", hint


class _Builder:
    """Turns parser events into a tree; its stack, not Python's, holds what is open."""

    def __init__(self, path: Path) -> None:
        self.root: Node | None = None
        self.problems: list[Problem] = []
        self._path = path
        self._anchors: dict[str, Node] = {}
        self._open: list[tuple[Any, list[Node]]] = []
        self._documents = 0

    def fail(self, line: int, message: str, hint: str | None = None) -> Any:  # noqa: ANN401
        """Give up with one more problem."""
        raise InventoryInvalid([*self.problems, self._problem(line, message, hint)])

    def _problem(self, line: int, message: str, hint: str | None = None) -> Problem:
        return Problem(Place(self._path, line), "", message, hint)

    def take(self, event: Any) -> None:  # noqa: ANN401  # the stubs lack its attributes
        """Add one event."""
        line = event.start_mark.line + 1
        match event:
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    self.fail(line, "a second document begins, expected one per file")
            case yaml.AliasEvent():
                if event.anchor not in self._anchors:
                    self.fail(line, f"*{event.anchor} stands for nothing above, expected an anchor")
                self._add(self._anchors[str(event.anchor)], line)
            case yaml.ScalarEvent():
                self._check_tag(event, line)
                quoted = event.style not in (None, "") or event.tag is not None
                self._close(event, Scalar(event.value, line, quoted))
            case yaml.SequenceStartEvent() | yaml.MappingStartEvent():
                self._check_tag(event, line)
                if len(self._open) >= MAX_DEPTH:
                    self.fail(line, f"nested deeper than {MAX_DEPTH} levels, expected an inventory")
                self._open.append((event, []))
            case yaml.SequenceEndEvent():
                start, items = self._open.pop()
                size = 1 + sum(item.size for item in items)
                self._close(start, Items(tuple(items), start.start_mark.line + 1, size))
            case yaml.MappingEndEvent():
                start, flat = self._open.pop()
                self._close(start, self._table(start.start_mark.line + 1, flat))

    def _check_tag(self, event: Any, line: int) -> None:  # noqa: ANN401
        if event.tag not in (None, "!", "tag:yaml.org,2002:str"):
            self.fail(line, f"the tag {event.tag!r} has no meaning here, expected a plain value")

    def _close(self, start: Any, node: Node) -> None:  # noqa: ANN401
        if start.anchor is not None:
            self._anchors[start.anchor] = node
        self._add(node, node.line)

    def _add(self, node: Node, line: int) -> None:
        if self._open:
            self._open[-1][1].append(node)
        else:
            self.root = node
        if node.size > MAX_NODES:
            self.fail(line, f"its aliases expand to more than {MAX_NODES} values, expected fewer")

    def _table(self, line: int, flat: list[Node]) -> Table:
        own: dict[str, tuple[Scalar, Node]] = {}
        merged: list[Table] = []
        for key, value in zip(flat[::2], flat[1::2], strict=True):
            if not isinstance(key, Scalar):
                message = "a key is a list or a mapping, expected a word"
                self.problems.append(self._problem(key.line, message))
            elif key.text == "<<" and not key.quoted:
                merged += self._merged(key, value)
            elif key.text in own:
                first = own[key.text][0].line
                message = f"the key '{key.text}' is written twice, first on line {first}"
                hint = "keep one of the two"
                self.problems.append(self._problem(key.line, f"{message}, expected once", hint))
            else:
                own[key.text] = (key, value)
        inherited = chain.from_iterable(table.entries.items() for table in reversed(merged))
        size = 1 + sum(node.size for node in flat)
        return Table({**dict(inherited), **own}, line, size)

    def _merged(self, key: Scalar, value: Node) -> list[Table]:
        values = value.items if isinstance(value, Items) else (value,)
        tables = [table for table in values if isinstance(table, Table)]
        if len(tables) < len(values):
            message = "'<<' merges something that is no mapping, expected an alias of a mapping"
            self.problems.append(self._problem(key.line, message))
        return tables
