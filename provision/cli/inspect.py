"""`rackseed inspect`: the hardware that machines reported, held against the inventory."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from provision.cli import report
from provision.cli.options import (
    DEFAULT_INVENTORY,
    InventoryOption,
    JsonOption,
    StoreOption,
    store_exists,
)
from provision.errors import BadInput, ProvisionError

if TYPE_CHECKING:
    from provision.hardware import Facts
    from provision.inventory.model import Inventory
    from provision.store.inspections import Inspection

COLUMNS = ("host", "mac", "reported", "product", "threads", "memory", "disks", "gpus", "differs")


class NotReported(ProvisionError):
    """A machine has not told what it is made of; boot it first."""


def inspect(
    host: Annotated[
        str | None,
        typer.Argument(metavar="HOST|MAC", help="One machine in full; without it a table."),
    ] = None,
    inventory: InventoryOption = DEFAULT_INVENTORY,
    as_json: JsonOption = False,
    store: StoreOption = None,
) -> int:
    """Show the hardware that machines reported, and where it is not what the inventory says.

    Machines outside the inventory are shown by their MAC address. A report is made when a machine
    boots the inspection ramdisk: hosts of a role with `install: inspect`, and unknown machines
    where discovery is configured.

    Examples:
      rackseed inspect
      rackseed inspect cmp01
      rackseed inspect 52:54:00:aa:00:09 --json
    """
    from provision.inventory.load import load

    loaded = load(inventory)
    newest = read_inspections(store or loaded.store)
    chosen = [find_inspection(host, loaded, newest)] if host else newest
    if as_json:
        facts = [as_facts(one, loaded) for one in chosen]
        report.print_json(facts[0] if host else facts)
    elif host:
        for line in screen(chosen[0], loaded):
            report.print_line(line)
    elif chosen:
        report.print_table(COLUMNS, [row(one, loaded) for one in chosen])
    else:
        report.print_line("no machine has reported its hardware yet")
    return report.ExitStatus.DONE


def read_inspections(url: str) -> "list[Inspection]":
    """The newest report of each machine; a store that does not exist yet is not made.

    Raises StoreError.
    """
    from provision.store import Store

    if not store_exists(url):
        return []
    with Store(url) as opened:
        return opened.newest_inspections()


def find_inspection(name: str, inventory: "Inventory", newest: "list[Inspection]") -> "Inspection":
    """The report of a host, or of a machine by its MAC address.

    Raises BadInput when there is no such machine, NotReported when it has told nothing.
    """
    from provision.inventory.problems import suggestion
    from pxe.addresses import MacAddress

    if known := inventory.hosts.get(name):
        mac = known.mac
    else:
        try:
            mac = MacAddress.parse(name)
        except ValueError:
            error = BadInput(f"there is no host '{name}' in {inventory.path}, expected one of "
                             "its hosts or a MAC address")  # fmt: skip
            error.add_note(suggestion(name, list(inventory.hosts)))
            raise error from None
    for inspection in reversed(newest):
        if inspection.mac == mac or (known is not None and inspection.host == name):
            return inspection
    missing = NotReported(f"{name} has not reported its hardware")
    missing.add_note(f"rackseed explain {name}  tells how far it came")
    raise missing


def differing(inspection: "Inspection", inventory: "Inventory") -> list[str]:
    """Where the machine is not what the inventory says; an unknown one differs in nothing."""
    from provision import hardware

    host = inventory.by_mac.get(inspection.mac) or inventory.hosts.get(inspection.host or "")
    return hardware.differences(host, hardware.Facts(inspection.report)) if host else []


def name_of(inspection: "Inspection", inventory: "Inventory") -> str:
    """The host's name as the inventory has it now."""
    known = inventory.by_mac.get(inspection.mac)
    return known.name if known else inspection.host or "unknown"


def as_facts(inspection: "Inspection", inventory: "Inventory") -> dict[str, Any]:
    """One report for JSON."""
    known = inventory.by_mac.get(inspection.mac)
    return {
        "host": known.name if known else inspection.host,
        "mac": str(inspection.mac),
        "at": inspection.at.isoformat(),
        "differences": differing(inspection, inventory),
        "hardware": dict(inspection.report),
    }


def row(inspection: "Inspection", inventory: "Inventory") -> tuple[str, ...]:
    """One line of the table."""
    from provision.hardware import Facts, size

    facts = Facts(inspection.report)
    differs = differing(inspection, inventory)
    return (
        name_of(inspection, inventory),
        str(inspection.mac),
        f"{inspection.at.astimezone():%Y-%m-%d %H:%M}",
        facts.part("dmi").text("product") or "-",
        facts.part("cpu").text("threads") or "-",
        size(installed(facts)),
        ", ".join(size(disk.number("bytes")) for disk in facts.parts("disks")) or "-",
        ", ".join(pci_id(gpu) for gpu in facts.parts("gpus")) or "-",
        "; ".join(differs) or "-",
    )


def installed(facts: "Facts") -> int:
    """Bytes of memory: what is installed, or what Linux could use."""
    memory = facts.part("memory")
    return memory.number("installed_bytes") or memory.number("bytes")


def pci_id(device: "Facts") -> str:
    """`10de:1028`."""
    return f"{device.text('vendor')}:{device.text('product')}"


def screen(inspection: "Inspection", inventory: "Inventory") -> Iterator[str]:
    """One machine in full, as lines."""
    from provision.hardware import Facts, size

    facts = Facts(inspection.report)
    dmi, cpu = facts.part("dmi"), facts.part("cpu")
    at = f"{inspection.at.astimezone():%Y-%m-%d %H:%M:%S}"
    yield f"{name_of(inspection, inventory)}  {inspection.mac}  {at}"
    for difference in differing(inspection, inventory):
        yield f"  differs   {difference}"
    yield f"  machine   {words(dmi, 'vendor', 'product')}, serial {dmi.text('serial') or 'unknown'}"
    secure = {True: "on", False: "off", None: "not told"}[facts.flag("secure_boot")]
    lockdown = facts.text("lockdown") or "not told"
    yield f"  firmware  {facts.text('firmware')}, Secure Boot {secure}, kernel lockdown {lockdown}"
    virtualization = cpu.text("virtualization") or "no virtualization"
    counts = ", ".join(f"{cpu.number(key)} {key}" for key in ("sockets", "cores", "threads"))
    yield f"  cpu       {cpu.text('model')}: {counts}, {virtualization}"
    yield f"  memory    {size(installed(facts))}"
    for disk in facts.parts("disks"):
        kind = "rotating" if disk.flag("rotational") else "solid-state"
        serial = disk.text("serial") or "unknown"
        yield (
            f"  disk      {disk.text('name'):<9} {size(disk.number('bytes')):>10}  {kind}, "
            f"{words(disk, 'transport', 'model')}, serial {serial}"
        )
    for nic in facts.parts("nics"):
        state = f"{nic.text('driver')}, {link(nic)}"
        yield f"  port      {nic.text('name'):<9} {nic.text('mac')}  {state}"
    for title, kind in (("gpu", "gpus"), ("other", "accelerators")):
        for device in facts.parts(kind):
            yield f"  {title:<9} {pci_id(device)} at {device.text('pci')}"


def words(facts: "Facts", *keys: str) -> str:
    """Those values that are there, one after the other."""
    return " ".join(filter(None, map(facts.text, keys))) or "unknown"


def link(nic: "Facts") -> str:
    """Whether a cable is in, and how fast."""
    if not nic.flag("carrier"):
        return "no link"
    speed = nic.number("speed")
    return f"{speed} Mbit/s" if speed else "link"
