"""Options that several subcommands share, so that each is spelt and explained once."""

from pathlib import Path
from typing import Annotated

import typer

from provision.cli import report
from provision.errors import BadInput

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


def check_url(url: str | None) -> str | None:
    """The URL of a store. Raises BadInput when it cannot be one."""
    if url is not None:
        from provision.store import StoreError
        from provision.store.database import parse_url

        try:
            parse_url(url)
        except StoreError as error:
            raise BadInput(str(error)) from None
    return url


def is_there(url: str) -> bool:
    """Whether a store can have anything in it; warns when it was never made.

    To look must not make one: under a misspelt name it would say that all is quiet.
    Raises StoreError.
    """
    if store_exists(url):
        return True
    report.show_warning(f"there is no store {url} yet: nothing was armed or recorded in it")
    return False


def store_exists(url: str) -> bool:
    """Whether a store was made already; of one on a server that is assumed.

    Raises StoreError.
    """
    from provision.store.database import parse_url

    parsed = parse_url(url)
    return parsed.get_backend_name() != "sqlite" or Path(parsed.database or "").exists()


StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="URL",
        envvar="RACKSEED_STORE",
        callback=check_url,
        help="Where state and events are kept, as a SQLAlchemy URL; instead of the inventory's.",
    ),
]
"""`store: StoreOption = None`"""
