"""The one place that prints expected errors and picks the exit status."""

import json
import logging
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from typing import Any

import typer

from imagebuild import errors as image
from provision.errors import BadInput, ProgramFailed, ProvisionError
from pxe.errors import PxeError
from rpmspecs import errors as rpm

log = logging.getLogger(__name__)


class ExitStatus(IntEnum):
    """How a command ended."""

    DONE = 0
    FAILED = 1
    BAD_INPUT = 2
    PROGRAM_FAILED = 3
    INTERRUPTED = 130


EXIT_STATUSES: Mapping[ExitStatus, str] = {
    ExitStatus.DONE: "done",
    ExitStatus.FAILED: "failed; the error says why",
    ExitStatus.BAD_INPUT: "bad input or misuse: the inventory, an option, a name",
    ExitStatus.PROGRAM_FAILED: "a program that we called failed",
    ExitStatus.INTERRUPTED: "interrupted (Ctrl-C)",
}
"""The table shown by `rackseed --help` and in the documentation."""

EXPECTED: tuple[tuple[type[Exception], ExitStatus], ...] = (
    (BadInput, ExitStatus.BAD_INPUT),
    (ProgramFailed, ExitStatus.PROGRAM_FAILED),
    (ProvisionError, ExitStatus.FAILED),
    (PxeError, ExitStatus.FAILED),
    (rpm.BadInput, ExitStatus.BAD_INPUT),
    (rpm.ToolMissing, ExitStatus.BAD_INPUT),
    (rpm.BuildFailed, ExitStatus.PROGRAM_FAILED),
    (rpm.RpmError, ExitStatus.FAILED),
    (image.BadInput, ExitStatus.BAD_INPUT),
    (image.ToolMissing, ExitStatus.BAD_INPUT),
    (image.BuildFailed, ExitStatus.PROGRAM_FAILED),
    (image.ImageError, ExitStatus.FAILED),
)
"""First match counts; what is not here is unexpected and keeps its traceback."""


def status_table() -> str:
    """`EXIT_STATUSES` as lines of text."""
    return "\n".join(f"{status.value:>5}  {text}" for status, text in EXIT_STATUSES.items())


def status_of(error: Exception) -> ExitStatus | None:
    """The exit status of an expected error; None for an unexpected one."""
    return next((status for kind, status in EXPECTED if isinstance(error, kind)), None)


def printable(text: str) -> str:
    """`text` on one line with control characters escaped, so that nothing steers the terminal."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def show_error(message: str, *hints: str) -> None:
    """Print one error and its hints on stderr; further lines of a message are indented."""
    lines = [printable(line) for line in message.splitlines()] or [""]
    print(f"error: {lines[0]}", *lines[1:], sep="\n       ", file=sys.stderr)
    for hint in hints:
        print(f" hint: {printable(hint)}", file=sys.stderr)


def show_warning(problem: object) -> None:
    """Print something that may be meant so, on stderr; `problem` may have a hint."""
    print(f"warning: {printable(str(problem))}", file=sys.stderr)
    if hint := getattr(problem, "hint", None):
        print(f" hint: {printable(hint)}", file=sys.stderr)


def show_exception(error: Exception) -> None:
    """Print an expected error, or every problem it carries (`problems`)."""
    from provision.inventory.problems import InventoryInvalid  # keeps --help fast

    if isinstance(error, InventoryInvalid):
        for problem in error.problems:
            show_error(problem.text, *([problem.hint] if problem.hint else []))
    elif isinstance(error, OSError) and error.filename:
        show_error(f"{error.filename}: {error.strerror}", *getattr(error, "__notes__", ()))
    else:
        show_error(str(error), *getattr(error, "__notes__", ()))


def print_json(value: Any) -> None:  # noqa: ANN401  # whatever JSON can say
    """Print facts for other programs: one JSON document on stdout."""
    print(json.dumps(value, indent=2, default=str, ensure_ascii=False))


def print_line(text: str = "", *, at_once: bool = False) -> None:
    """Print one line of facts for people on stdout; `at_once` also into a file or a pipe."""
    print(printable(text), flush=at_once)


def print_good(text: str) -> None:
    """Print one line of good news on stdout, green on a terminal."""
    print_marked(text, typer.colors.GREEN, bold=False)


def print_alarm(text: str) -> None:
    """Print one line that must not be overlooked on stdout, red on a terminal."""
    print_marked(text, typer.colors.RED)


def print_marked(text: str, colour: str | None = None, *, bold: bool = True) -> None:
    """Print one line, marked on a terminal that shows colours and is allowed to (no-color.org)."""
    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    typer.secho(printable(text), fg=colour, bold=bold, color=False if plain else None)
    sys.stdout.flush()


def print_paragraph(text: str, head: str = "") -> None:
    """Print text after `head`: on a terminal wrapped to its width, else on one line."""
    if not sys.stdout.isatty():
        print_line(head + text)
        return
    lines = textwrap.wrap(
        printable(text),
        shutil.get_terminal_size().columns,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    )
    print(*lines, sep="\n")


def print_block(title: str, text: str) -> None:
    """Print a file's text under its name, each line marked."""
    print_line()
    print_line(f"{title}:")
    for line in text.splitlines():
        print_line(f"  | {line}" if line else "  |")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under their column names, as wide as they need; the last column is not padded."""
    cells = [[printable(cell) for cell in row] for row in (columns, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        padded = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        print("  ".join(padded).rstrip())


def run_to_status(command: Callable[[], object]) -> int:
    """Run `command`; expected errors are shown and become an exit status."""
    try:
        result = command()
        sys.stdout.flush()
    except typer.TyperException as misuse:
        context = getattr(misuse, "ctx", None)
        name = context.command_path if context else "rackseed"
        told = misuse.format_message().rstrip(".").replace(": Value error, ", ": ")  # pydantic's
        show_error(told, f"{name} --help")
        return ExitStatus.BAD_INPUT
    except KeyboardInterrupt:
        return ExitStatus.INTERRUPTED
    except typer.Abort:
        return ExitStatus.FAILED
    except RuntimeError as error:
        # Python 3.11 makes one of whatever comes up while a class is created.
        if not isinstance(error.__cause__, KeyboardInterrupt):
            raise
        return ExitStatus.INTERRUPTED
    except (ProvisionError, PxeError, rpm.RpmError, image.ImageError) as error:
        show_exception(error)
        return status_of(error) or ExitStatus.FAILED
    except OSError as error:
        # A full disk, a folder that may not be written: the machine's state, not our mistake.
        log.debug("where it happened:", exc_info=True)
        if not isinstance(error, BrokenPipeError):
            show_exception(error)
        leave_stdout()
        return ExitStatus.FAILED
    return result if isinstance(result, int) else ExitStatus.DONE


def leave_stdout() -> None:
    """What could not be written stays unwritten: the interpreter's end would try once more."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
