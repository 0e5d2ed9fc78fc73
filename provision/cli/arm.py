"""`rackseed arm` and `rackseed disarm`: an operator's word for one installation."""

from typing import TYPE_CHECKING, Annotated

import typer

from provision.cli import report
from provision.cli.options import DEFAULT_INVENTORY, InventoryOption, JsonOption, StoreOption

if TYPE_CHECKING:
    from provision.inventory.model import Host
    from provision.store.hosts import HostRecord

HostsArgument = Annotated[list[str], typer.Argument(metavar="HOST", help="Names of hosts.")]


def arm(
    hosts: HostsArgument,
    force: Annotated[
        bool, typer.Option("--force", help="Also hosts with an installed system: it is erased.")
    ] = False,
    inventory: InventoryOption = DEFAULT_INVENTORY,
    as_json: JsonOption = False,
    store: StoreOption = None,
) -> int:
    """Let hosts install at their next network boot, once; all of them or none.

    The arming is used up when the host has fetched its answer, so no reinstall loop can happen.

    Examples:
      rackseed arm cmp01 cmp02
      rackseed arm --force ctl01
    """
    from provision import arming
    from provision.cli.plan import known_host
    from provision.inventory.load import load
    from provision.store import Store

    loaded = load(inventory)
    names = [known_host(loaded, name) for name in hosts]
    with Store(store or loaded.store) as opened:
        records = arming.arm(opened, names, force=force)
    if as_json:
        report.print_json([as_facts(record) for record in records])
    else:
        for record in records:
            report.print_line(f"{record.name} armed: {next_boot(loaded.hosts[record.name])}")
    return report.ExitStatus.DONE


def disarm(
    hosts: HostsArgument,
    inventory: InventoryOption = DEFAULT_INVENTORY,
    as_json: JsonOption = False,
    store: StoreOption = None,
) -> int:
    """Take armings back; all of them or none.

    A host that is deploying is given up and counts as failed.

    Example:
      rackseed disarm cmp01
    """
    from provision import arming
    from provision.cli.plan import known_host
    from provision.inventory.load import load
    from provision.store import Store

    loaded = load(inventory)
    names = [known_host(loaded, name) for name in hosts]
    with Store(store or loaded.store) as opened:
        records = arming.disarm(opened, names)
    if as_json:
        report.print_json([as_facts(record) for record in records])
    else:
        for record in records:
            report.print_line(f"{record.name} disarmed: it is {record.state.value}")
    return report.ExitStatus.DONE


def next_boot(host: "Host") -> str:
    """What the arming allows."""
    role = host.role
    what = role.os or (role.image.name if role.image else None)
    if what is None:
        return "its next network boot inspects it"
    return f"its next network boot installs {what} and erases the disk"


def as_facts(record: "HostRecord") -> dict[str, str | None]:
    """A record for JSON."""
    return {
        "host": record.name,
        "state": record.state.value,
        "before": record.prior.value if record.prior else None,
        "changed_at": record.changed_at.isoformat() if record.changed_at else None,
    }
