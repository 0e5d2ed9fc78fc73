"""The command line: what it offers, how it fails, and with which status."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from provision.cli import main as cli
from provision.cli import report
from provision.cli.main import COMMANDS, Entry, invoke, keep_examples
from provision.errors import BadInput, ProgramFailed, ProvisionError
from provision.inventory.model import Place
from provision.inventory.problems import InventoryInvalid, Problem
from pxe.errors import MissingProgram

RUN = [sys.executable, "-c", "from provision.cli.start import rackseed; rackseed()"]


def installed_commands() -> list[str]:
    return [name for name, entry in COMMANDS.items() if cli.find_spec(entry.module)]


@pytest.mark.parametrize("name", installed_commands())
def test_every_command_explains_itself_with_an_example(capsys, name):
    assert invoke([name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"Usage: rackseed {name}" in shown
    assert f"  rackseed {name}" in shown.split("Example", 1)[1]


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("arm", "HOST...  Names of hosts."),
        ("status", "HOST...  These hosts; else all."),
        ("explain", "HOST|MAC  A host, or any machine by MAC address."),
        ("rpm build", "SPEC...  "),
        ("image verify", "IMAGE...  "),
    ],
)
def test_arguments_are_named_as_people_type_them(capsys, command, line):
    assert invoke([*command.split(), "--help"]) == 0
    shown = capsys.readouterr().out.partition("Arguments:")[2]
    assert f"  {line}" in shown
    assert "<" not in shown.partition("Options:")[0]


def test_every_module_of_commands_is_in_the_table():
    modules = {f"provision.cli.{path.stem}" for path in Path(cli.__file__).parent.glob("*.py")}
    names = ("__init__", "logs", "main", "options", "progress", "report", "start")
    shared = {f"provision.cli.{name}" for name in names}
    assert modules - shared <= {entry.module for entry in COMMANDS.values()}


def test_help_lists_the_commands_and_the_exit_statuses(capsys):
    assert invoke(["--help"]) == 0
    shown = capsys.readouterr().out
    for name in installed_commands():
        assert f"  {name} " in shown
    for status, text in report.EXIT_STATUSES.items():
        assert f"{status.value}  {text}" in shown


def test_help_imports_nothing_heavy():
    heavy = {"sqlalchemy", "aiohttp", "yaml", "jinja2", "pyroute2", "rich"}
    script = (
        "import sys\nfrom provision.cli.main import invoke\ninvoke(['--help'])\n"
        f"print(sorted({heavy} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_no_command_is_misuse_and_shows_the_help(capsys):
    assert invoke([]) == 2
    assert "Usage: rackseed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["chek"], "error: No such command 'chek'. Did you mean 'check'?\n hint: rackseed --help"),
        (["check", "--bad"], "error: No such option: --bad"),
        (["check", "-i"], "error: Option '-i' requires an argument"),
        (["check", "surplus"], "error: Got unexpected extra argument(s) (surplus)"),
    ],
)
def test_misuse_is_one_sentence_with_status_2(capsys, arguments, expected):
    assert invoke(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(expected)
    assert captured.out == ""


def test_a_missing_module_hides_its_command_and_no_other(capsys, monkeypatch):
    monkeypatch.setattr(
        cli, "COMMANDS", {**COMMANDS, "ghost": Entry("provision.cli.ghost:ghost", "Not there.")}
    )
    assert invoke(["--help"]) == 0
    shown = capsys.readouterr().out
    assert "ghost" not in shown
    assert "check" in shown
    assert invoke(["ghost"]) == 2


def raising(error: Exception):
    def command() -> None:
        raise error

    return command


def hinted(error: Exception) -> Exception:
    error.add_note("do this")
    return error


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BadInput("bad"), 2),
        (InventoryInvalid([]), 2),
        (ProgramFailed(["qemu"], 1, "no"), 3),
        (ProvisionError("failed"), 1),
        (MissingProgram("not installed"), 1),
    ],
)
def test_each_expected_error_has_its_status(error, status):
    assert report.run_to_status(raising(error)) == status


def test_an_unexpected_error_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        report.run_to_status(raising(ZeroDivisionError()))


def test_the_state_of_the_machine_is_an_error_without_traceback(capsys):
    full = raising(OSError(errno.ENOSPC, "No space left on device", "/srv/boot"))
    assert report.run_to_status(full) == 1
    assert capsys.readouterr().err == "error: /srv/boot: No space left on device\n"


def test_output_that_cannot_be_written_is_one_error():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*RUN, "--version"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60
        )
    assert done.returncode == 1
    assert done.stderr == "error: [Errno 28] No space left on device\n"


def test_a_reader_that_has_seen_enough_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*RUN, "--help"], stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_paragraph_is_wrapped_on_a_terminal_alone(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    report.print_paragraph("one two three four five", "words  ")
    assert capsys.readouterr().out == "words  one two three four five\n"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    report.print_paragraph("one two three four five", "words  ")
    assert capsys.readouterr().out == "words  one two three\n       four five\n"


def test_a_hint_is_the_note_of_an_error(capsys):
    report.run_to_status(raising(hinted(BadInput("what, expected what"))))
    assert capsys.readouterr().err == "error: what, expected what\n hint: do this\n"


def test_every_problem_of_an_inventory_is_shown_in_order(capsys, tmp_path):
    path = tmp_path / "rack.yaml"
    second = Problem(Place(path, 9), "a.b", "two", "try this")
    first = Problem(Place(path, 2), "", "one")
    report.run_to_status(raising(InventoryInvalid([second, first])))
    assert capsys.readouterr().err == (
        f"error: {path}:2: one\nerror: {path}:9: a.b: two\n hint: try this\n"
    )


def test_nothing_that_is_shown_can_steer_the_terminal(capsys):
    report.run_to_status(raising(BadInput("host \x1b[2Jx\x07")))
    report.print_line("\x9b2J\nforged line")
    captured = capsys.readouterr()
    assert captured.err == "error: host \\x1b[2Jx\\x07\n"
    assert captured.out == "\\x9b2J\\nforged line\n"


def test_what_a_program_said_is_shown_line_by_line(capsys):
    report.run_to_status(raising(ProgramFailed(["qemu", "-x"], 1, "no such option\ntry -help")))
    assert capsys.readouterr().err == (
        "error: qemu ended with status 1: no such option\n       try -help\n"
    )


def test_the_status_of_a_command_is_its_return_value():
    assert report.run_to_status(lambda: 3) == 3
    assert report.run_to_status(lambda: None) == 0


def test_interruption_is_status_130():
    assert report.run_to_status(raising(KeyboardInterrupt())) == 130  # type: ignore[arg-type]


def test_interruption_that_python_took_for_an_error_is_status_130():
    wrapped = RuntimeError("Error calling __set_name__ on an attribute")
    wrapped.__cause__ = KeyboardInterrupt()
    assert report.run_to_status(raising(wrapped)) == 130
    with pytest.raises(RuntimeError, match="another"):
        report.run_to_status(raising(RuntimeError("another")))


def test_examples_are_not_rewrapped():
    doc = """Do it.

    Long text
    goes on.

    Example:
      rackseed it
    """
    assert keep_examples(doc) == "Do it.\n\nLong text\ngoes on.\n\n\b\nExample:\n  rackseed it"


def test_facts_in_json_are_plain_json(capsys):
    report.print_json({"name": "é", "at": Place.__name__})
    assert json.loads(capsys.readouterr().out) == {"name": "é", "at": "Place"}
