"""What can go wrong in the program, named for what a person must do about it."""

from collections.abc import Sequence


class ProvisionError(Exception):
    """Base of every expected error of the program; a hint is a note (`add_note`)."""


class BadInput(ProvisionError):
    """Something a person wrote is wrong: a file, an option, a name."""


class AnswerError(ProvisionError):
    """An answer cannot be made: the template, the image or the secrets must be mended."""


class ProgramFailed(ProvisionError):
    """A program that we called ended with a status other than 0, or could not be started."""

    def __init__(self, argv: Sequence[str], status: int | None, last_lines: str) -> None:
        self.argv = tuple(argv)
        self.status = status
        """As the shell counts: 128 + N for signal N; None: it never started."""
        self.last_lines = last_lines
        ended = "could not be started" if status is None else f"ended with status {status}"
        said = f": {last_lines}" if last_lines else ""
        super().__init__(f"{self.argv[0]} {ended}{said}")
