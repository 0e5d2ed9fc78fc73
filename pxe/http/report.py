"""What a booted machine may post: JSON with a kind, a message and data, checked by hand."""

import json
from collections.abc import Mapping
from typing import Any, Final, NoReturn
from urllib.parse import parse_qsl

from pxe.errors import DecodeError
from pxe.site import Report, ReportKind

BODY_LIMIT: Final = 1 << 20
"""Bytes of one report; an inspection of a big machine is about 20 KiB."""
MESSAGE_LIMIT: Final = 4096
"""Characters of one message."""
_KEYS: Final = frozenset({"kind", "message", "data"})
_EVENT_KEYS: Final = frozenset(
    {"name", "description", "event_type", "origin", "timestamp", "level", "result", "files"}
)
"""Of an event of curtin's webhook reporter, which Ubuntu's installer posts for each step."""
_FORM_KEYS: Final = frozenset(
    {"pub_key_rsa", "pub_key_ecdsa", "pub_key_ed25519", "instance_id", "hostname", "fqdn"}
)
"""Of the form that cloud-init's module phone_home posts at the end of a first boot."""
_ABSENT: Final = "N/A"
"""How that module says that there is none."""
_FORM_STARTS: Final = tuple(f"{key}=".encode() for key in _FORM_KEYS)
_DESCRIPTION_LIMIT: Final = 100
"""Characters. What is longer is the text of a command, which may hold secrets."""


def decode_report(body: bytes) -> Report:
    """Read a posted report.

    Raises DecodeError with one sentence for the machine that posted it.
    """
    if body.startswith(_FORM_STARTS):
        return _phone_home(body)
    document = _object(body)
    if "event_type" in document:
        return _event(document)
    if unknown := sorted(document.keys() - _KEYS):
        raise DecodeError(f"unknown key {unknown[0]!r}, expected kind, message and data")
    return Report(_kind(document), _message(document), _data(document))


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(body, parse_constant=_refuse_constant)
        # What cannot be written again cannot be stored: lone surrogates, infinities.
        json.dumps(document, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        raise DecodeError("the body is not JSON, expected an object in UTF-8") from None
    if not isinstance(document, dict):
        raise DecodeError("the body is not a JSON object")
    if _holds_nul(document):
        raise DecodeError("a string holds a NUL character, which no database takes")
    return document


def _event(document: Mapping[str, Any]) -> Report:
    """An installer's step that begins or ends; that it all ended is told by a report of ours."""
    if unknown := sorted(document.keys() - _EVENT_KEYS):
        raise DecodeError(f"unknown key {unknown[0]!r}, expected an event of curtin's webhook")
    words = [document[key] for key in ("event_type", "name", "result") if key in document]
    description = document.get("description", "")
    if not all(isinstance(word, str) for word in (*words, description)):
        raise DecodeError("event_type, name, result and description are strings")
    message = " ".join(words)
    if description.isprintable() and 0 < len(description) <= _DESCRIPTION_LIMIT:
        message += f": {description}"
    return Report(ReportKind.PROGRESS, message[:MESSAGE_LIMIT])


def _phone_home(body: bytes) -> Report:
    """An installed system that is up, with its new SSH host keys."""
    try:
        pairs = dict(
            parse_qsl(
                body.decode("ascii"),
                max_num_fields=len(_FORM_KEYS),
                keep_blank_values=True,
                strict_parsing=True,
            )
        )
    except ValueError:
        raise DecodeError("the body is not a form of cloud-init's phone_home") from None
    if unknown := sorted(pairs.keys() - _FORM_KEYS):
        raise DecodeError(f"unknown field {unknown[0]!r}, expected those of phone_home")
    if not all(value.strip().isprintable() for value in pairs.values()):
        raise DecodeError("a field of phone_home holds control characters")
    data = {key: value.strip() for key, value in pairs.items() if value != _ABSENT}
    return Report(ReportKind.INSTALLED, "cloud-init has finished", data)


def _kind(document: Mapping[str, Any]) -> ReportKind:
    try:
        return ReportKind(document.get("kind"))
    except ValueError:
        kinds = ", ".join(kind.value for kind in ReportKind)
        raise DecodeError(f"kind is missing or unknown, expected one of {kinds}") from None


def _message(document: Mapping[str, Any]) -> str:
    message = document.get("message", "")
    if not isinstance(message, str) or len(message) > MESSAGE_LIMIT:
        raise DecodeError(f"message is not a string of at most {MESSAGE_LIMIT} characters")
    return message


def _data(document: Mapping[str, Any]) -> Mapping[str, Any]:
    data = document.get("data", {})
    if not isinstance(data, dict):
        raise DecodeError("data is not a JSON object")
    return data


def _holds_nul(value: object) -> bool:
    match value:
        case str():
            return "\0" in value
        case dict():
            return any(_holds_nul(key) or _holds_nul(item) for key, item in value.items())
        case list():
            return any(_holds_nul(item) for item in value)
        case _:
            return False


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
