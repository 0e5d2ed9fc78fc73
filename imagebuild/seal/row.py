"""A row of the seal table."""

from dataclasses import dataclass
from enum import Enum

from imagebuild.seal.rules import Rule


class Severity(Enum):
    """What a trace would do to people who boot the image; each fails the seal."""

    SECRET = "secret"
    """Opens a door: a key, a password, a token."""
    IDENTITY = "identity"
    """Makes two machines look like one."""
    LEFTOVER = "leftover"
    """Tells of the builder, takes room, or changes how the machine behaves."""


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of identity or leftover."""

    name: str
    severity: Severity
    what: str
    """A noun in plain words."""
    why: str
    """What goes wrong with it in an image."""
    source: str
    """Where that is written; a manual page, a project's documentation."""
    rules: tuple[Rule, ...]
    mend: str = ""
    """Only where `seal.sh` cannot do it."""
