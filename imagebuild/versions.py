"""Which versions of programs made an image."""

import os
import platform
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import metadata

from imagebuild.plan import BuildPlan
from imagebuild.recipe import BlockDevice
from imagebuild.running import Run
from imagebuild.systems import Packaging

OURS = ("rackseed", "diskimage-builder")
TOOLS: Mapping[Packaging, Sequence[str]] = {
    Packaging.DEB: ("debootstrap", "mmdebstrap"),
    Packaging.RPM: ("dnf", "rpm"),
}
"""What makes the first root; diskimage-builder takes mmdebstrap where it is there."""
ASKS = {"mkfs.ext4": "-V", "mkfs.xfs": "-V"}
"""The option that makes a program tell its version, where it is not `--version`."""
SECONDS = 20
"""For one program to tell its version."""


def versions(plan: BuildPlan, path: str, run: Run) -> dict[str, str]:
    """The programs that a plan calls, those found in `path`, and the kernel under them."""
    recipe = plan.recipe
    disk = ["sgdisk"] if recipe.block_device is BlockDevice.GPT else []
    tools = (*TOOLS[recipe.system.packaging], *disk, f"mkfs.{recipe.filesystem}", "tar", "zstd")
    found = {name: metadata.version(name) for name in OURS}
    found |= {"python": platform.python_version(), "linux": os.uname().release}
    for tool in (*tools, "qemu-img"):
        if shutil.which(tool, path=path) and (version := _asked(tool, path, run)):
            found[tool] = version
    return found


def _asked(tool: str, path: str, run: Run) -> str:
    """What a program says of itself, wherever it says it; empty when it does not."""
    both = ("sh", "-c", '"$0" "$1" 2>&1', tool, ASKS.get(tool, "--version"))
    with suppress(Exception):  # an image is none the worse for it
        if told := re.search(
            r"\d+(\.\d+)+[^\s,)]*", run(both, env={"PATH": path}, timeout=SECONDS)
        ):
            return told[0]
    return ""
