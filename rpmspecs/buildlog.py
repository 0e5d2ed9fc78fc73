"""The lines of a log that say why a build failed."""

import re
from collections.abc import Iterable, Iterator, Sequence

MOST = 20
"""How many lines an error quotes at most."""

FIRST = 8
"""How many of them come from the beginning, where the cause often stands."""

LAST_OF_COMMAND = 10
"""How many of the failing command's last lines are quoted."""

ENDED = re.compile(r"error: Bad exit status from \S+ \(%\w+\)")
COMMAND = re.compile(r"\++ \S")
"""`sh -x` writes each command so before it runs."""

SUMMARY = re.compile(r"RPM build (errors|warnings):$")
"""Below it, indented, each run of rpmbuild says everything once more."""

TELLING: tuple[re.Pattern[str], ...] = tuple(
    re.compile(pattern)
    for pattern in (
        r"error: (?!Bad exit status)",  # rpm: its block of indented lines follows
        r"line \d+: ",  # rpm, whose "error: " mock may have put before another line
        r"\S+:\d+(:\d+)?: (fatal )?error: ",  # compilers
        r"\S+:\d+: undefined reference to |.*ld: cannot find ",
        r"\S*make(\[\d+\])?: \*\*\* ",
        r"CMake Error|configure: error: |meson\.build:\d+:\d+: ERROR: ",
        r"\S+: (line )?\d+: .*: (command )?not found$",
        r"\w*(Error|Exception)\b.*: ",  # the last line of a Python traceback
        r"ERROR: |E: |FAILED(\s|:)|FAIL: ",
        r"\d+ out of \d+ hunks? (FAILED|failed)",
        r"No matching package to install: |Error: Unable to find a match|Not all dependencies ",
        r"\s*(- )?nothing provides |\s*(Problem( \d+)?: )|No match for argument: ",
        r".*No space left on device",
    )
)
"""Lines that tell a cause wherever they stand."""


def failing_lines(text: str) -> Sequence[str]:
    """The lines of build.log or root.log that matter, in their order, at most `MOST`."""
    lines = list(_said_once(line.rstrip() for line in text.splitlines() if line.strip()))
    wanted = sorted(set(_telling(lines)) | set(_last_command(lines)))
    found = list(dict.fromkeys(lines[n] for n in wanted)) or lines[-LAST_OF_COMMAND:]
    if len(found) > MOST:
        return (*found[:FIRST], *found[FIRST - MOST :])
    return tuple(found)


def _said_once(lines: Iterable[str]) -> Iterator[str]:
    """All but the summaries."""
    inside = False
    for line in lines:
        inside = bool(SUMMARY.match(line)) or (inside and line[0].isspace())
        if not inside:
            yield line


def _telling(lines: Sequence[str]) -> Iterator[int]:
    """Each telling line and what is indented below it."""
    inside = False
    for number, line in enumerate(lines):
        if any(pattern.match(line) for pattern in TELLING):
            inside = line.startswith("error: ")
            yield number
        elif inside and line[0].isspace():
            yield number
        else:
            inside = False


def _last_command(lines: Sequence[str]) -> Iterator[int]:
    """The command after which a section of the spec ended, its last words, and the section."""
    end = next((n for n, line in enumerate(lines) if ENDED.match(line)), None)
    if end is None:
        return
    command = max((n for n in range(end) if COMMAND.match(lines[n])), default=end)
    yield command
    yield from range(max(command, end - LAST_OF_COMMAND), end + 1)
