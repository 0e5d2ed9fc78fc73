"""`rackseed secrets`: passwords by which the services of the cloud know each other."""

import typer

from provision.cli import report
from provision.cli.main import keep_examples
from provision.cli.options import DEFAULT_INVENTORY, InventoryOption

HELP = """Make the passwords by which the services of the cloud know each other.

They stand in the file that the inventory names as `secrets`, and reach a host once, after its
kickstart, never in it.

Example:
  rackseed secrets init -i rack.yaml
"""

app = typer.Typer(
    help=keep_examples(HELP),
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(help=keep_examples(HELP))
def secrets() -> None:
    """One command today; still a group, so that others can come beside it."""


def init(inventory: InventoryOption = DEFAULT_INVENTORY) -> int:
    """Add what the file of secrets lacks, as strong random words.

    What is there stays.

    Example:
      rackseed secrets init -i rack.yaml
    """
    from provision.errors import BadInput
    from provision.inventory import views
    from provision.inventory.load import load
    from provision.secrets import make, missing

    loaded = load(inventory)
    if loaded.secrets is None:
        error = BadInput(f"{loaded.path} names no file of secrets, expected the key 'secrets'")
        error.add_note("install -m 600 /dev/null secrets.yaml, add  secrets: secrets.yaml")
        raise error
    wanted = {name: None for host in loaded.hosts.values() for name in views.secrets_of(host.role)}
    lacks = missing(loaded.secrets, wanted)
    with loaded.secrets.open("a", encoding="ascii") as file:
        file.write(make(lacks))
    report.print_good(f"{loaded.secrets}: {len(lacks)} made, {len(wanted) - len(lacks)} kept")
    return report.ExitStatus.DONE


app.command("init", help=keep_examples(init.__doc__ or ""))(init)
