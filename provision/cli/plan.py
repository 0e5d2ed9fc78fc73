"""`rackseed plan`: what would be served and changed, without serving or changing anything."""

from ipaddress import IPv4Address
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
from provision.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provision.inventory.model import Host, Inventory
    from provision.inventory.problems import Problem
    from provision.plan import HostPlan
    from provision.store.hosts import HostRecord


def plan(
    host: Annotated[
        str | None, typer.Argument(metavar="HOST", help="One host in full; without it a table.")
    ] = None,
    inventory: InventoryOption = DEFAULT_INVENTORY,
    answer: Annotated[
        bool, typer.Option("--answer", help="Also show the installer's answer of HOST.")
    ] = False,
    diff: Annotated[
        bool,
        typer.Option("--diff", help="Only what changed for HOST since it was last installed."),
    ] = False,
    armed: Annotated[bool, typer.Option("--armed", help="As if the hosts were armed.")] = False,
    as_json: JsonOption = False,
    store: StoreOption = None,
) -> int:
    """Show what each host would be served at its next boot, and what that would change.

    Nothing is served, written or used up: where a single-use URL will be, <single-use> stands. An
    answer of ours that is shown is also given to its installer's own reader and to shellcheck.

    Examples:
      rackseed plan
      rackseed plan cmp01
      rackseed plan cmp01 --armed --answer
      rackseed plan cmp01 --diff
    """
    from provision import plan as planning
    from provision.inventory.load import load
    from provision.inventory.problems import InventoryInvalid
    from provision.inventory.views import settings

    if answer and not host:
        raise BadInput("--answer shows the answer of one host, expected its name:  "
                       "rackseed plan HOST --answer")  # fmt: skip
    if diff and not host:
        raise BadInput("--diff compares what one host is served, expected its name:  "
                       "rackseed plan HOST --diff")  # fmt: skip
    loaded = load(inventory)
    if diff and host:
        return show_difference(loaded, known_host(loaded, host), store or loaded.store, as_json)
    names = [known_host(loaded, host)] if host else list(loaded.hosts)
    records = {} if armed else read_records(store or loaded.store)
    server = settings(loaded, address_if_any(loaded))
    plans = [
        planning.plan_host(loaded, loaded.hosts[name], record_of(name, records, armed), server)
        for name in names
    ]
    answers = {
        each.host.name: planning.answer_of(loaded, each.host, server)
        for each in plans
        if answer and host
    }
    if as_json:
        report.print_json([as_facts(each, answers.get(each.host.name)) for each in plans])
    elif host:
        show_host(plans[0], answers.get(host))
    else:
        show_table(plans)
    if answers and (problems := problems_of(loaded, plans[0].host)):
        raise InventoryInvalid(problems)
    return report.ExitStatus.DONE


def problems_of(inventory: "Inventory", host: "Host") -> "list[Problem]":
    """What the readers of a host's answer say of it: its installer's own, and shellcheck."""
    from provision.inventory.views import answered_by_us
    from provision.run import run
    from provision.verify_answers import verify_answer

    return list(verify_answer(inventory, host, run)) if answered_by_us(host.role) else []


def show_difference(inventory: "Inventory", host: str, url: str, as_json: bool) -> int:
    """What an installation of a host would be served otherwise than the last one was.

    Raises StoreError, AnswerError.
    """
    from datetime import UTC, datetime

    from provision.served import difference, present
    from provision.store import Store, served

    before = None
    if store_exists(url):
        with Store(url) as opened, opened.database.reading() as connection:
            before = served.find(connection, host)
    if before is None:
        message = f"{host} was not yet served an installation from {url}"
        error = BadInput(f"{message}, expected one to compare with")
        error.add_note(f"what it would be served:  rackseed plan {host} --armed --answer")
        raise error
    now = present(inventory, inventory.hosts[host], datetime.now(UTC))
    lines = list(difference(before, now))
    when = before.at.isoformat(timespec="seconds")
    if as_json:
        report.print_json({"host": host, "served": when, "diff": lines})
    elif not lines:
        report.print_good(f"{host} would be served what it was served at {when}")
    for line in () if as_json else lines:
        report.print_marked(line, COLOURS.get(line[:1]), bold=False)
    return report.ExitStatus.DONE


COLOURS = {"+": typer.colors.GREEN, "-": typer.colors.RED, "@": typer.colors.CYAN}
"""Of a diff's lines, by their first character."""


def known_host(inventory: "Inventory", name: str) -> str:
    """The name of a host that the inventory has.

    Raises BadInput.
    """
    from provision.inventory.problems import suggestion

    if name in inventory.hosts:
        return name
    error = BadInput(f"there is no host '{name}' in {inventory.path}, expected one of its hosts")
    error.add_note(suggestion(name, list(inventory.hosts)))
    raise error


def read_records(url: str) -> "Mapping[str, HostRecord]":
    """Where the hosts stand; a store that does not exist yet is not made.

    Raises StoreError.
    """
    from provision.store import Store, StoreError

    try:
        if not store_exists(url):
            return {}
        with Store(url) as opened:
            return opened.records()
    except StoreError as error:
        error.add_note("without the store:  rackseed plan --armed")
        raise


def record_of(name: str, records: "Mapping[str, HostRecord]", armed: bool) -> "HostRecord":
    """Where a host stands, or would stand if it were armed."""
    from provision.lifecycle import HostState
    from provision.store.hosts import HostRecord

    if armed:
        return HostRecord(name, HostState.ARMED)
    return records.get(name) or HostRecord(name)


def address_if_any(inventory: "Inventory") -> IPv4Address:
    """Our own address on the segment; one that stands for it where this machine has none."""
    from provision.interface import server_address
    from provision.plan import UNKNOWN_SERVER
    from pxe.errors import InterfaceUnusable

    try:
        return server_address(inventory)
    except InterfaceUnusable:
        return UNKNOWN_SERVER


def as_facts(plan: "HostPlan", answer: str | None = None) -> dict[str, Any]:
    """A plan for JSON."""
    from provision.plan import name_server

    host = plan.host
    facts = {
        "host": host.name,
        "rack": host.rack,
        "mac": str(host.mac),
        "address": str(host.address),
        "role": host.role.name,
        "firmware": host.firmware.value,
        "secure_boot": host.secure_boot,
        "state": plan.record.state.value,
        "programs": [name_server(program) for program in plan.programs],
        "script_name": plan.script_name,
        "next_boot": plan.action,
        "changes": list(plan.changes),
        "script": name_server(plan.script),
    }
    return facts if answer is None else {**facts, "answer": name_server(answer)}


def show_host(plan: "HostPlan", answer: str | None) -> None:
    """One host in full."""
    facts = as_facts(plan, answer)
    secure = " with Secure Boot" if plan.host.secure_boot else ""
    report.print_line(f"{facts['host']} in rack {facts['rack']}, role {facts['role']}")
    rows = {
        "mac": facts["mac"],
        "address": facts["address"],
        "firmware": f"{facts['firmware']}{secure}",
        "state": facts["state"],
        "boots": " then ".join([*facts["programs"], facts["script_name"]]),
        "next boot": facts["next_boot"],
    }
    for name, value in rows.items():
        report.print_line(f"  {name:<10} {value}")
    for index, change in enumerate(facts["changes"] or ["nothing"]):
        report.print_line(f"  {'' if index else 'changes':<10} {change}")
    report.print_block(facts["script_name"], facts["script"])
    if answer is not None:
        report.print_block("the answer, once", facts["answer"])


def show_table(plans: "list[HostPlan]") -> None:
    """One line per host."""
    columns = ("host", "address", "firmware", "state", "boot program", "next boot")
    rows = []
    for plan in plans:
        facts = as_facts(plan)
        secure = "+sb" if plan.host.secure_boot else ""
        first = facts["programs"][0] if facts["programs"] else "none"
        firmware = f"{facts['firmware']}{secure}"
        rows.append(
            (facts["host"], facts["address"], firmware, facts["state"], first, facts["next_boot"])
        )
    report.print_table(columns, rows)
