"""clouds.yaml looked through before OpenStack's libraries read it: they skip what is no YAML.

Nothing of its text is quoted, for passwords lie in it.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import yaml

from imagebuild.errors import BadInput


def check_clouds(places: Sequence[Path], cloud: str | None) -> Sequence[str]:
    """Look through the file that counts, the first that is there; returns the clouds in it.

    Raises BadInput.
    """
    for place in places:
        try:
            text = place.read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            continue  # as OpenStack's libraries do
        except (OSError, UnicodeDecodeError) as error:
            raise BadInput(f"{place}: cannot be read as text: {type(error).__name__}") from None
        if place.suffix == ".json":
            return _check_json(place, text)
        return _check_yaml(place, text, cloud)
    return ()


def _check_yaml(place: Path, text: str, cloud: str | None) -> Sequence[str]:
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise BadInput(f"{place}{line}: not YAML from here on, look at this line") from None
    except yaml.YAMLError:
        raise BadInput(f"{place}: not YAML: a character that no text has") from None
    clouds = _entry(place, node, "the file", "clouds")
    if cloud is None:
        return ()
    if clouds is None:
        raise BadInput(f"{place}: has no key clouds, expected the clouds below it")
    entry = _entry(place, clouds, "clouds", cloud)
    login = _entry(place, entry, f"clouds: {cloud}", "auth") if entry is not None else None
    url = _entry(place, login, f"auth of {cloud}", "auth_url") if login is not None else None
    if url is not None and not re.match(r"https?://[^/]", str(url.value)):
        at = url.start_mark.line + 1
        raise BadInput(f"{place}:{at}: auth_url of {cloud}: expected http://… or https://…")
    return [str(name.value) for name, _ in clouds.value]


def _check_json(place: Path, text: str) -> Sequence[str]:
    """YAML has rules for tabs that JSON has not."""
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise BadInput(f"{place}:{error.lineno}: not JSON from here on") from None
    clouds = found.get("clouds") if isinstance(found, dict) else None
    return list(clouds) if isinstance(clouds, dict) else ()


def _entry(place: Path, node: yaml.Node | None, what: str, key: str) -> yaml.Node | None:
    """The value of a key, or none."""
    if not isinstance(node, yaml.MappingNode):
        line = f":{node.start_mark.line + 1}" if node is not None else ""
        raise BadInput(f"{place}{line}: {what} has no keys and values, expected a mapping")
    found = (value for name, value in node.value if name.value == key)
    return next(found, None)
