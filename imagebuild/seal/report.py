"""What a verification found, for people and for programs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from imagebuild.seal.row import Row, Severity

SCRIPT = "run the element rackseed-seal last, or seal.sh in the image"
FORMAT = 1
"""Of the JSON; raised when a reader must know."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A trace of a row of the table in an image."""

    row: Row
    path: str
    """Without a leading slash; empty where it is not about a file."""
    seen: str

    @property
    def mend(self) -> str:
        """What a person can do."""
        return self.row.mend or SCRIPT

    def __str__(self) -> str:
        where = f"/{self.path}: " if self.path else ""
        return f"{self.row.name}: {where}{self.seen}"


@dataclass(frozen=True, slots=True)
class SealReport:
    """Evidence that an image carries no identity, or where it does."""

    image: str
    """The file's name."""
    system: str
    findings: tuple[Finding, ...]
    verified: tuple[str, ...]
    """Names of the rows that were looked at."""
    unread: tuple[str, ...] = ()
    """Parts of the disk that could not be looked into."""
    sha256: str = ""
    """Of the file."""

    @property
    def sealed(self) -> bool:
        """Whether nothing was found, everywhere."""
        return not self.findings and not self.unread

    def of(self, severity: Severity) -> Sequence[Finding]:
        """The findings of one severity."""
        return [finding for finding in self.findings if finding.row.severity is severity]

    def as_json(self) -> Mapping[str, Any]:
        """What is written to IMAGE.seal.json."""
        return {
            "format": FORMAT,
            "image": self.image,
            "sha256": self.sha256,
            "system": self.system,
            "sealed": self.sealed,
            "findings": [
                {
                    "row": finding.row.name,
                    "severity": finding.row.severity.value,
                    "path": f"/{finding.path}" if finding.path else None,
                    "seen": finding.seen,
                    "why": finding.row.why,
                    "mend": finding.mend,
                }
                for finding in self.findings
            ],
            "unread": list(self.unread),
            "verified": list(self.verified),
        }
