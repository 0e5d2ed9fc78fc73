"""Options that several subcommands share, so that each is spelt and explained once."""

from pathlib import Path
from typing import Annotated

import typer

InventoryOption = Annotated[
    Path,
    typer.Option(
        "--inventory",
        "-i",
        metavar="PATH",
        envvar="RACKSEED_INVENTORY",
        help="The inventory file.",
    ),
]
"""`inventory: InventoryOption = DEFAULT_INVENTORY`"""

DEFAULT_INVENTORY = Path("inventory.yaml")

JsonOption = Annotated[
    bool,
    typer.Option("--json", help="Print facts as one JSON document; errors stay text on stderr."),
]
"""`as_json: JsonOption = False`"""

StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="URL",
        envvar="RACKSEED_STORE",
        help="Where state and events are kept, as a SQLAlchemy URL; instead of the inventory's.",
    ),
]
"""`store: StoreOption = None`"""
