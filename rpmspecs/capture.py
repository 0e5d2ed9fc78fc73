"""Running a short program and reading what it said, whatever its status."""

import shutil
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rpmspecs.errors import Stopped, ToolMissing
from rpmspecs.running import Child, Start

TICK = 0.2
"""Seconds after which a running program looks whether it should end."""

PACKAGES: Mapping[str, str] = {
    "rpmspec": "rpm on Debian, rpm-build on Fedora",
    "createrepo_c": "createrepo-c on Debian, createrepo_c on Fedora",
    "uv": "uv of Fedora and of PyPI (pip install uv)",
}
"""Programs that more than one module starts, and the package that has each."""


@dataclass(frozen=True, slots=True)
class Said:
    """How a program ended and what it wrote."""

    status: int
    out: str
    err: str


def capture(
    start: Start,
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    timeout: float = 600,
    stopping: threading.Event | None = None,
) -> Said:
    """Run a program to its end; `timeout` is in seconds.

    Raises ToolMissing, TimeoutError, and Stopped soon after `stopping` is set.
    """
    if shutil.which(argv[0]) is None:
        package = PACKAGES.get(argv[0], argv[0])
        raise ToolMissing(f"{argv[0]} is not installed; it is in the package {package}")
    with tempfile.TemporaryDirectory(prefix="rackseed-") as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        child = start(argv, env=env, stdout=out, stderr=err)
        try:
            status = child.wait(timeout) if stopping is None else _wait(child, timeout, stopping)
        finally:
            child.stop()
        return Said(status, _read(out), _read(err))


def _wait(child: Child, timeout: float, stopping: threading.Event) -> int:
    deadline = time.monotonic() + timeout
    while True:
        try:
            return child.wait(TICK)
        except TimeoutError:
            if stopping.is_set():
                raise Stopped("stopped") from None
            if time.monotonic() >= deadline:
                raise


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
