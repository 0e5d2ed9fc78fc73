"""Reading mappings of known keys, with every mistake noted and none of them final."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from provision.inventory.document import Items, Node, Scalar, Table
from provision.inventory.model import Place
from provision.inventory.problems import Problem, nearest
from provision.inventory.values import Mismatch

T = TypeVar("T")
Read = Callable[[str], T]

SHOWN = 60
"""Longest piece of a wrong value that a problem quotes."""


class Findings:
    """All problems so far, and the line of every key that was read."""

    def __init__(self, path: Path, problems: Iterable[Problem] = ()) -> None:
        self.path = path
        self._problems = dict.fromkeys(problems)
        self.lines: dict[str, int] = {}

    def add(self, key: str, message: str, hint: str | None = None, line: int | None = None) -> None:
        """Note a problem; its line is that of the key, or of the nearest key above it."""
        near = key
        while line is None:
            line = self.lines.get(near) if near else 1
            near = near.rpartition(".")[0]
        self._problems[Problem(Place(self.path, line), key, message, hint)] = None

    @property
    def problems(self) -> list[Problem]:
        """Each problem once."""
        return list(self._problems)

    def place(self, key: str) -> Place:
        """Where a key stands."""
        return Place(self.path, self.lines[key])


def quote(text: str) -> str:
    """A wrong value as a problem shows it, without a password that a URL carries."""
    text = re.sub(r"://[^/\s]*@", "://***@", text)
    return repr(text if len(text) <= SHOWN else f"{text[:SHOWN]}...")


def describe(node: Node) -> str:
    """What was found, in words."""
    match node:
        case Table():
            return "a mapping"
        case Items():
            return "a list"
        case Scalar() if node.is_null:
            return "nothing"
        case Scalar():
            return quote(node.text)


class Section:
    """One mapping; its unknown keys are noted at once, its values when they are asked for."""

    def __init__(
        self, table: Table, key: str, found: Findings, known: Sequence[str] | None
    ) -> None:
        self.key = key
        self.found = found
        self._whole = table
        self._entries = dict(table.entries)
        for name, (scalar, _) in table.entries.items():
            if known is None or name in known:
                found.lines[self.path(name)] = scalar.line
            else:
                message = f"unknown key {quote(name)}, expected one of {', '.join(known)}"
                near = nearest(name, known)
                hint = f"did you mean '{near}'?" if near else None
                found.add(self.path(name), message, hint, scalar.line)

    def path(self, name: str) -> str:
        """The key path of one of our keys."""
        return f"{self.key}.{name}" if self.key else name

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def node(self, name: str) -> Node | None:
        """What stands behind a key."""
        return self._entries[name][1] if name in self._entries else None

    def require(self, name: str, example: str) -> bool:
        """Whether a key is there; notes a problem when it is not."""
        if name not in self._entries:
            self.found.add(self.key, f"the key '{name}' is missing", f"add  {name}: {example}")
        return name in self._entries

    def value(self, name: str, read: Read[T]) -> T | None:
        """One scalar; None when it is absent or wrong."""
        node = self.node(name)
        return None if node is None else read_scalar(node, self.path(name), self.found, read)

    def values(self, name: str, read: Read[T]) -> tuple[T, ...] | None:
        """A list of scalars; a single scalar counts as a list of one."""
        node = self.node(name)
        if node is None:
            return None
        items = node.items if isinstance(node, Items) else (node,)
        path = self.path(name)
        read_ones = [
            read_scalar(
                item, f"{path}[{index}]" if isinstance(node, Items) else path, self.found, read
            )
            for index, item in enumerate(items)
        ]
        return tuple(value for value in read_ones if value is not None)

    def section(self, name: str, known: Sequence[str]) -> "Section | None":
        """A mapping below this one."""
        table = self._table(name)
        return None if table is None else Section(table, self.path(name), self.found, known)

    def named(
        self, name: str, known: Sequence[str] | None, read: Read[str]
    ) -> "Iterator[NamedSection]":
        """The mappings below a key whose own keys are names that people choose."""
        table = self._table(name)
        if table is not None:
            yield from _named_sections(table, self.path(name), self.found, known, read)

    def pairs(
        self, name: str, read_key: Read[str], read: Read[str]
    ) -> tuple[tuple[str, str], ...] | None:
        """A mapping of scalars by names that its reader cannot list."""
        table = self._table(name)
        if table is None:
            return None
        section = Section(table, self.path(name), self.found, None)
        pairs = [
            (read_scalar(scalar, section.path(key), self.found, read_key), section.value(key, read))
            for key, (scalar, _) in table.entries.items()
        ]
        return tuple((key, value) for key, value in pairs if key is not None and value is not None)

    def tables(self, name: str, known: Sequence[str]) -> "list[Section]":
        """A list of mappings below this one."""
        node = self.node(name)
        if node is None:
            return []
        if not isinstance(node, Items):
            self.found.add(self.path(name), f"found {describe(node)}, expected a list of mappings")
            return []
        sections = []
        for index, item in enumerate(node.items):
            path = f"{self.path(name)}[{index}]"
            self.found.lines[path] = item.line
            if isinstance(item, Table):
                sections.append(Section(item, path, self.found, known))
            else:
                self.found.add(path, f"found {describe(item)}, expected a mapping")
        return sections

    def _table(self, name: str) -> Table | None:
        node = self.node(name)
        if node is None or isinstance(node, Table):
            return node
        self.found.add(self.path(name), f"found {describe(node)}, expected a mapping")
        return None


class NamedSection(Section):
    """A mapping below a name that a person chose."""

    def __init__(
        self, name: str, table: Table, key: str, found: Findings, known: Sequence[str] | None
    ) -> None:
        super().__init__(table, key, found, known)
        self.name = name

    def children(self, known: Sequence[str], read: Read[str]) -> "Iterator[NamedSection]":
        """The mappings in this one, when its keys are themselves names."""
        return _named_sections(self._whole, self.key, self.found, known, read)


def _named_sections(
    table: Table, key: str, found: Findings, known: Sequence[str] | None, read: Read[str]
) -> Iterator[NamedSection]:
    for chosen, (scalar, node) in table.entries.items():
        path = f"{key}.{chosen}"
        found.lines[path] = scalar.line
        valid = read_scalar(scalar, path, found, read)
        if not isinstance(node, Table):
            expected = f"a mapping of {', '.join(known)}" if known else "a mapping"
            found.add(path, f"found {describe(node)}, expected {expected}")
        elif valid is not None:
            yield NamedSection(valid, node, path, found, known)


def read_scalar(node: Node, key: str, found: Findings, read: Read[T]) -> T | None:
    """One value by its reader; None after a problem was noted."""
    text = node.text if isinstance(node, Scalar) and not node.is_null else None
    try:
        # A reader given the empty text says what it expects.
        value = read(text or "")
    except Mismatch as mismatch:
        shown = "something else" if text and mismatch.secret else describe(node)
        found.add(key, f"found {shown}, expected {mismatch.expected}", mismatch.hint, node.line)
        return None
    if text is None:
        found.add(key, f"found {describe(node)}, expected a value", None, node.line)
        return None
    return value
