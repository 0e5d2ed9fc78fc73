"""An autoinstall file in its consumer's words: YAML, cloud-init's first line, a JSON schema."""

import json
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from kickstarts.validate import WHOLE, Finding, Script

FIRST_LINE = "#cloud-config"
"""cloud-init knows the file by it, and takes it for nothing without it."""

COMMANDS = ("early-commands", "late-commands", "error-commands")
SHELL = "/bin/sh"

Lines = dict[tuple[str | int, ...], int]
"""Where each value stands, by its path."""


@cache
def own_schema() -> Mapping[str, Any]:
    """The keys that our templates write, and no other."""
    text = (files("kickstarts") / "schemas" / "autoinstall.json").read_text(encoding="utf-8")
    schema: Mapping[str, Any] = json.loads(text)
    return schema


def scripts(text: str) -> tuple[Script, ...]:
    """The commands of a file that `validate` has nothing against."""
    lines: Lines = {}
    document = read(text, lines)
    match document:
        case {"autoinstall": dict() as asked}:
            return tuple(
                Script(key, lines["autoinstall", key, number], SHELL, command)
                for key in COMMANDS
                for number, command in enumerate(asked.get(key, ()))
                if isinstance(command, str)
            )
        case _:
            return ()


def packages(text: str) -> tuple[str, ...]:
    """What a file that `validate` has nothing against installs beside the system."""
    match read(text, {}):
        case {"autoinstall": {"packages": list() as names}}:
            return tuple(map(str, names))
        case _:
            return ()


def load_schema(path: Path) -> Mapping[str, Any]:
    """The installer's own schema, `autoinstall-schema.json`, where the operator has it."""
    schema: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return schema


def validate(text: str, schema: Mapping[str, Any] | None = None) -> Sequence[Finding]:
    """What the installer would not take, in the order of the lines; without a schema, by ours."""
    if not text.startswith(FIRST_LINE + "\n"):
        return [Finding(1, f"expected the first line {FIRST_LINE}")]
    lines: Lines = {}
    try:
        document = read(text, lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        return [Finding(mark.line + 1 if mark else WHOLE, str(error.problem))]
    match document:
        case {"autoinstall": dict() as asked, **others}:
            if others:
                place = lines[(str(next(iter(others))),)]
                return [Finding(place, "expected nothing beside autoinstall")]
        case _:
            return [Finding(WHOLE, "expected the key autoinstall")]
    found = Draft202012Validator(schema or own_schema()).iter_errors(asked)
    return sorted({finding for error in found for finding in _findings(error, lines)})


def read(text: str, lines: Lines) -> object:
    """The document as values; where each stands is written to `lines`.

    Raises yaml.MarkedYAMLError.
    """
    return _value(yaml.compose(text, Loader=yaml.SafeLoader), (), lines)


def _value(node: yaml.Node | None, path: tuple[str | int, ...], lines: Lines) -> object:
    """The values that JSON has too: what else YAML can make is text here."""
    if node is None:
        return None
    lines.setdefault(path, node.start_mark.line + 1)
    match node:
        case yaml.MappingNode():
            found: dict[str, object] = {}
            for key, value in node.value:
                if key.value in found:
                    raise yaml.MarkedYAMLError(
                        problem=f"{key.value} stands here twice", problem_mark=key.start_mark
                    )
                lines[(*path, key.value)] = key.start_mark.line + 1
                found[key.value] = _value(value, (*path, key.value), lines)
            return found
        case yaml.SequenceNode():
            return [_value(each, (*path, n), lines) for n, each in enumerate(node.value)]
        case _:
            return _scalar(node)


def _scalar(node: yaml.Node) -> object:
    match node.tag.rpartition(":")[2]:
        case "bool":
            return node.value.lower() in ("true", "yes", "on")
        case "int" if node.value.lstrip("-").isdigit():
            return int(node.value)
        case "null":
            return None
        case _:
            return node.value


def _findings(error: ValidationError, lines: Lines) -> Iterator[Finding]:
    path = ("autoinstall", *error.absolute_path)
    name = ".".join(map(str, path[1:])) or "autoinstall"
    match error.validator, error.schema, error.instance:
        case "additionalProperties", {"properties": dict() as known}, dict() as given:
            for key in map(str, given):
                if key not in known:
                    near = get_close_matches(key, known, 1)
                    hint = f", did you mean {near[0]}?" if near else ""
                    place = lines.get((*path, key), WHOLE)
                    yield Finding(place, f"{name}: the key {key} is unknown{hint}")
        case _:
            yield Finding(lines.get(path, WHOLE), f"{name}: {_words(error)}")


def _words(error: ValidationError) -> str:
    """The validator's own words begin with the value, which may be a secret."""
    shown = repr(error.instance)
    return error.message.replace(shown, "the value") if len(shown) > 2 else error.message
