"""What this package asks of whoever starts programs for it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class Run(Protocol):
    """Runs one program to its end and returns its standard output.

    Raises an error of its own with the last lines of stderr when the program fails.
    """

    def __call__(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, timeout: float = 600
    ) -> str: ...


class Child(Protocol):
    """A program that runs beside us."""

    def wait(self, timeout: float | None = None) -> int:
        """The status it ended with. Raises TimeoutError after `timeout` seconds."""

    def stop(self, grace: float = 5) -> int:
        """End it and all that it started, the hard way after `grace` seconds."""


class Start(Protocol):
    """Starts a program in a process group of its own; it dies with the thread that started it.

    `prepare` runs in it before the program does.
    """

    def __call__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        stdout: Path | None = None,
        stderr: Path | None = None,
        prepare: Callable[[], None] | None = None,
    ) -> Child: ...


@dataclass(frozen=True, slots=True)
class Programs:
    """Both ways to start a program."""

    run: Run
    start: Start
