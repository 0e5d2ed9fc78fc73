"""`rackseed check`: every mistake in the inventory and in what it names, at once."""

import logging
import shutil
import socket
from collections import Counter
from typing import Any

from provision.cli import report
from provision.cli.options import DEFAULT_INVENTORY, InventoryOption, JsonOption
from provision.cli.progress import shown
from provision.inventory.model import Inventory
from provision.inventory.problems import InventoryInvalid, Problem
from provision.progress import Progress, unseen

log = logging.getLogger(__name__)


def check(
    inventory: InventoryOption = DEFAULT_INVENTORY,
    as_json: JsonOption = False,
) -> int:
    """Check the inventory and all that it names, without changing or serving anything.

    Tells every mistake at once: in the file itself, missing kernels, images, boot programs and
    packages, answer templates that do not parse, boot scripts that GRUB would not understand. Of
    answers of ours each distinct one is read by its installer's own reader and by shellcheck, and
    the packages that it names are looked for in its system's tree, when that can be reached.

    Example:
      rackseed check -i rack.yaml
    """
    from provision.inventory.load import load
    from provision.inventory.verify import warn

    loaded = load(inventory)
    warnings = warn(loaded, [name for _, name in socket.if_nameindex()])
    with shown() as progress:
        problems = find_problems(loaded, progress)
    for warning in warnings:
        report.show_warning(warning)
    if problems:
        raise InventoryInvalid(problems)
    if as_json:
        report.print_json({**summary(loaded), "warnings": [as_facts(w) for w in warnings]})
    else:
        show_summary(loaded)
    return report.ExitStatus.DONE


def summary(inventory: Inventory) -> dict[str, Any]:
    """How many hosts there are, of what kind."""
    hosts = inventory.hosts.values()
    return {
        "inventory": str(inventory.path),
        "hosts": len(inventory.hosts),
        "racks": Counter(host.rack for host in hosts),
        "roles": Counter(host.role.name for host in hosts),
        "firmware": Counter(
            firmware_words(host.firmware.value, host.secure_boot) for host in hosts
        ),
    }


def firmware_words(firmware: str, secure_boot: bool) -> str:
    """A host's firmware in a word or two."""
    return f"{firmware} with Secure Boot" if secure_boot else firmware


def as_facts(problem: Problem) -> dict[str, Any]:
    """A problem for JSON."""
    return {
        "file": str(problem.place.path),
        "line": problem.place.line,
        "key": problem.key,
        "message": problem.message,
        "hint": problem.hint,
    }


def show_summary(inventory: Inventory) -> None:
    """A short green summary."""
    facts = summary(inventory)
    report.print_good(f"{inventory.path}: {facts['hosts']} hosts, nothing wrong")
    for name in ("racks", "roles", "firmware"):
        counts = ", ".join(f"{what} {count}" for what, count in facts[name].items())
        report.print_line(f"  {name:<9} {counts}")


def find_problems(inventory: Inventory, progress: Progress = unseen) -> list[Problem]:
    """Everything outside the file that would keep a host from its boot."""
    from provision import verify, verify_answers, verify_names
    from provision.inventory.verify import verify_files
    from provision.run import run

    problems = [
        *verify.verify_ramdisk(inventory),
        *verify_files(inventory),
        *verify.verify_programs(inventory),
        *verify.verify_packages(inventory),
        *verify_answers.verify_secrets(inventory),
    ]
    if shutil.which(verify_answers.SHELLCHECK) is None:
        log.info("scripts of answers are not checked: shellcheck is not installed")
    problems += verify_answers.verify_answers(inventory, run, progress)
    problems += verify_names.verify_names(inventory, progress)
    unwritable = verify.verify_scripts(inventory, progress)
    checker = next(filter(shutil.which, verify.GRUB_CHECKERS), None)
    if checker is None:
        log.info("GRUB scripts are not parsed: %s is not installed", verify.GRUB_CHECKERS[0])
    elif not unwritable:
        problems += verify.verify_grub(inventory, run, checker)
    broken = {problem.place.path for problem in problems}
    if not broken & {host.role.answer for host in inventory.hosts.values()}:
        problems += verify.verify_answers(inventory, progress)
    return problems + unwritable
