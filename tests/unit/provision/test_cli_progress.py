"""What `rackseed check` shows while it works: a bar on a terminal, and nothing anywhere else."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from provision.cli.progress import shown
from provision.progress import unseen

TREE = Path(__file__).parents[3]
WORK = """\
from provision.cli.progress import shown
with shown() as progress:
    print(sum(progress("boot scripts", range(1000))))
"""


def read_all(terminal: int) -> Iterator[str]:
    """What was shown, in the pieces in which it was written."""
    with suppress(OSError):  # EIO: nobody writes to it any more
        while data := os.read(terminal, 1 << 16):
            yield data.decode()


def test_a_terminal_shows_a_bar_on_standard_error_alone():
    master, slave = os.openpty()
    environment = {**os.environ, "TERM": "xterm", "PYTHONPATH": str(TREE), "COLUMNS": "100"}
    try:
        done = subprocess.run(
            [sys.executable, "-c", WORK], stdout=subprocess.PIPE, stderr=slave, env=environment,
            check=True,
        )  # fmt: skip
        os.close(slave)
        seen = "".join(read_all(master))
    finally:
        os.close(master)
    assert done.stdout == b"499500\n"
    assert "boot scripts" in seen
    assert "1000/1000" in seen


def test_a_file_is_left_without_it(capsys: pytest.CaptureFixture[str]):
    with shown() as progress:
        assert progress is unseen
        assert list(progress("boot scripts", [1, 2])) == [1, 2]
    assert capsys.readouterr() == ("", "")
