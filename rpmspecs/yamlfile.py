"""A YAML file of known keys, read whole: every problem with its file, line and key.

Read from the composed nodes, never turned into objects: a scalar keeps the characters that a
person wrote (3.10 stays 3.10), and nothing is built from a tag.
"""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

import yaml

from rpmspecs.errors import BadInput

MAX_BYTES = 1 << 20
"""A file larger than this was not written by a person."""

E = TypeVar("E", bound=Enum)

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_FLAGS = {"true": True, "yes": True, "false": False, "no": False}


class Problems:
    """What is wrong with one file; raised together."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._found: list[tuple[int, str]] = []

    def add(self, node: yaml.Node | None, key: str, message: str) -> None:
        """Note one, at the line of a node."""
        line = node.start_mark.line + 1 if node is not None else 1
        where = f"{self.path}:{line}: {key}: " if key else f"{self.path}:{line}: "
        self._found.append((line, where + message))

    def raise_any(self) -> None:
        """Raises BadInput with one line for each problem, in the file's order."""
        if self._found:
            raise BadInput("\n".join(dict.fromkeys(text for _, text in sorted(self._found))))


class Section:
    """One mapping; its unknown keys are noted at once."""

    def __init__(
        self, node: yaml.Node, key: str, problems: Problems, known: Sequence[str] | None
    ) -> None:
        self.node = node
        self.key = key
        self._problems = problems
        self._entries: dict[str, yaml.Node] = {}
        if not isinstance(node, yaml.MappingNode):
            problems.add(node, key, f"found {describe(node)}, expected a mapping")
            return
        for name, value in node.value:
            text = name.value if isinstance(name, yaml.ScalarNode) else describe(name)
            if not isinstance(name, yaml.ScalarNode) or (known is not None and text not in known):
                problems.add(name, self.path(text), unknown("key", text, known or ()))
            elif text in self._entries:
                problems.add(name, self.path(text), "written twice, expected once")
            else:
                self._entries[text] = value

    def path(self, name: str) -> str:
        """The key path of one of our keys."""
        return ".".join(part for part in (self.key, name) if part)

    def wrong(self, name: str, message: str) -> None:
        """Note that the value of a key will not do."""
        self._problems.add(self._entries.get(name, self.node), self.path(name), message)

    def text(
        self, name: str, expected: str, default: str | None = None, form: str = r"\S.*"
    ) -> str:
        """One value that matches `form` whole; the empty text after a problem."""
        node = self._entries.get(name)
        if node is None:
            if default is None:
                self._problems.add(self.node, self.path(name), f"missing, expected {expected}")
            return default or ""
        return self._checked(node, self.path(name), expected, form)

    def texts(
        self, name: str, expected: str, default: Sequence[str] | None = (), form: str = r"\S.*"
    ) -> tuple[str, ...]:
        """A list of values, or one that stands for a list of one."""
        node = self._entries.get(name)
        if node is None:
            if default is None:
                self._problems.add(self.node, self.path(name), f"missing, expected {expected}")
            return tuple(default or ())
        items = node.value if isinstance(node, yaml.SequenceNode) else [node]
        return tuple(self._checked(item, self.path(name), expected, form) for item in items)

    def choice(self, name: str, kind: type[E], default: E | None = None) -> E | None:
        """One of an enumeration's values; None after a problem."""
        values = [str(member.value) for member in kind]
        if name not in self._entries and default is not None:
            return default
        text = self.text(name, f"one of {', '.join(values)}")
        if text in values:
            return kind(text)
        if text:
            self.wrong(name, unknown("value", text, values))
        return None

    def flag(self, name: str, *, default: bool) -> bool:
        """`true` or `false`."""
        if name not in self._entries:
            return default
        text = self.text(name, "true or false", form="(?i)true|false|yes|no")
        return _FLAGS.get(text.lower(), default)

    def pairs(self, name: str) -> Mapping[str, str]:
        """A mapping of words to values; the empty one when it is absent."""
        return {
            key: self._checked(value, self.path(f"{name}.{key}"), "one value", ".*")
            for key, value in self._below(name)
        }

    def sections(self, name: str, known: Sequence[str]) -> "Iterator[tuple[str, Section]]":
        """The mappings below a key whose own keys are names that people choose."""
        for key, value in self._below(name):
            yield key, Section(value, self.path(f"{name}.{key}"), self._problems, known)

    def _below(self, name: str) -> Iterator[tuple[str, yaml.Node]]:
        if name in self._entries:
            inner = Section(self._entries[name], self.path(name), self._problems, None)
            yield from inner._entries.items()

    def _checked(self, node: yaml.Node, key: str, expected: str, form: str) -> str:
        text = node.value if isinstance(node, yaml.ScalarNode) else None
        if text is not None and re.fullmatch(form, text):
            return str(text)
        self._problems.add(node, key, f"found {describe(node)}, expected {expected}")
        return ""


def read_yaml(path: Path, known: Sequence[str]) -> tuple[Section, Problems]:
    """The top of a file that holds one mapping of known keys.

    Raises BadInput when it cannot be read or is not YAML.
    """
    problems = Problems(path)
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise BadInput(f"{path}: cannot be read ({why}), expected a YAML file") from None
    if len(raw) > MAX_BYTES:
        raise BadInput(f"{path}: larger than {MAX_BYTES >> 20} MiB, expected a YAML file")
    try:
        node = yaml.compose(raw.decode("utf-8-sig"), Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise BadInput(f"{path}:{line}: not YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: not YAML: {str(error).splitlines()[0]}") from None
    if node is None:
        raise BadInput(f"{path}: the file is empty, expected the keys {', '.join(known)}")
    return Section(node, "", problems, known), problems


def describe(node: yaml.Node) -> str:
    """What was found, in words."""
    match node:
        case yaml.MappingNode():
            return "a mapping"
        case yaml.SequenceNode():
            return "a list"
        case _:
            return repr(node.value) if node.value else "nothing"


def unknown(what: str, word: str, known: Sequence[str]) -> str:
    """The sentence about a word that means nothing here, with the nearest that does."""
    near = difflib.get_close_matches(word.lower(), known, n=1)
    if near:
        return f"unknown {what} {word!r}, did you mean {near[0]!r}?"
    return f"unknown {what} {word!r}, expected one of {', '.join(known)}"
