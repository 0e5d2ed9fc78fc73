"""How far a build has come, read from its log, and how long each phase usually takes."""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path


class Phase(Enum):
    """The phases of a build, in their order."""

    WAITING = "waiting"
    ASKING = "asking repositories"
    ROOT = "first root"
    PACKAGES = "packages"
    DISK = "disk"
    PACKING = "packing"
    VERIFYING = "verifying"
    PROVING = "boot proof"
    BUILT = "built"
    FAILED = "failed"
    STOPPED = "stopped"


ENDINGS = (Phase.BUILT, Phase.FAILED, Phase.STOPPED)

PACKING_MARK = "rackseed: the disk is packed"

MARKS: tuple[tuple[re.Pattern[str], Phase], ...] = (
    (re.compile(r"Running hooks from \S+/hooks/root\.d"), Phase.ROOT),
    (re.compile(r"Running \S*in_target\.d/pre-install\.d/"), Phase.PACKAGES),
    (re.compile(r"Running hooks from \S+/hooks/post-root\.d|Calculating image size"), Phase.DISK),
    (re.compile(re.escape(PACKING_MARK)), Phase.PACKING),
)
"""What diskimage-builder prints when a phase begins."""


@dataclass(frozen=True, slots=True)
class Event:
    """A build came to a phase."""

    name: str
    phase: Phase
    typical: float | None = None
    """Seconds that this phase took the last time, if it was seen before."""
    skipped: str = ""
    """What was kept from an earlier build: `system`, `base` or nothing."""
    error: Exception | None = None
    seconds: float = 0.0
    """Since the build began."""


class Follower:
    """Reads a growing log and tells the phases that begin in it."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._offset = 0
        self._last: Phase | None = None

    def read(self) -> list[Phase]:
        """The phases that began since the last call."""
        with suppress(OSError), self._log.open("rb") as file:
            file.seek(self._offset)
            new = file.read()
            whole = new.rfind(b"\n") + 1
            self._offset += whole
            found = []
            for line in new[:whole].decode("utf-8", errors="replace").splitlines():
                phase = phase_of(line)
                if phase and phase is not self._last:
                    self._last = phase
                    found.append(phase)
            return found
        return []


def phase_of(line: str) -> Phase | None:
    """The phase that a line of the log begins."""
    return next((phase for mark, phase in MARKS if mark.search(line)), None)


def read_times(path: Path) -> dict[str, dict[str, float]]:
    """Seconds of each phase at the last build, by `NAME` and `NAME+KEPT`."""
    with suppress(OSError, ValueError):
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
    return {}


def write_times(path: Path, key: str, seconds: Mapping[Phase, float]) -> None:
    """Remember how long the phases of a build took."""
    times = read_times(path) | {key: {p.value: round(s, 1) for p, s in seconds.items()}}
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(times, indent=1), encoding="utf-8")
    partial.replace(path)
