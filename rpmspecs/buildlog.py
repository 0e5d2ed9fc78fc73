"""The lines of a build.log that say why a build failed."""

import re
from collections.abc import Sequence

MOST = 15
"""How many lines an error quotes at most."""

ENDED = re.compile(r"^error: Bad exit status from ")
SAID_BY_RPM = re.compile(r"^(error: |RPM build errors:|\s+(Bad exit status|.* is needed by ))")


def failing_lines(text: str) -> Sequence[str]:
    """What was said just before rpmbuild gave up, and what it gave up for."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    for number, line in enumerate(lines):
        if ENDED.match(line):
            return tuple(lines[max(0, number - MOST + 1) : number + 1])
    errors = [line for line in lines if SAID_BY_RPM.match(line)]
    return tuple((errors or lines)[-MOST:])
