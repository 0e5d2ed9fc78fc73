"""`rackseed rpm check`: whether what our packages ask for exists under that name."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from provision.cli import report
from provision.cli.options import JsonOption
from provision.errors import BadInput

if TYPE_CHECKING:
    from rpmspecs.check import Finding, Known
    from rpmspecs.errors import RepositoryUnavailable
    from rpmspecs.namelist import NameList
    from rpmspecs.target import Target

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Checked:
    """What came out for one target."""

    target: str
    rests_on: str
    unreadable: Mapping[str, str]
    """Repositories that could not be read, and why."""
    needs: int
    findings: "Sequence[Finding]"


def check(
    specs: Annotated[
        list[str] | None,
        typer.Argument(metavar="SPEC", help="Specs of ours by name, others by path; all of ours."),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A target; may be given again. All with recorded names."),
    ] = None,
    mirror: Annotated[
        str | None, typer.Option(metavar="URL", help="Read the repositories from this server.")
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Ask no repository, only the recorded names.")
    ] = False,
    as_json: JsonOption = False,
) -> int:
    """Find what our packages ask for and a target lacks.

    Each target's repositories are asked by their metadata, which is kept for the next time; for
    those that cannot be reached, names recorded with their sources take their place, and it is
    said. What our own specs make counts as there.

    Example:
      rackseed rpm check --target centos-stream-9 --target fedora-43
    """
    from rpmspecs.namelist import find_names
    from rpmspecs.target import load_target, targets

    chosen = [load_target(name) for name in target or targets()]
    lists = {one.name: find_names(one) for one in chosen}
    if not target:
        chosen = [one for one in chosen if lists[one.name] is not None]
    checked = [check_target(one, lists[one.name], specs, mirror, offline) for one in chosen]
    if as_json:
        report.print_json([as_facts(one) for one in checked])
    else:
        for one in checked:
            show(one)
    fatal = any(finding.fatal for one in checked for finding in one.findings)
    return report.ExitStatus.FAILED if fatal else report.ExitStatus.DONE


def check_target(
    target: "Target",
    names: "NameList | None",
    specs: Sequence[str] | None,
    mirror: str | None,
    offline: bool,
) -> Checked:
    """Read our specs for one target, and ask for all that they want."""
    from provision import run
    from rpmspecs.check import check as find
    from rpmspecs.check import read_needs
    from rpmspecs.running import Programs
    from rpmspecs.spec import find_spec, find_specs, own_specs
    from rpmspecs.target import with_mirror

    programs = Programs(run.run, run.start)
    ours = {find_spec(name) for name in own_specs(target)}
    asked = find_specs(specs or [], target)
    needs, provided = read_needs(asked, target, programs)
    if rest := sorted(ours - set(asked)):
        provided |= read_needs(rest, target, programs)[1]
    where = with_mirror(target, mirror) if mirror else target
    known, unreadable = ask_repositories(where, names, offline)
    why = {name: str(error) for name, error in unreadable.items()}
    return Checked(target.name, known.origin, why, len(needs), find(needs, provided, known))


def ask_repositories(
    target: "Target", names: "NameList | None", offline: bool
) -> "tuple[Known, Mapping[str, RepositoryUnavailable]]":
    """What knows the target's names best, and the repositories that could not be read.

    Raises BadInput when nothing does.
    """
    from rpmspecs.capabilities import default_cache, merged, read_target
    from rpmspecs.check import Both, FromNames, FromRepositories

    recorded = FromNames(names) if names is not None else None
    found, failed = ({}, {}) if offline else read_target(target, default_cache(os.environ))
    for name, error in failed.items():
        log.info("repository not read target=%s name=%s why=%s", target.name, name, error)
    if found:
        origin = f"the repositories {', '.join(found)}"
        repositories = FromRepositories(merged(found.values()), origin, names)
        if not failed or recorded is None:
            return repositories, failed
        return Both(repositories, recorded), failed
    if recorded is not None:
        return recorded, failed
    nothing = BadInput(f"no repository of {target.name} was read, and no names are recorded")
    for error in failed.values():
        nothing.add_note(str(error))
    raise nothing


def show(checked: Checked) -> None:
    """One target's findings, the fatal ones first, each name once."""
    fatal = [finding for finding in checked.findings if finding.fatal]
    others = [finding for finding in checked.findings if not finding.fatal]
    line = f"{checked.target}: {checked.needs} needs against {checked.rests_on}"
    for name, why in checked.unreadable.items():
        report.show_warning(f"{checked.target}: repository {name} was not read: {why}")
    if fatal:
        report.print_alarm(f"{line}: {len({finding.name for finding in fatal})} names are missing")
    else:
        report.print_good(f"{line}: nothing is missing")
    for finding in by_name(fatal):
        report.print_line(f"  missing  {sentence(finding)}")
    for finding in by_name(others):
        report.print_line(f"  note     {sentence(finding)}")


def by_name(findings: "Sequence[Finding]") -> "list[Finding]":
    """The first finding of each name."""
    first: dict[str, Finding] = {}
    for finding in findings:
        first.setdefault(finding.name, finding)
    return list(first.values())


def sentence(finding: "Finding") -> str:
    """One finding in words."""
    need = finding.need
    return f"{finding.name} ({need.package} {need.kind.value} it): {finding.answer.how}"


def as_facts(checked: Checked) -> dict[str, Any]:
    """One target for JSON."""
    return {
        "target": checked.target,
        "rests_on": checked.rests_on,
        "unreadable": dict(checked.unreadable),
        "needs": checked.needs,
        "findings": [
            {
                "name": finding.name,
                "package": finding.need.package,
                "kind": finding.need.kind.value,
                "need": finding.need.text,
                "verdict": finding.answer.verdict.value,
                "how": finding.answer.how,
                "instead": finding.answer.instead or None,
                "fatal": finding.fatal,
            }
            for finding in checked.findings
        ],
    }
