"""`rackseed rpm`: packages built, checked, signed and published."""

from collections.abc import Callable, Mapping

import typer

from provision.cli.main import keep_examples
from provision.cli.rpm import publish

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)

COMMANDS: Mapping[str, Callable[..., int]] = {
    "publish": publish.publish,
    "states": publish.list_states,
    "rollback": publish.rollback,
    "release": publish.release,
}

for name, command in COMMANDS.items():
    app.command(name, help=keep_examples(command.__doc__ or ""))(command)
