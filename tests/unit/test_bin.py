"""The commands of the source tree say what they are for."""

import subprocess
from pathlib import Path

import pytest

BIN = Path(__file__).parents[2] / "bin"
SCRIPTS = sorted(path.name for path in BIN.iterdir() if "." not in path.name)


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_each_explains_itself_and_does_nothing(name, option, tmp_path):
    done = subprocess.run(
        [BIN / name, option], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=20
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"\nusage: bin/{name}" in done.stdout
    assert "#" not in done.stdout


def test_there_are_scripts():
    assert {"setup", "rehearse", "test", "bench"} <= set(SCRIPTS)
