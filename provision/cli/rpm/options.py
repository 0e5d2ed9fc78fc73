"""What `rackseed rpm build` and `rackseed rpm rebuild` let a person choose alike."""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from rpmspecs.settings import Isolation


class Builder(Enum):
    """What builds."""

    AUTO = "auto"
    MOCK = "mock"
    CHROOT = "chroot"
    KOJI = "koji"


@dataclass(frozen=True, slots=True)
class KojiWishes:
    """Where Koji is, who we are there and how it shall build."""

    profile: str = "koji"
    target: str | None = None
    scratch: bool = False
    user: str | None = None
    password_file: Path | None = None


TargetOption = Annotated[
    list[str] | None,
    typer.Option(metavar="TARGET", help="fedora-43 and so on, or a YAML file; repeatable."),
]
BackendOption = Annotated[
    Builder, typer.Option(help="mock; chroot where mock is not packaged; auto: what is there.")
]
ResultsOption = Annotated[
    Path,
    typer.Option(metavar="DIR", help="Packages and logs: DIR/TARGET/NAME-VERSION-RELEASE."),
]
JobsOption = Annotated[
    int | None,
    typer.Option("--jobs", "-j", metavar="N", min=1, help="Builds at once; by default cores."),
]
MirrorOption = Annotated[
    str | None,
    typer.Option(metavar="URL", help="Stands for scheme and host of the target's repositories."),
]
ProxyOption = Annotated[
    str | None,
    typer.Option(metavar="URL", help="For sources and repositories; else the environment's."),
]
IsolationOption = Annotated[Isolation, typer.Option(help="mock's.")]
BootstrapOption = Annotated[
    bool,
    typer.Option("--bootstrap/--no-bootstrap", help="mock: the target's own package manager."),
]
BootstrapImageOption = Annotated[
    str | None,
    typer.Option(metavar="IMAGE", help="mock: take the bootstrap from a container image."),
]
KojiProfileOption = Annotated[
    str, typer.Option(metavar="NAME", help="koji: the hub, as /etc/koji.conf.d names it.")
]
KojiTargetOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="koji: its target; by default ours.")
]
KojiScratchOption = Annotated[
    bool, typer.Option("--koji-scratch", help="koji: keep nothing there.")
]
KojiUserOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="koji: for hubs that ask for a password.")
]
KojiPasswordOption = Annotated[
    Path | None,
    typer.Option("--koji-password-file", metavar="FILE", help="koji: a file (mode 0600) or pipe."),
]
AgainOption = Annotated[
    bool, typer.Option("--rebuild", help="Build also what was built of the very same.")
]
