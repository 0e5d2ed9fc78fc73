"""Recipe files as they are written: composed YAML nodes, every problem with its line and key.

A scalar keeps the characters that a person wrote (22.04 stays 22.04); nothing is built from tags.
"""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from imagebuild.errors import BadInput

MAX_BYTES = 1 << 20
"""A file larger than this was not written by a person."""

MOST_WORDS = 20
"""How many known words an error names; nobody reads more."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Fields:
    """The top of a file: one mapping of known keys; what is wrong is kept until `finish`.

    Raises BadInput when it is no mapping.
    """

    def __init__(self, path: Path, node: yaml.Node, known: Sequence[str]) -> None:
        self.path = path
        self._found: list[tuple[int, str]] = []
        self._entries: dict[str, yaml.Node] = {}
        if not isinstance(node, yaml.MappingNode):
            line = node.start_mark.line + 1
            raise BadInput(f"{path}:{line}: found {describe(node)}, expected a mapping of keys")
        for name, value in node.value:
            key = name.value if isinstance(name, yaml.ScalarNode) else describe(name)
            if key not in known:
                self._add(name, str(key), unknown("key", str(key), known))
            elif key in self._entries:
                self._add(name, str(key), "written twice, expected once")
            else:
                self._entries[str(key)] = value

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    def wrong(self, key: str, message: str) -> None:
        """Note that the value of a key will not do."""
        self._add(self._entries.get(key), key, message)

    def line(self, key: str) -> int:
        """Where a key's value stands."""
        node = self._entries.get(key)
        return node.start_mark.line + 1 if node else 1

    def item_lines(self, key: str) -> Mapping[str, int]:
        """Where each word of a list stands."""
        node = self._entries.get(key)
        items = node.value if isinstance(node, yaml.SequenceNode) else [node] if node else []
        return {str(item.value): item.start_mark.line + 1 for item in items}

    def text(self, key: str, expected: str, form: str = r"\S.*") -> str | None:
        """One value that matches `form` whole; None when absent or wrong."""
        node = self._entries.get(key)
        return None if node is None else self._checked(node, key, expected, form)

    def choice(self, key: str, values: Sequence[str]) -> str | None:
        """One of `values`; None when absent or wrong."""
        text = self.text(key, f"one of {', '.join(values)}")
        if text is not None and text not in values:
            self.wrong(key, unknown("value", text, values))
            return None
        return text

    def texts(self, key: str, expected: str, form: str = r"\S.*") -> tuple[str, ...]:
        """A list of values, or one that stands for a list of one."""
        node = self._entries.get(key)
        if node is None:
            return ()
        items = node.value if isinstance(node, yaml.SequenceNode) else [node]
        found = (self._checked(item, key, expected, form) for item in items)
        return tuple(item for item in found if item is not None)

    def pairs(self, key: str, expected: str, form: str) -> Mapping[str, str]:
        """A mapping of words that match `form` to values of one line."""
        node = self._entries.get(key)
        if node is None:
            return {}
        if not isinstance(node, yaml.MappingNode):
            self._add(node, key, f"found {describe(node)}, expected a mapping")
            return {}
        return dict(self._pairs(node, key, expected, form))

    def finish(self) -> None:
        """Raises BadInput with every problem, in the file's order."""
        if self._found:
            raise BadInput("\n".join(dict.fromkeys(text for _, text in sorted(self._found))))

    def _pairs(
        self, node: yaml.MappingNode, key: str, expected: str, form: str
    ) -> Iterator[tuple[str, str]]:
        for name, value in node.value:
            word = self._checked(name, key, expected, form)
            if word is None:
                continue
            text = self._checked(value, f"{key}.{word}", "one value on one line", ".*")
            if text is not None:
                yield word, text

    def _checked(self, node: yaml.Node, key: str, expected: str, form: str) -> str | None:
        text = node.value if isinstance(node, yaml.ScalarNode) else None
        if text is not None and re.fullmatch(form, text):
            return str(text)
        self._add(node, key, f"found {describe(node)}, expected {expected}")
        return None

    def _add(self, node: yaml.Node | None, key: str, message: str) -> None:
        line = node.start_mark.line + 1 if node is not None else 1
        where = f"{self.path}:{line}: {key}: " if key else f"{self.path}:{line}: "
        self._found.append((line, where + message))


def read_fields(path: Path, known: Sequence[str]) -> Fields:
    """The keys of a YAML file. Raises BadInput when it cannot be read or is not YAML."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise BadInput(f"{path}: cannot be read ({why}), expected a recipe in YAML") from None
    if len(raw) > MAX_BYTES:
        raise BadInput(f"{path}: larger than {MAX_BYTES >> 20} MiB, expected a recipe in YAML")
    try:
        node = yaml.compose(raw.decode("utf-8-sig"), Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise BadInput(f"{path}:{line}: not YAML: {error.problem or error.context}") from None
    except UnicodeDecodeError:
        raise BadInput(f"{path}: is not text in UTF-8, expected a recipe in YAML") from None
    except yaml.YAMLError as error:
        raise BadInput(f"{path}: not YAML: {str(error).splitlines()[0]}") from None
    if node is None:
        raise BadInput(f"{path}: the file is empty, expected the keys {', '.join(known)}")
    return Fields(path, node, known)


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
    if len(known) > MOST_WORDS:
        return f"unknown {what} {word!r}, expected one that is known"
    return f"unknown {what} {word!r}, expected one of {', '.join(known)}"
