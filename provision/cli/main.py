"""The `rackseed` command: a table of subcommands, each loaded when it is asked for."""

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module, metadata
from importlib.util import find_spec
from typing import Annotated, Any

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup

from provision.cli.logs import log_verbosely
from provision.cli.report import ExitStatus, run_to_status, status_table
from provision.cli.start import interruptible


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a subcommand lives."""

    target: str
    """`module:function`, or `module:app` where `app` is a Typer of its own."""
    summary: str
    """One line for `rackseed --help`."""

    @property
    def module(self) -> str:
        """The module alone."""
        return self.target.partition(":")[0]


COMMANDS: Mapping[str, Entry] = {
    "check": Entry("provision.cli.check:check", "Check the inventory and all that it names."),
    "plan": Entry("provision.cli.plan:plan", "Show what each host would be served next."),
    "simulate": Entry("provision.cli.simulate:simulate", "Boot the rack as virtual machines."),
    "serve": Entry("provision.cli.serve:serve", "Serve DHCP, TFTP and HTTP to the rack."),
    "arm": Entry("provision.cli.arm:arm", "Let hosts install at their next network boot."),
    "disarm": Entry("provision.cli.arm:disarm", "Take an arming back."),
    "status": Entry("provision.cli.status:status", "Show the state of every host."),
    "events": Entry("provision.cli.events:events", "Show or follow what happened on the wire."),
    "explain": Entry("provision.cli.explain:explain", "Tell why a host boots as it does."),
    "inspect": Entry("provision.cli.inspect:inspect", "Show the hardware that hosts reported."),
    "secrets": Entry("provision.cli.secrets:app", "Make the passwords of the cloud's services."),
    "ramdisk": Entry("provision.cli.ramdisk:ramdisk", "Build the inspection ramdisk."),
    "image": Entry("provision.cli.image.main:app", "Build, verify and publish images."),
    "rpm": Entry("provision.cli.rpm:app", "Build, check, sign and publish packages."),
}
"""Every subcommand, in the order of `--help`; one whose module is absent is not offered."""


class LazyCommand(TyperCommand):
    """Stands for a subcommand in `--help`; becomes the real one when it is used."""

    def __init__(self, name: str, entry: Entry) -> None:
        super().__init__(name, help=entry.summary, rich_markup_mode=None)
        self.entry = entry

    def load(self) -> Any:  # noqa: ANN401  # a click command; typer does not export the type
        """Import the module and build the command."""
        module, _, attribute = self.entry.target.partition(":")
        found = getattr(import_module(module), attribute)
        if isinstance(found, typer.Typer):
            return with_plain_arguments(typer.main.get_command(found))
        holder = typer.Typer(add_completion=False, rich_markup_mode=None)
        holder.command(name=self.name, help=keep_examples(found.__doc__ or ""))(found)
        return with_plain_arguments(typer.main.get_command(holder))

    def make_context(self, *args: Any, **extra: Any) -> Any:  # noqa: ANN401
        """Hand parsing to the real command; what runs is the context's own command."""
        command = self.load()
        interruptible()
        return command.make_context(*args, **extra)


def with_plain_arguments(command: Any) -> Any:  # noqa: ANN401
    """Have the help of a command and its subcommands name arguments as people type them.

    Typer would add the type that the function has in Python: `HOST <list[str]>`.
    """
    for parameter in command.params:
        if isinstance(parameter, TyperArgument):
            setattr(parameter, "get_help_record", partial(_help_record, parameter))  # noqa: B010
    for subcommand in getattr(command, "commands", {}).values():
        with_plain_arguments(subcommand)
    return command


def _help_record(argument: TyperArgument, context: Any) -> tuple[str, str] | None:  # noqa: ANN401
    record = TyperArgument.get_help_record(argument, context)
    if record is None:
        return None
    name = (argument.metavar or argument.name or "").removesuffix("...")
    return name if argument.nargs == 1 else f"{name}...", record[1]


class LazyGroup(TyperGroup):
    """A group that knows its subcommands from a table."""

    @property
    def entries(self) -> Mapping[str, Entry]:
        """The table."""
        return COMMANDS

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401
        """The subcommands whose modules are installed."""
        return [name for name, entry in self.entries.items() if find_spec(entry.module)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401
        """A light stand-in, or None for an unknown name."""
        if cmd_name not in self.list_commands(ctx):
            return None
        return LazyCommand(cmd_name, self.entries[cmd_name])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401
        """Let typer suggest the nearest name from our table."""
        self.commands = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        return super().resolve_command(ctx, args)


def keep_examples(text: str) -> str:
    """Mark paragraphs with indented lines (`\\b`), so that the help does not re-wrap them."""
    lines = text.strip("\n").splitlines()
    rest = [line for line in lines[1:] if line.strip()]
    margin = min((len(line) - len(line.lstrip()) for line in rest), default=0)
    clean = "\n".join(
        [*(line.strip() for line in lines[:1]), *(line[margin:] for line in lines[1:])]
    )
    paragraphs = re.split(r"\n\s*\n", clean.strip())
    return "\n\n".join(
        f"\b\n{paragraph}" if re.search(r"^\s", paragraph, re.MULTILINE) else paragraph
        for paragraph in paragraphs
    )


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"rackseed {metadata.version('rackseed')}")
        raise typer.Exit


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=False,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    epilog=f"\b\nExit status:\n{status_table()}\n\n\b\nExample:\n  rackseed check -i rack.yaml",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def rackseed(
    context: typer.Context,
    verbose: Annotated[
        int, typer.Option("--verbose", "-v", count=True, help="Log more on stderr (-vv: all).")
    ] = 0,
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version."),
    ] = False,
) -> None:
    """From bare racks to a running cloud, rehearsed before you touch a server."""
    log_verbosely(verbose)
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(ExitStatus.BAD_INPUT)


def invoke(arguments: Sequence[str]) -> int:
    """Run one command line, without the program's name; returns its exit status."""
    command = typer.main.get_command(app)
    return run_to_status(
        lambda: command.main(list(arguments), prog_name="rackseed", standalone_mode=False)
    )


def main() -> None:
    """Run the command line and end the process with its status."""
    sys.exit(invoke(sys.argv[1:]))
