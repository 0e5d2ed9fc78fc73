"""What every host would be given, put into its consumers' hands before a host asks."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from kickstarts.installers import INSTALLERS
from provision.deploy import AnswerError, InstallPlan
from provision.errors import ProgramFailed
from provision.inventory import views
from provision.inventory.model import Host, Inventory, Place, Role, System
from provision.inventory.problems import Problem, all_nearest, suggestion
from provision.lifecycle import HostState
from provision.plan import (
    LATER_COMPANIONS,
    MADE_OF,
    STARTERS,
    UNKNOWN_SERVER,
    answer_of,
    loader_of,
    name_server,
    plan_host,
    programs_of,
)
from provision.progress import Progress, unseen
from provision.store.hosts import HostRecord
from pxe.boot import Loader
from pxe.errors import MissingProgram, RenderError
from pxe.programs import require
from pxe.ramdisk.build import find_busybox
from pxe.ramdisk.kernel import find_kernel
from pxe.settings import Settings
from rpmspecs.errors import RpmError
from rpmspecs.states import State, live_state

GRUB_CHECKERS = ("grub-script-check", "grub2-script-check")
"""The same program under Debian's and Fedora's name."""


class Run(Protocol):
    """Runs one program to its end and returns its standard output."""

    def __call__(self, argv: list[str], /) -> str:
        """Raises ProgramFailed."""


def verify_programs(inventory: Inventory, root: Path = Path("/")) -> list[Problem]:
    """The boot programs that these hosts' firmwares ask for are installed."""
    settings = _settings(inventory)
    users: dict[str, Host] = {}
    for host in inventory.hosts.values():
        for program in programs_of(host, settings):
            name = program.rpartition("/")[2]
            for needed in (*MADE_OF.get(name, (name,)), *LATER_COMPANIONS.get(name, ())):
                users.setdefault(needed, host)
        system = views.system_of(host.role, inventory)
        if system is not None and system.hypervisor is not None:
            for needed in STARTERS.get(loader_of(host), ()):
                users.setdefault(needed, host)
    problems = []
    for program, host in users.items():
        try:
            require([program], root)
        except MissingProgram as error:
            hint = next(iter(getattr(error, "__notes__", ())), None)
            problems.append(_problem(inventory, host, f"{error}; {host.name} boots it", hint))
    return problems


def verify_ramdisk(
    inventory: Inventory, finders: Iterable[Callable[[], object]] = (find_kernel, find_busybox)
) -> list[Problem]:
    """What the ramdisk is built from is installed: every host begins with an inspection."""
    problems = []
    for find in finders:
        try:
            find()
        except MissingProgram as error:
            hint = next(iter(getattr(error, "__notes__", ())), None)
            message = f"the ramdisk cannot be built: {error}"
            problems.append(Problem(Place(inventory.path, 1), "", message, hint))
    return problems


def verify_scripts(inventory: Inventory, progress: Progress = unseen) -> list[Problem]:
    """Every boot script of every host in every state can be written."""
    problems = []
    settings = _settings(inventory)
    for host in progress("boot scripts", inventory.hosts.values()):
        for state in HostState:
            try:
                plan_host(inventory, host, HostRecord(host.name, state), settings)
            except RenderError as error:
                message = f"no boot script can be written: {error}"
                problems.append(_problem(inventory, host, message))
                break
    return problems


def verify_answers(inventory: Inventory, progress: Progress = unseen) -> list[Problem]:
    """Every host's answer can be made, from templates that parse, and its installer takes it.

    Each mistake is told once. One answer of each role is read, where the system is known.
    """
    settings = _settings(inventory)
    users: dict[tuple[str, str], list[Host]] = {}
    texts: dict[str, tuple[Host, str | None]] = {}
    for host in progress("answers of your own templates", inventory.hosts.values()):
        if views.answered_by_us(host.role):
            continue  # verify_answers
        try:
            texts.setdefault(host.role.name, (host, answer_of(inventory, host, settings)))
        except AnswerError as error:
            users.setdefault((host.role.name, str(error)), []).append(host)
    problems = [_answer_problem(inventory, error, hosts) for (_, error), hosts in users.items()]
    for host, text in texts.values():
        problems += _own_problems(inventory, host, text or "")
    return problems


def _own_problems(inventory: Inventory, host: Host, text: str) -> Iterator[Problem]:
    """What the installer of a system that we know would not take of an operator's answer."""
    role = host.role
    known = INSTALLERS.get(role.os or "")
    if role.answer is None or known is None or known.answer != role.install.value:
        return
    for finding in known.read(text, role.os or "").findings:
        if finding.message.startswith(("%include", "/")):
            continue  # a person may include what no script writes, or writes in a way of his own
        where = f"{role.answer} as it is filled for {host.name}"
        place = role.place or Place(inventory.path, 1)
        yield Problem(place, f"roles.{role.name}.answer", f"{where}, {finding}")


def _answer_problem(inventory: Inventory, error: str, hosts: list[Host]) -> Problem:
    role = hosts[0].role
    others = f" and {len(hosts) - 1} more" if len(hosts) > 1 else ""
    message = f"no answer can be made for {hosts[0].name}{others}: {error}"
    hint = None
    if unknown := re.search("'(.*)' is undefined", error):
        hint = suggestion(unknown[1], [field.name for field in fields(InstallPlan)])
    place = role.place or Place(inventory.path, 1)
    return Problem(place, f"roles.{role.name}.answer", message, hint)


def verify_packages(inventory: Inventory) -> list[Problem]:
    """What roles install is in the repository of their system; each lack is told once."""
    roles = {host.role.name: host.role for host in inventory.hosts.values()}
    problems: dict[object, Problem] = {}
    for role in roles.values():
        system, package = views.system_of(role, inventory), views.package_of(role)
        if system is None or package is None:
            continue
        if system.packages is None:
            if views.answered_by_us(role):
                problems.setdefault(system.name, _no_repository(inventory, role, system, package))
            continue
        found = _repository(inventory, system, system.packages)
        if isinstance(found, Problem):
            problems.setdefault(system.name, found)
        elif problem := _package_problem(inventory, role, system.packages, found, package):
            problems.setdefault((system.name, package), problem)
        elif views.answered_by_us(role) and (
            problem := _package_problem(inventory, role, system.packages, found, views.RELEASE)
        ):
            problems.setdefault((system.name, views.RELEASE), problem)
    return list(problems.values())


def _no_repository(inventory: Inventory, role: Role, system: System, package: str) -> Problem:
    """Only an operator's own template may know another place where the package is."""
    place, key = system.place or Place(inventory.path, 1), f"systems.{system.name}"
    url = f"{_settings(inventory).http_url}/{views.REPOSITORIES}{system.name}"
    folder = f"{views.REPOSITORIES}{system.name}"
    message = f"role {role.name} installs {package}, expected the key 'packages' with where it is"
    hint = f"rackseed rpm publish RESULTS --repository {folder} --url {name_server(url)}"
    return Problem(place, key, message, f"{hint}, then add  packages: {folder}")


def _repository(inventory: Inventory, system: System, folder: Path) -> State | Problem:
    """What is published for a system, or what keeps its hosts from using it."""
    place, key = system.place or Place(inventory.path, 1), f"systems.{system.name}.packages"
    again = f"rackseed rpm publish RESULTS --repository {folder}"
    url = f"{_settings(inventory).http_url}/{views.REPOSITORIES}{system.name}"
    with_url = f"{again} --url {name_server(url)}"
    try:
        state = live_state(folder)
    except RpmError as error:
        return Problem(place, key, str(error), with_url)
    if state is None:
        message = f"{folder} holds no published packages, expected a repository"
        return Problem(place, key, message, with_url)
    if state.url is None:
        message = f"{folder} was published without its URL, so there is no rackseed.repo for hosts"
        return Problem(place, key, message, with_url)
    return state


def _package_problem(
    inventory: Inventory, role: Role, folder: Path, state: State, package: str
) -> Problem | None:
    known = sorted({entry.name for entry in state.packages})
    if package in known:
        return None
    message = f"the package {package} is not in {folder}, expected it there"
    near = all_nearest(package.removeprefix(views.METAPACKAGES), _roles_of(known))
    hint = f"rackseed rpm build, then  rackseed rpm publish RESULTS --repository {folder}"
    if near:
        hint = f"did you mean {' or '.join(map(repr, near))}? else {hint}"
    place = role.place or Place(inventory.path, 1)
    return Problem(place, f"roles.{role.name}.metapackage", message, hint)


def _roles_of(packages: Iterable[str]) -> list[str]:
    """The metapackages among them, as roles name them."""
    prefix = views.METAPACKAGES
    return [name.removeprefix(prefix) for name in packages if name.startswith(f"{prefix}node-")]


def verify_grub(inventory: Inventory, run: Run, checker: str) -> list[Problem]:
    """GRUB's own parser takes the scripts; one host of each kind stands for all."""
    problems = []
    with TemporaryDirectory(prefix="rackseed-check-") as folder:
        path = Path(folder, "grub.cfg")
        for host, script in grub_scripts(inventory):
            path.write_text(script, encoding="utf-8")
            try:
                run([checker, str(path)])
            except ProgramFailed as error:
                said = error.last_lines.replace(str(path), "line").replace("\n", "; ")
                message = f"GRUB does not take its boot script: {said}"
                problems.append(_problem(inventory, host, message))
    return problems


def grub_scripts(inventory: Inventory) -> Iterable[tuple[Host, str]]:
    """The scripts of one host per role, in each state, without repetitions."""
    settings = _settings(inventory)
    kinds: Mapping[str, Host] = {
        host.role.name: host for host in inventory.hosts.values() if loader_of(host) is Loader.GRUB
    }
    for host in kinds.values():
        records = (HostRecord(host.name, state) for state in HostState)
        scripts = (plan_host(inventory, host, record, settings).script for record in records)
        yield from ((host, script) for script in dict.fromkeys(scripts))


def _settings(inventory: Inventory) -> Settings:
    return views.settings(inventory, inventory.network.server or UNKNOWN_SERVER)


def _problem(inventory: Inventory, host: Host, message: str, hint: str | None = None) -> Problem:
    place = host.place or Place(inventory.path, 1)
    return Problem(place, f"racks.{host.rack}.{host.name}", message, hint)
