import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from provision.simulation.errors import SimulationError
from provision.simulation.workspace import remove_abandoned, workspace

HOLD = """
import sys, time
from pathlib import Path
from provision.simulation.workspace import workspace
with workspace(Path(sys.argv[1])) as folder:
    (folder / "big.disk").touch()
    print(folder, flush=True)
    time.sleep(60)
"""


def test_a_folder_is_gone_at_the_end(tmp_path: Path) -> None:
    base = tmp_path / "base"
    with workspace(base) as folder:
        (folder / "disk").touch()
        assert base.stat().st_mode & 0o077 == 0
    assert not base.exists()


def test_what_a_killed_run_left_is_removed_by_the_next_and_what_lives_is_not(
    tmp_path: Path,
) -> None:
    base = tmp_path / "base"
    root = str(Path(__file__).parents[4])
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(base)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
    ) as run:
        assert run.stdout is not None
        folder = Path(run.stdout.readline().strip())
        assert remove_abandoned(base) == []
        assert (folder / "big.disk").exists()
        run.send_signal(signal.SIGKILL)
        run.wait()
        assert folder.exists()
        with workspace(base):
            assert not folder.exists()
    assert not base.exists()


def test_a_base_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "base").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SimulationError), workspace(tmp_path / "base"):
        pytest.fail("must not be entered")
