"""`rackseed rpm lock`: which files of which Python projects a service package carries."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from provision import run
from provision.cli import report

log = logging.getLogger(__name__)


def lock(
    spec: Annotated[
        list[str], typer.Argument(metavar="SPEC", help="Specs of ours by name, others by path.")
    ],
    constraints: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="upper-constraints.txt of an OpenStack release.",
        ),
    ],
    release: Annotated[
        str, typer.Option(metavar="NAME", help="Whose constraints these are.")
    ] = "stable/2025.1",
    commit: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Of OpenStack's repository requirements, to be recorded."),
    ] = None,
) -> int:
    """Write anew which files a service package carries.

    For its maintainer: reads requirements.in beside the spec, resolves it with uv under the
    constraints of a release and writes sources: every project in one version, every file with its
    digest, and above them which constraints held and what they left open.

    Example:
      rackseed rpm lock openstack-keystone --constraints upper-constraints.txt
    """
    from rpmspecs.lock import lock as locked
    from rpmspecs.lock import read_constraints, render
    from rpmspecs.running import Programs
    from rpmspecs.sources import LIST
    from rpmspecs.spec import find_spec

    held = read_constraints(constraints, release, commit)
    for name in spec:
        folder = find_spec(name).parent
        files = locked(folder, held, Programs(run.run, run.start))
        (folder / LIST).write_text(render(files, held), encoding="utf-8")
        print(f"{folder.name}: {len({one.requirement for one in files})} projects")
    return report.ExitStatus.DONE
