"""`rackseed rpm rebuild`: source packages of an existing repository, built for another target."""

import os
from pathlib import Path
from typing import Annotated

import typer

from provision.cli import report
from provision.cli.options import JsonOption
from provision.cli.rpm.build import (
    Builder,
    build_all,
    chosen_backend,
    chosen_targets,
    make_backend,
    show_plan,
)
from provision.cli.rpm.publish import our_programs
from provision.errors import BadInput
from rpmspecs.settings import BuildSettings


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
    target: Annotated[
        list[str] | None,
        typer.Option(metavar="TARGET", help="fedora-43 and so on, or a YAML file; repeatable."),
    ] = None,
    backend: Annotated[
        Builder, typer.Option(help="mock; chroot where mock is not packaged; auto: what is there.")
    ] = Builder.AUTO,
    results: Annotated[
        Path,
        typer.Option(metavar="DIR", help="Packages and logs: DIR/TARGET/NAME-VERSION-RELEASE."),
    ] = Path("results"),
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", "-j", metavar="N", min=1, help="Builds at once; by default cores."),
    ] = None,
    mirror: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Stands for scheme and host of the target's repositories."
        ),
    ] = None,
    proxy: Annotated[
        str | None, typer.Option(metavar="URL", help="For both; else the environment's.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Fetch, and show the order; build nothing.")
    ] = False,
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
    targets = chosen_targets(target or [], mirror)
    name, programs, cache = chosen_backend(backend), our_programs(), default_cache()
    srpms = find_srpms(origin, names or [], cache, programs, proxy)
    specs = [unpack_srpm(srpm, cache, programs) for srpm in srpms]
    steps = list(plan(specs, targets, name.value, programs))
    settings = BuildSettings(proxy=proxy)
    if dry_run:
        reused = {step.key for step in steps if is_built(step, results)}
        show_plan(steps, reused, targets, name, settings, as_json=as_json)
        return report.ExitStatus.DONE
    way = Way(
        backend=make_backend(name, settings),
        programs=programs,
        results=results,
        cache=cache,
        jobs=jobs or len(os.sched_getaffinity(0)),
        proxy=proxy,
    )
    return build_all(steps, way, as_json=as_json)
