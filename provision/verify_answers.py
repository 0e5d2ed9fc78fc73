"""Our own answers in the hands of those who will read them: the installer and the shell."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypedDict

from kickstarts import installers
from kickstarts.errors import KickstartError
from kickstarts.kinds import kind
from kickstarts.plan import InstallPlan, SecretsSource
from kickstarts.validate import Script
from provision import deploy
from provision.errors import AnswerError, ProgramFailed
from provision.inventory import views
from provision.inventory.model import Host, Install, Inventory, Place
from provision.inventory.problems import Problem
from provision.plan import MASKED_TOKEN, UNKNOWN_SERVER, masked_secrets
from provision.progress import Progress, unseen
from provision.secrets import missing

SHELLCHECK = "shellcheck"
DEBCONF = "debconf-set-selections"
"""Where the machine is itself a Debian or an Ubuntu."""
SHELLS = {"/bin/sh": "dash"}
"""What shellcheck calls an interpreter; it takes all others for bash."""
TO_STDERR = 'exec "$@" >&2'
"""Its findings come on standard output; a failed program is told with its standard error."""

Run = Callable[[list[str]], str]


class _Urls(TypedDict):
    report: str
    secrets: SecretsSource


def verify_answers(
    inventory: Inventory,
    run: Run | None,
    progress: Progress = unseen,
    has: Callable[[str], object] = shutil.which,
) -> list[Problem]:
    """Every host's plan can be made, and what is rendered is taken; one of each kind is read.

    `run` starts the readers that are programs, those of them that the machine `has`; None: none.
    """
    refused: dict[tuple[str, str, str | None], list[Host]] = {}
    kinds: dict[InstallPlan, Host] = {}
    for host in progress("plans of hosts", inventory.hosts.values()):
        if views.answered_by_us(host.role):
            try:
                plan = views.install_plan(host, inventory, _base(inventory), **_urls(inventory))
                kinds.setdefault(kind(plan), host)
            except KickstartError as error:
                hint = next(iter(getattr(error, "__notes__", ())), None)
                refused.setdefault((host.role.name, str(error), hint), []).append(host)
    problems = [
        _problem(inventory, hosts[0], f"no answer can be made for {_names(hosts)}: {why}", hint)
        for (_, why, hint), hosts in refused.items()
    ]
    scripts: set[tuple[str, str]] = set()
    for host in progress("answers, one of each kind", kinds.values()):
        problems += verify_answer(inventory, host, run, scripts, has)
    return problems


def verify_answer(
    inventory: Inventory,
    host: Host,
    run: Run | None,
    known: set[tuple[str, str]] | None = None,
    has: Callable[[str], object] = shutil.which,
) -> Iterator[Problem]:
    """What is wrong with the answer of ours for one host; `known` are scripts read before."""
    start = run if run is not None and has(SHELLCHECK) else None
    yield from _read(inventory, host, start, set() if known is None else known)
    if run is not None and host.role.install is Install.PRESEED and has(DEBCONF):
        yield from _check_selections(inventory, host, run)


def verify_secrets(inventory: Inventory) -> list[Problem]:
    """Each secret that a host will fetch is in the file of secrets."""
    wanted: dict[str, Host] = {}
    for host in inventory.hosts.values():
        try:
            names = views.secrets_of(host.role)
        except KickstartError:
            continue  # told by verify_answers
        wanted |= {name: host for name in names if name not in wanted}
    if not wanted:
        return []
    first = next(iter(wanted.values()))
    if inventory.secrets is None:
        message = f"no file of secrets is named; {first.name} needs {len(wanted)} of them"
        hint = "install -m 600 /dev/null secrets.yaml, add  secrets: secrets.yaml"
        return [Problem(Place(inventory.path, 1), "secrets", message, hint)]
    try:
        lacks = missing(inventory.secrets, wanted)
    except AnswerError as error:
        return [Problem(Place(inventory.path, 1), "secrets", str(error), None)]
    if not lacks:
        return []
    message = f"{inventory.secrets} lacks {', '.join(lacks)}, which {wanted[lacks[0]].name} needs"
    return [Problem(Place(inventory.path, 1), "secrets", message, "rackseed secrets init")]


def _read(
    inventory: Inventory, host: Host, run: Run | None, known: set[tuple[str, str]]
) -> Iterator[Problem]:
    """What is wrong with the answer of one host; `known` are the scripts that were read before."""
    try:
        text = deploy.own_answer(
            inventory, host, _base(inventory), **_urls(inventory), masked=False
        )
    except AnswerError as error:
        hint = next(iter(getattr(error, "__notes__", ())), None)
        message = f"no answer can be made for {host.name}: {error}"
        yield _problem(inventory, host, message, hint)
        return
    reading = installers.read(text, host.role.os or "")
    for finding in reading.findings:
        yield _problem(inventory, host, f"the {_answer(host)} of {host.name}, {finding}")
    for script in reading.scripts if run is not None else ():
        if (script.interpreter, script.text) not in known:
            known.add((script.interpreter, script.text))
            yield from _check_script(inventory, host, script, run)


def _check_script(
    inventory: Inventory, host: Host, script: Script, run: Run | None
) -> Iterator[Problem]:
    assert run is not None
    shell = SHELLS.get(script.interpreter, "bash")
    with TemporaryDirectory(prefix="rackseed-check-") as folder:
        path = Path(folder, "script")
        path.write_text(script.text, encoding="utf-8")
        argv = [SHELLCHECK, f"--shell={shell}", "--severity=warning", "--format=gcc", str(path)]
        try:
            run(["sh", "-c", TO_STDERR, "sh", *argv])
        except ProgramFailed as error:
            said = error.last_lines.replace(f"{path}:", "line ").replace("\n", "; ")
            where = f"{script.section} at line {script.line} of {host.name}'s {_answer(host)}"
            yield _problem(inventory, host, f"{where}: {said}")


def _check_selections(inventory: Inventory, host: Host, run: Run) -> Iterator[Problem]:
    try:
        text = masked_answer(inventory, host)
    except AnswerError:
        return  # told by _read
    with TemporaryDirectory(prefix="rackseed-check-") as folder:
        path = Path(folder, "preseed.cfg")
        path.write_text(text, encoding="utf-8")
        try:
            run([DEBCONF, "--checkonly", str(path)])
        except ProgramFailed as error:
            said = error.last_lines.replace("\n", "; ")
            yield _problem(inventory, host, f"the {_answer(host)} of {host.name}, {said}")


def masked_answer(inventory: Inventory, host: Host) -> str:
    """The answer of one host as people may see it.

    Raises AnswerError.
    """
    return deploy.own_answer(inventory, host, _base(inventory), **_urls(inventory), masked=True)


def _answer(host: Host) -> str:
    return installers.installer(host.role.os or "").answer


def _base(inventory: Inventory) -> str:
    return views.settings(inventory, inventory.network.server or UNKNOWN_SERVER).http_url


def _urls(inventory: Inventory) -> _Urls:
    settings = views.settings(inventory, inventory.network.server or UNKNOWN_SERVER)
    report = deploy.report_url(settings.http_url, MASKED_TOKEN)
    return {"report": report, "secrets": masked_secrets(settings)}


def _names(hosts: list[Host]) -> str:
    others = f" and {len(hosts) - 1} more" if len(hosts) > 1 else ""
    return f"{hosts[0].name}{others}"


def _problem(inventory: Inventory, host: Host, message: str, hint: str | None = None) -> Problem:
    place = host.role.place or Place(inventory.path, 1)
    return Problem(place, f"roles.{host.role.name}", message, hint)
