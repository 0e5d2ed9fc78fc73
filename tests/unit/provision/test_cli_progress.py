"""What commands show while they work: bars and tables on a terminal, with what is logged above."""

import io
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from rich.console import Console

from provision.cli import simulate
from provision.cli.progress import shown
from provision.cli.rpm import build
from provision.cli.rpm.view import Progress
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


class Terminal(io.StringIO):
    """What is written to a terminal."""

    def isatty(self) -> bool:
        return True


TABLES = {
    "packages": lambda people: build.watching(people, Progress([])),
    "rehearsal": simulate.watching,
}


@pytest.mark.parametrize("table", TABLES)
def test_what_is_logged_does_not_tear_a_live_table(table: str):
    terminal, drawn = Terminal(), Terminal()
    handler = logging.StreamHandler(terminal)
    logging.getLogger().addHandler(handler)
    people = Console(file=drawn, force_terminal=True, width=100, _environ={"TERM": "xterm"})
    try:
        with TABLES[table](people):
            logging.getLogger("rackseed").warning("an address is in use")
        assert handler.stream is terminal
    finally:
        logging.getLogger().removeHandler(handler)
    assert terminal.getvalue() == ""
    assert "an address is in use" in drawn.getvalue()
