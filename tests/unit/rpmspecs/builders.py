"""A backend that builds nothing, and specs for it to build."""

import threading
from collections import deque
from pathlib import Path

from provision import run
from rpmspecs.errors import BuildFailed, Stopped
from rpmspecs.running import Programs
from rpmspecs.target import Family, Repository, ServicePackages, Target

PROGRAMS = Programs(run.run, run.start)

TARGET = Target(
    name="fixture-1",
    family=Family.EL,
    release="1",
    dist=".fx1",
    arch="x86_64",
    repositories=(Repository("main", "file:///nowhere", gpgcheck=False),),
    build_packages=("bash",),
    services=ServicePackages.OWN,
)

SPEC = """\
Name: {name}
Version: 1
Release: 1%{{?dist}}
Summary: One of a chain
License: MIT
BuildArch: noarch
{more}
%description
One of a chain.
%files
"""


def write_spec(folder: Path, name: str, *needs: str, more: str = "") -> Path:
    """A spec in a folder of its own that needs others to be built."""
    path = folder / name / f"{name}.spec"
    path.parent.mkdir(exist_ok=True)
    lines = "\n".join([*(f"BuildRequires: {need}" for need in needs), more])
    path.write_text(SPEC.format(name=name, more=lines))
    return path


class FakeBackend:
    """Writes the files that a real backend would, in no time."""

    name = "fake"

    def __init__(self, fails: dict[str, Exception] | None = None) -> None:
        self.fails = fails or {}
        """Errors by name of spec."""
        self.built: deque[tuple[str, tuple[str, ...], tuple[str, ...]]] = deque()
        """Name, names of the folders offered, names of the sources: in the order of starts."""
        self.hold: dict[str, threading.Event] = {}
        """These builds wait until they may go on."""
        self.begun: dict[str, threading.Event] = {}
        self._stopped = threading.Event()
        self._sources: dict[str, tuple[str, ...]] = {}

    def build_srpm(self, spec: Path, sources: Path, target: Target, result: Path) -> Path:
        result.mkdir()
        self._sources[spec.stem] = tuple(sorted(path.name for path in sources.iterdir()))
        (result / "build.log").write_text("made\n")
        srpm = result / f"{spec.stem}-1-1{target.dist}.src.rpm"
        srpm.write_bytes(b"source package")
        return srpm

    def build_rpms(self, srpm: Path, target: Target, offered, result: Path) -> list[Path]:
        name = srpm.name.split("-1-1")[0]
        self.built.append((name, tuple(f.name for f in offered), self._sources[name]))
        assert all((folder / "repodata/repomd.xml").is_file() for folder in offered)
        (result / "build.log").write_text("line\nerror: this\n")
        self.begun.setdefault(name, threading.Event()).set()
        while name in self.hold and not self.hold[name].wait(0.01):
            if self._stopped.is_set():
                raise Stopped(name)
        if name in self.fails:
            if isinstance(self.fails[name], BuildFailed):
                raise BuildFailed(name, result / "build.log", ["error: this"])
            raise self.fails[name]
        return []  # createrepo_c reads real packages only

    def stop(self) -> None:
        self._stopped.set()
