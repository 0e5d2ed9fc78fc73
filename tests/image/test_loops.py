"""Loop devices of killed builds are found, whatever /dev has."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.disks import run
from tests.tools import require_root, require_tool

CONTAINER = """mount -t tmpfs devices /dev
mknod /dev/null c 1 3
exec "$0" -c "$1" "$2" < /dev/null"""
"""A /dev without loop devices, in a mount namespace of its own."""
SCRIPT = """
import json, sys
from pathlib import Path
from imagebuild.loops import attached, detach_below
folder = Path(sys.argv[1])
found = [name for _, name in attached() if Path(name).is_relative_to(folder)]
busy = [str(device) for device in detach_below(folder)]
print(json.dumps([found, busy, sorted(path.name for path in Path("/dev").iterdir())]))
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """With a short name: a loop device keeps 63 characters of its file's."""
    with tempfile.TemporaryDirectory(prefix="loops-") as name:
        yield Path(name)


def test_a_device_without_a_node_is_found_and_detached(folder: Path) -> None:
    require_root()
    losetup = require_tool("losetup", "mount")
    disk = folder / "disk"
    with disk.open("wb") as file:
        file.truncate(1 << 20)
    device = run(losetup, "--find", "--show", disk).strip()
    try:
        words = ["unshare", "--mount", "sh", "-euc", CONTAINER]
        said = run(*words, sys.executable, SCRIPT, folder)
        assert json.loads(said) == [[str(disk)], [], ["null"]]
        assert run(losetup, "--associated", disk) == ""
    finally:
        subprocess.run([losetup, "--detach", device], check=False, capture_output=True)
