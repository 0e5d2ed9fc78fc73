"""Where an image comes from: an in-toto statement with SLSA's provenance.

The shapes are those of https://in-toto.io/Statement/v1 and https://slsa.dev/provenance/v1; it is
written unsigned.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "https://rackseed.example.org/image/v1"
"""Names the meaning of the parameters; nothing is fetched from there."""
CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Source:
    """Something that went in from outside."""

    uri: str
    """An address without user and password, or a file's name."""
    sha256: str = ""
    state: str = ""
    """Of a mirror: changes when one of its packages does, and names what builds keep."""

    def descriptor(self) -> dict[str, Any]:
        """In SLSA's words."""
        return {
            "uri": self.uri,
            **({"digest": {"sha256": self.sha256}} if self.sha256 else {}),
            **({"annotations": {"state": self.state}} if self.state else {}),
        }


@dataclass(frozen=True, slots=True)
class Making:
    """How an image was made."""

    recipe: str
    """Its name."""
    parameters: Mapping[str, Any]
    """What a person wrote or chose, without secrets."""
    begun: datetime
    ended: datetime
    elements: Mapping[str, str] = field(default_factory=dict)
    """Name to digest of all its files."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Of the programs that built."""
    sources: Sequence[Source] = ()
    layer: str = ""
    """What an earlier build had made and this one took: kind, key, state of its mirrors."""


def provenance(name: str, digests: Mapping[str, str], making: Making) -> str:
    """The statement about one image file, as JSON text."""
    inputs = [source.descriptor() for source in making.sources]
    elements = [
        {"name": element, "uri": f"element:{element}", "digest": {"sha256": digest}}
        for element, digest in sorted(making.elements.items())
    ]
    statement = {
        "_type": STATEMENT,
        "subject": [{"name": name, "digest": dict(digests)}],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {"recipe": making.recipe, **making.parameters},
                "internalParameters": {"layer": making.layer} if making.layer else {},
                "resolvedDependencies": [*elements, *inputs],
            },
            "runDetails": {
                "builder": {"id": "rackseed", "version": dict(sorted(making.versions.items()))},
                "metadata": {
                    "startedOn": _moment(making.begun),
                    "finishedOn": _moment(making.ended),
                },
            },
        },
    }
    return json.dumps(statement, indent=2) + "\n"


def digest_folder(folder: Path) -> str:
    """One digest of all files below a folder: names, contents, and whether they are programs."""
    whole = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            runs = path.stat().st_mode & 0o111 != 0
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            whole.update(f"{path.relative_to(folder)}\0{runs}\0{content}\n".encode())
    return whole.hexdigest()


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
