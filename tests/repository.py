"""Small packages, a repository that serves them, and dnf as its client."""

import http.server
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from provision.run import run, start
from rpmspecs.running import Programs
from tests.tools import require_tool

PROGRAMS = Programs(run, start)

SPEC = """
Name: {name}
Version: {version}
Release: 1
Summary: A package of a test
License: Apache-2.0
{tags}
%description
A package of a test.
%prep
%build
%install
mkdir -p %{{buildroot}}/usr/share/{name}
echo "{version} {content}" > %{{buildroot}}/usr/share/{name}/version
%files
/usr/share/{name}
"""


def make_rpm(
    folder: Path,
    name: str,
    version: str,
    content: str = "",
    tags: str = "BuildArch: noarch",
    *,
    source: bool = False,
) -> Path:
    """Build one package in `folder`, the source package in its place if asked."""
    rpmbuild = require_tool("rpmbuild", "rpm")
    top = folder / f"{name}-{version}-{content or 'plain'}-{'source' if source else 'binary'}"
    top.mkdir(parents=True)
    spec = top / f"{name}.spec"
    spec.write_text(SPEC.format(name=name, version=version, content=content, tags=tags))
    what = "-bs" if source else "-bb"
    command = [rpmbuild, "--quiet", what, "--nodeps", "--define", f"_topdir {top}", str(spec)]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
    macros = ["--define", "use_source_date_epoch_as_buildtime 1"]
    subprocess.run([*command, *macros], check=True, capture_output=True, env=environment)
    (made,) = top.glob("*RPMS/**/*.rpm")
    return made


def make_repository(folder: Path, packages: Iterable[Path]) -> Path:
    """A folder with packages and metadata, nothing of it signed by us."""
    folder.mkdir(parents=True, exist_ok=True)
    for package in packages:
        shutil.copy(package, folder)
    subprocess.run([require_tool("createrepo_c"), "--quiet", str(folder)], check=True)
    return folder


class Client:
    """dnf with a root folder and a cache of its own."""

    def __init__(self, folder: Path) -> None:
        self.dnf = require_tool("dnf")
        self.root = folder / "root"
        self.repos = folder / "repos"
        self.cache = folder / "cache"
        for each in (self.root, self.repos, self.cache):
            each.mkdir(parents=True)
        self.config = folder / "dnf.conf"
        self.config.write_text("[main]\n")

    def use(self, text: str) -> None:
        """Take this text as the repository file."""
        (self.repos / "rackseed.repo").write_text(text, encoding="utf-8")

    def __call__(self, *words: str, refresh: bool = True) -> subprocess.CompletedProcess[str]:
        """Run dnf; the caller looks at the status."""
        options = {
            "reposdir": self.repos,
            "cachedir": self.cache,
            "logdir": self.cache,
            "persistdir": self.cache / "persist",
            "varsdir": self.repos,
            "pluginpath": self.repos,
            "install_weak_deps": "0",
            "retries": "1",
            "timeout": "10",
        }
        argv = [self.dnf, "--assumeyes", "--config", str(self.config)]
        argv += ["--installroot", str(self.root)]
        argv += [f"--setopt={name}={value}" for name, value in options.items()]
        argv += ["--releasever=1", *(["--refresh"] if refresh else []), *words]
        alone = [] if os.geteuid() == 0 else ["unshare", "--map-root-user"]
        environment = {**os.environ, "LANG": "C.UTF-8", "HOME": str(self.cache)}
        return subprocess.run(
            [*alone, *argv], check=False, capture_output=True, text=True, env=environment
        )

    def version(self, name: str) -> str | None:
        """What of a package is installed, by the file that it brought."""
        path = self.root / "usr/share" / name / "version"
        return path.read_text().strip() if path.is_file() else None


class _Handler(http.server.SimpleHTTPRequestHandler):
    opened: Callable[[str], None]

    def do_GET(self) -> None:
        file = self.send_head()
        if file is not None:
            with file:
                type(self).opened(urlsplit(self.path).path)
                self.copyfile(file, self.wfile)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(folder: Path, opened: Callable[[str], None] = lambda _: None) -> Iterator[str]:
    """A plain HTTP server of a folder; `opened` is told of each path before its file is sent."""
    handler = type("Handler", (_Handler,), {"opened": staticmethod(opened)})
    made = partial(handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), made) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def copied(path: Path, folder: Path) -> Path:
    """A copy of a file in a folder that is made."""
    folder.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy2(path, folder))
