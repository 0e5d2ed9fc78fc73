"""The lines of a build's log that say why it failed."""

import re
from pathlib import Path

TIMESTAMP = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ \| ")
WHY = re.compile(
    r"^(E: |tar: |ERROR|error:|fatal:|Error: )|No space left on device|command not found"
    r"|Failed to |dpkg: error|Unable to |cannot |mkfs\.|: No such file or directory"
    r"|: (?:Read-only file system|Permission denied|Operation not permitted|Input/output error)",
)
NOISE = re.compile(
    r"^\+|^(?:INFO|DEBUG) |Failed to (?:open|resolve) .*ignoring|cannot open shared object"
    r"|Can not write log"
)
FULL = "No space left on device"
LINES = 6
TAIL_BYTES = 1 << 18


def reasons(log: Path) -> list[str]:
    """The last lines that look like a reason, else the last lines."""
    lines = last_lines(log)
    found = [line for line in lines if WHY.search(line) and not NOISE.search(line)]
    return (found or lines)[-LINES:]


def is_full(log: Path) -> bool:
    """Whether a file system had no room left."""
    return any(FULL in line for line in last_lines(log))


def last_lines(log: Path) -> list[str]:
    """The end of a log without timestamps and empty lines."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - TAIL_BYTES))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return []
    lines = (TIMESTAMP.sub("", line).rstrip() for line in text.splitlines())
    return [line for line in lines if line]
