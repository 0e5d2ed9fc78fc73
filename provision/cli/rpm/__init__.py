"""`rackseed rpm`: packages built, checked, signed and published."""

from collections.abc import Callable, Mapping

import typer

from provision.cli.main import keep_examples
from provision.cli.rpm import build, check, lock, publish, rebuild

HELP = """Build packages from specs, sign them and publish them as a repository.

Example:
  rackseed rpm build --target fedora-43
  rackseed rpm publish results/fedora-43 --repository /srv/rpm/fedora-43
"""

app = typer.Typer(
    help=keep_examples(HELP),
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

COMMANDS: Mapping[str, Callable[..., int]] = {
    "check": check.check,
    "build": build.build,
    "rebuild": rebuild.rebuild,
    "lock": lock.lock,
    "publish": publish.publish,
    "states": publish.list_states,
    "rollback": publish.rollback,
    "release": publish.release,
}

for name, command in COMMANDS.items():
    app.command(name, help=keep_examples(command.__doc__ or ""))(command)
