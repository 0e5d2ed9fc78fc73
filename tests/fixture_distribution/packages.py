"""Our own packages, built for the fixture distribution once and found again."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def folder() -> Path:
    """Where results of builds stay, with what each was made of."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home, "rackseed", "fixture-packages")


def build(specs: Sequence[str], target: Path, results: Path | None = None) -> list[Path]:
    """The packages of these specs by the product's own command; the same is not built twice."""
    results = results or folder()
    words = ["rpm", "build", *specs, f"--target={target}", "--backend=chroot", "--json"]
    code = "from provision.cli.main import main; main()"
    argv = [sys.executable, "-c", code, *words, f"--results={results}"]
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = [Path(each["folder"]) for each in json.loads(done.stdout)]
    return [rpm for folder in found for rpm in folder.glob("*.rpm") if ".src." not in rpm.name]
