"""Starts `rackseed simulate` for tests, and looks for what it may have left behind."""

import os
import subprocess
import time
from pathlib import Path

from provision.simulation.server import own_environment, rackseed_argv
from tests.tools import require_tool

EXAMPLE = Path(__file__).parent.parent / "examples/rack.yaml"
LIMIT = 800
"""Seconds that a whole rehearsal may take on two slow cores."""


def require_simulator() -> None:
    """All that a rehearsal of the example needs."""
    require_tool("qemu-system-x86_64", package="qemu-system-x86")
    require_tool("unshare", package="util-linux")


def environment(folder: Path) -> dict[str, str]:
    """Ours, with scratch space of its own, so that leftovers can be told from those of others."""
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    cache = EXAMPLE.parent.parent / ".pytest_cache/rackseed"  # building it takes seconds
    return {**os.environ, **own_environment(), "TMPDIR": str(scratch), "RACKSEED_CACHE": str(cache)}


def simulate(
    folder: Path,
    inventory: Path,
    *options: str,
    prefix: tuple[str, ...] = (),
    limit: float = LIMIT,
) -> subprocess.CompletedProcess[str]:
    """Run it to its end, which must come within `limit` seconds."""
    words = [*prefix, *rackseed_argv("simulate", str(inventory), *options)]
    return subprocess.run(
        words, env=environment(folder), capture_output=True, text=True, check=False, timeout=limit
    )


def start(folder: Path, inventory: Path, *options: str) -> subprocess.Popen[str]:
    """Start it, with what it says on one pipe."""
    return subprocess.Popen(
        rackseed_argv("simulate", str(inventory), *options),
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for_line(process: subprocess.Popen[str], word: str) -> list[str]:
    """Read what it says until a line holds `word`; AssertionError when it ends before."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if word in line:
            return lines
    raise AssertionError(f"it never said {word!r}: {''.join(lines)}")


def processes_of(folder: Path) -> dict[int, str]:
    """Living processes whose environment has this folder's scratch space: all of one run."""
    wanted = f"TMPDIR={folder / 'scratch'}".encode()
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                found[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue  # it ended while we looked
    return found


def wait_until_gone(folder: Path, seconds: float = 8) -> dict[int, str]:
    """Wait until no process of a run is left; returns those that are, after `seconds`."""
    end = time.monotonic() + seconds
    while (left := processes_of(folder)) and time.monotonic() < end:
        time.sleep(0.05)
    return left


def links() -> set[str]:
    """Names of all network interfaces of our own namespace."""
    return {path.name for path in Path("/sys/class/net").iterdir()}


def namespaces() -> set[str]:
    """Names of all network namespaces that are kept by name."""
    folder = Path("/run/netns")
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()
