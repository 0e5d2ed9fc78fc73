"""`rackseed rpm build`: specs to packages, in mock or where there is none."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.live import Live

from provision.cli import report
from provision.cli.options import JsonOption
from provision.cli.progress import logging_above
from provision.cli.rpm import options
from provision.cli.rpm.options import Builder, KojiWishes
from provision.cli.rpm.publish import our_programs
from provision.errors import BadInput
from rpmspecs.settings import BuildSettings, Isolation

if TYPE_CHECKING:
    from provision.cli.rpm.view import Progress
    from rpmspecs.backend import Backend
    from rpmspecs.build import Event, Way
    from rpmspecs.steps import Step
    from rpmspecs.target import Target

REFRESH_PER_SECOND = 4


def build(
    spec: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SPEC",
            help="Name of one of ours, or a spec or its folder; all of ours if none.",
        ),
    ] = None,
    target: options.TargetOption = None,
    backend: options.BackendOption = Builder.AUTO,
    results: options.ResultsOption = Path("results"),
    jobs: options.JobsOption = None,
    mirror: options.MirrorOption = None,
    proxy: options.ProxyOption = None,
    isolation: options.IsolationOption = Isolation.AUTO,
    bootstrap: options.BootstrapOption = True,
    bootstrap_image: options.BootstrapImageOption = None,
    koji_profile: options.KojiProfileOption = "koji",
    koji_target: options.KojiTargetOption = None,
    koji_scratch: options.KojiScratchOption = False,
    koji_user: options.KojiUserOption = None,
    koji_password: options.KojiPasswordOption = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Show the order and mock's configuration; build nothing."),
    ] = False,
    rebuild: options.AgainOption = False,
    as_json: JsonOption = False,
) -> int:
    """Build packages from specs, ours or your own.

    Ours are named by their names, yours by the path of a spec or its folder. Sources are fetched by
    their digests and kept. What a spec needs of others is built first and offered to it; what was
    built of the same spec, sources and target is not built again.

    Examples:
      rackseed rpm build --target fedora-43
      rackseed rpm build my/tool.spec --target centos-stream-10 --target rocky-9
      rackseed rpm build --target site.yaml --mirror http://mirror.lan/ --dry-run
    """
    from rpmspecs.build import Way
    from rpmspecs.dnf import check_url
    from rpmspecs.results import is_built
    from rpmspecs.sources import default_cache
    from rpmspecs.spec import find_specs
    from rpmspecs.steps import plan

    programs = our_programs()
    check_url("--proxy", proxy)
    settings = BuildSettings(
        proxy=proxy, bootstrap=bootstrap, bootstrap_image=bootstrap_image, isolation=isolation
    )
    koji = KojiWishes(koji_profile, koji_target, koji_scratch, koji_user, koji_password)
    targets = chosen_targets(target or [], mirror)
    name = chosen_backend(backend)
    steps = [
        step
        for one in targets
        for step in plan(find_specs(spec or [], one), [one], name.value, programs)
    ]
    if dry_run:
        reused = set() if rebuild else {step.key for step in steps if is_built(step, results)}
        show_plan(steps, reused, targets, name, settings, as_json=as_json)
        return report.ExitStatus.DONE
    way = Way(
        backend=make_backend(name, settings, koji),
        programs=programs,
        results=results,
        cache=default_cache(),
        jobs=jobs or len(os.sched_getaffinity(0)),
        rebuild=rebuild,
        proxy=proxy,
    )
    return build_all(steps, way, as_json=as_json)


def chosen_targets(names: Sequence[str], mirror: str | None) -> "list[Target]":
    """The targets that are named, their repositories on the mirror. Raises BadInput."""
    from rpmspecs.target import load_target, targets, with_mirror

    if not names:
        error = BadInput("--target is missing, expected what to build for")
        error.add_note(f"known: {', '.join(targets())}; or the path of a YAML file of your own")
        raise error
    found = {target.name: target for target in map(load_target, dict.fromkeys(names))}
    return [with_mirror(t, mirror) if mirror else t for t in found.values()]


def chosen_backend(wanted: Builder) -> Builder:
    """What builds; says so when it is not what one would expect."""
    if wanted is not Builder.AUTO:
        return wanted
    if shutil.which("mock"):
        return Builder.MOCK
    report.show_warning(
        "mock is not installed: building in a chroot made by dnf and bubblewrap instead, "
        "whose results may differ from mock's"
    )
    return Builder.CHROOT


def make_backend(name: Builder, settings: BuildSettings, koji: KojiWishes) -> "Backend":
    """The backend itself. Raises ToolMissing and BadInput where mock or Koji cannot be used."""
    from rpmspecs.sources import default_cache

    cache = default_cache().with_name("build")
    if name is Builder.KOJI:
        from rpmspecs.gpg import read_passphrase
        from rpmspecs.koji import KojiBackend, KojiSettings, read_profile

        secret = read_passphrase(koji.password_file).text if koji.password_file else None
        hub = read_profile(koji.profile, koji.user, secret)
        local = make_backend(chosen_backend(Builder.AUTO), settings, koji)
        wishes = KojiSettings(koji.target, koji.scratch, hub.poll_s)
        return KojiBackend(hub.connect, hub.topurl, local, wishes)
    if name is Builder.MOCK:
        from rpmspecs.mock import MockBackend, check_caller

        check_caller()
        return MockBackend(our_programs(), settings, cache)
    from rpmspecs.chroot import ChrootBackend

    return ChrootBackend(our_programs(), settings, cache)


def show_plan(
    steps: "Sequence[Step]",
    reused: "set[tuple[str, str]]",
    targets: "Sequence[Target]",
    backend: Builder,
    settings: BuildSettings,
    *,
    as_json: bool,
) -> None:
    """What would be built in which order, and how mock would be configured."""
    from provision.cli.rpm import view
    from rpmspecs.mock import mock_config

    mock = backend is Builder.MOCK
    configurations = {t.name: mock_config(t, settings) for t in targets} if mock else {}
    if as_json:
        order = view.plan_facts(steps, reused)
        report.print_json({"backend": backend.value, "order": order, "mock": configurations})
        return
    report.print_table(view.PLAN_COLUMNS, view.plan_rows(steps, reused))
    for name, text in configurations.items():
        report.print_block(f"mock configuration of {name}", text)


def build_all(steps: "Sequence[Step]", way: "Way", *, as_json: bool) -> report.ExitStatus:
    """Build, watch, tell."""
    from provision.cli.rpm import view
    from provision.simulation.world import endings_interrupt
    from rpmspecs.build import build

    people = Console(stderr=as_json, highlight=False, soft_wrap=True)
    progress = view.Progress(steps)
    try:
        with endings_interrupt(), watching(people, progress) as watch:
            ended = build(steps, way, watch, progress.fetched)
    except KeyboardInterrupt:
        people.print("interrupted: every build was stopped, what was finished is kept")
        raise
    if as_json:
        report.print_json(view.facts(ended))
    for event in ended.values():
        if event.error is not None:
            report.show_exception(event.error)
    people.print(f"{view.summary_line(ended)}; results are in {way.results}")
    return status_of(list(ended.values()))


def status_of(events: "Sequence[Event]") -> report.ExitStatus:
    """Done, or the status of the first error."""
    errors = [event.error for event in events if event.error is not None]
    if not errors:
        return report.ExitStatus.DONE
    return report.status_of(errors[0]) or report.ExitStatus.FAILED


@contextmanager
def watching(people: Console, progress: "Progress") -> "Iterator[Callable[[Event], None]]":
    """A live table on a terminal, elsewhere a line for each change."""
    from provision.cli.rpm import view

    if people.is_terminal:
        with Live(progress, console=people, refresh_per_second=REFRESH_PER_SECOND), logging_above():
            yield progress.took
        return

    told = False

    def tell(event: "Event") -> None:
        nonlocal told
        if not told and (line := progress.fetched_line()):
            people.print(line)
        told = True
        people.print(report.printable(view.event_line(event)), markup=False)

    yield tell
