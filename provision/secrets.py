"""The file of secrets: what services of the cloud know each other by."""

import secrets
from collections.abc import Collection, Mapping
from pathlib import Path

from kickstarts.errors import BadValue
from kickstarts.values import Secret, check
from provision.errors import AnswerError
from provision.inventory.document import Scalar, Table, read_document
from provision.inventory.problems import InventoryInvalid

RANDOM_BYTES = 32


def read_secrets(path: Path) -> Mapping[str, Secret]:
    """Every `NAME: value` of the file.

    Raises AnswerError, which never quotes a value.
    """
    try:
        node, problems = read_document(path)
    except InventoryInvalid as error:
        problems, node = list(error.problems), None
    if problems or not isinstance(node, Table):
        line = f":{problems[0].place.line}" if problems else ""
        raise AnswerError(f"{path}{line}: not YAML of lines  NAME: value")
    found = {}
    for name, (scalar, value) in node.entries.items():
        try:
            check("variable", "name", name)
            text = value.text if isinstance(value, Scalar) else ""
            check("password", name, text)
        except BadValue as error:
            raise AnswerError(f"{path}:{scalar.line}: {error}") from None
        found[name] = Secret(text)
    return found


def missing(path: Path, wanted: Collection[str]) -> list[str]:
    """Which of these the file lacks; all of them when it is empty.

    Raises AnswerError.
    """
    known = read_secrets(path) if path.read_text(encoding="utf-8").strip() else {}
    return [name for name in dict.fromkeys(wanted) if name not in known]


def make(names: Collection[str]) -> str:
    """Lines for a file of secrets with a new random value each."""
    return "".join(f"{name}: {secrets.token_urlsafe(RANDOM_BYTES)}\n" for name in names)
