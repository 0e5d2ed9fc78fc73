"""How far something is that reads or sends a whole image."""

import time

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    TaskID,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as Bar

from provision.cli import report

MIB = 1 << 20
LINE_EVERY = 15.0
"""Seconds between two lines of progress where there is no terminal."""


class Progress:
    """What happens, on stderr: a bar on a terminal, else a line now and then."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._told = time.monotonic()
        self._bar: Bar | None = None
        self._task: TaskID | None = None

    def step(self, text: str) -> None:
        """What happens next."""
        self.end()
        self._console.print(report.printable(text), style="dim", markup=False)

    def sent(self, octets: int, whole: int) -> None:
        """Bytes that were sent, of all."""
        self.done(octets, whole, "sent")

    def done(self, octets: int, whole: int, what: str = "read") -> None:
        """Bytes that are done, of all."""
        if self._console.is_terminal:
            self._draw(octets, whole)
        elif octets == whole or time.monotonic() - self._told > LINE_EVERY:
            self._told = time.monotonic()
            line = f"{what} {octets / MIB:,.0f} of {whole / MIB:,.0f} MiB"
            self._console.print(line, style="dim")

    def end(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = self._task = None

    def _draw(self, octets: int, whole: int) -> None:
        if self._bar is None or self._task is None:
            columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
            self._bar = Bar(*columns, console=self._console, transient=True)
            self._task = self._bar.add_task("", total=whole)
            self._bar.start()
        self._bar.update(self._task, completed=octets)
