"""The `build-image` command: `build-image RECIPE` builds, the other verbs have their names."""

import sys
from collections.abc import Mapping
from difflib import get_close_matches
from importlib import metadata
from typing import Annotated, Any

import typer

from provision.cli.logs import log_verbosely
from provision.cli.main import Entry, LazyGroup, keep_examples
from provision.cli.report import ExitStatus, run_to_status, status_table

BUILD = "build"

COMMANDS: Mapping[str, Entry] = {
    BUILD: Entry("provision.cli.image.build:build", "Build images from recipes (the default)."),
    "verify": Entry("provision.cli.image.verify:verify", "Look for identities in any image."),
    "diff": Entry("provision.cli.image.diff:diff", "Tell what changed between two images."),
    "upload": Entry("provision.cli.image.upload:upload", "Publish an image in Glance."),
    "stage": Entry("provision.cli.image.stage:stage", "Make an image ready for bare machines."),
}
"""Every subcommand, in the order of `--help`; one whose module is absent is not offered."""

GROUP_OPTIONS = ("-v", "-vv", "--verbose")
"""Options of `build-image` itself that may stand before a recipe."""

STAYING = ("-h", "--help", "--version")
"""Options of `build-image` itself that need no subcommand."""


class ImageGroup(LazyGroup):
    """The subcommands; what is none of their names is the recipe to build."""

    @property
    def entries(self) -> Mapping[str, Entry]:
        """Ours."""
        return COMMANDS

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401
        """Put `build` before a recipe or an option of `build`."""
        return super().parse_args(ctx, with_default(args))


def with_default(arguments: list[str]) -> list[str]:
    """The arguments with `build` where no subcommand is named.

    >>> with_default(["-v", "debian-12", "--dry-run"])
    ['-v', 'build', 'debian-12', '--dry-run']
    """
    ours = next((n for n, a in enumerate(arguments) if a not in GROUP_OPTIONS), len(arguments))
    rest = arguments[ours:]
    if not rest or rest[0] in COMMANDS or rest[0] in STAYING or _is_mistyped(rest[0]):
        return arguments
    return [*arguments[:ours], BUILD, *rest]


def _is_mistyped(word: str) -> bool:
    """Whether a word is more like a subcommand than like a recipe."""
    if not word.isalpha():
        return False
    from imagebuild.recipes import ALIASES, recipe_names  # keeps --help fast

    near = get_close_matches(word.lower(), [*COMMANDS, *recipe_names(), *ALIASES], n=1)
    return bool(near) and near[0] in COMMANDS


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"build-image {metadata.version('rackseed')}")
        raise typer.Exit


HELP = """Build sealed, proven images for clouds and bare metal, and publish them.

`build-image RECIPE` builds; `build-image --list` shows the recipes.

Example:
  build-image debian-12
  build-image centos7-gpu --dry-run
  build-image upload images/debian-12.qcow2
  rackseed image verify images/debian-12.qcow2
"""

app = typer.Typer(
    cls=ImageGroup,
    no_args_is_help=False,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    epilog=f"\b\nExit status:\n{status_table()}",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True, help=keep_examples(HELP))
def image(
    context: typer.Context,
    verbose: Annotated[
        int, typer.Option("--verbose", "-v", count=True, help="Log more on stderr (-vv: all).")
    ] = 0,
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version."),
    ] = False,
) -> None:
    """Set up logging; without a subcommand show the help."""
    log_verbosely(verbose, force=bool(verbose))
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(ExitStatus.BAD_INPUT)


def main() -> None:
    """Run the command line and end the process with its status."""
    command = typer.main.get_command(app)
    arguments = sys.argv[1:]
    sys.exit(
        run_to_status(
            lambda: command.main(arguments, prog_name="build-image", standalone_mode=False)
        )
    )
