"""Real `build-image` processes, and what they may have left on this machine."""

import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from imagebuild.build import Built
from imagebuild.loops import attached
from imagebuild.phases import Phase
from imagebuild.plan import Settings
from imagebuild.workshop import MEMORY, RUNNING, WORK_PREFIX

LOOPS = frozenset(attached())
"""Of this machine, before any test."""


@dataclass(frozen=True)
class Again:
    """A second build of the same, and the phases that it came to."""

    built: Built
    came: tuple[Phase, ...]


def build_image(settings: Settings, *words: str) -> Sequence[str]:
    """The command as a person types it; it hears Ctrl-C also where tests run in the background."""
    return [
        *("env", "--default-signal=INT", sys.executable),
        *("-c", "from provision.cli.image.main import main; main()", *words),
        *("--output", str(settings.output), "--cache", str(settings.cache)),
        *("--source-date-epoch", str(settings.epoch)),
    ]


def traces(cache: Path, output: Path, builder: int) -> list[str]:
    """What the builds of one process, which ended, left on this machine."""
    own = (f"{MEMORY}/{builder}-", f"{cache / RUNNING}/{builder}-", WORK_PREFIX)
    lines = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    lines += [f"{device} {name}" for device, name in set(attached()) - LOOPS]
    lines += [str(path) for path in (*MEMORY.glob("*"), *(cache / RUNNING).glob("*"))]
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (entry / "cmdline").read_bytes().decode(errors="replace")
            lines.append(words.replace("\0", " "))
    found = [line for line in lines if any(word in line for word in own)]
    return found + [str(path) for path in output.glob(".*.partial")]
