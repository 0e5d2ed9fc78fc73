"""Hooks of elements run alone, below a folder that stands for the system's root."""

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from imagebuild.plan import ELEMENTS


def here(hook: str | Path, root: Path, programs: Mapping[str, str]) -> Path:
    """A hook that works below `root` instead of /, with these programs of ours."""
    text = (ELEMENTS / hook).read_text(encoding="utf-8")
    for folder in ("/lib/modules", "/boot", "/etc", "/var"):
        (root / folder.strip("/")).mkdir(parents=True, exist_ok=True)
        text = re.sub(rf"(?<![\w/}}]){folder}\b", str(root) + folder, text)
    script = root / "hook"
    script.write_text(text, encoding="utf-8")
    for name, body in programs.items():
        path = root / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/bash\n{body}\n", encoding="utf-8")
        path.chmod(0o755)
    return script


def run_hook(script: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run it with these variables alone."""
    path = f"{script.parent}/bin:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", str(script)],
        env={"PATH": path, **env},
        capture_output=True,
        text=True,
        check=False,
    )
