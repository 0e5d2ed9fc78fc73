"""`rackseed rpm rebuild`: source packages of an existing repository, built for another target."""

import os
from pathlib import Path
from typing import Annotated

import typer

from provision.cli import report
from provision.cli.options import JsonOption
from provision.cli.rpm import options
from provision.cli.rpm.build import (
    build_all,
    chosen_backend,
    chosen_targets,
    make_backend,
    show_plan,
)
from provision.cli.rpm.options import Builder, KojiWishes
from provision.cli.rpm.publish import our_programs
from provision.errors import BadInput
from rpmspecs.settings import BuildSettings, Isolation


def rebuild(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Source packages; all of the repository if none."),
    ] = None,
    origin: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="REPO", help="URL or folder of a repository, or folder of SRPMs."
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
        bool, typer.Option("--dry-run", help="Fetch, and show the order; build nothing.")
    ] = False,
    again: options.AgainOption = False,
    as_json: JsonOption = False,
) -> int:
    """Build source packages of a repository for another target.

    The newest of each, in order. Each is read anew for the target: its own conditions hold, and
    what it needs of the others is built first. The digests of the repository's metadata are
    verified, its signatures are not.

    Examples:
      rackseed rpm rebuild --from /srv/rpm/fedora-43 --target centos-stream-10
      rackseed rpm rebuild python-foo --from http://mirror.lan/source/tree --target fedora-43
    """
    from rpmspecs.build import Way
    from rpmspecs.dnf import check_url
    from rpmspecs.rebuild import find_srpms, unpack_srpm
    from rpmspecs.results import is_built
    from rpmspecs.sources import default_cache
    from rpmspecs.steps import plan

    if origin is None:
        raise BadInput("--from is missing, expected a repository's URL or folder")
    check_url("--proxy", proxy)
    settings = BuildSettings(
        proxy=proxy, bootstrap=bootstrap, bootstrap_image=bootstrap_image, isolation=isolation
    )
    koji = KojiWishes(koji_profile, koji_target, koji_scratch, koji_user, koji_password)
    targets = chosen_targets(target or [], mirror)
    name, programs, cache = chosen_backend(backend), our_programs(), default_cache()
    srpms = find_srpms(origin, names or [], cache, programs, proxy)
    specs = [unpack_srpm(srpm, cache, programs) for srpm in srpms]
    steps = list(plan(specs, targets, name.value, programs))
    if dry_run:
        reused = set() if again else {step.key for step in steps if is_built(step, results)}
        show_plan(steps, reused, targets, name, settings, as_json=as_json)
        return report.ExitStatus.DONE
    way = Way(
        backend=make_backend(name, settings, koji),
        programs=programs,
        results=results,
        cache=cache,
        jobs=jobs or len(os.sched_getaffinity(0)),
        rebuild=again,
        proxy=proxy,
    )
    return build_all(steps, way, as_json=as_json)
