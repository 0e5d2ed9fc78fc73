"""`rackseed rpm build` as a person runs it, on the fixture distribution."""

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from tests.fixture_distribution.target import write_target
from tests.tools import missing, require_root, require_tool

RUN = [sys.executable, "-c", "from provision.cli.main import main; main()", "rpm", "build"]

TOP = Path(__file__).parent.parent.parent

ORDINARY = 4243
"""A user number that nobody has."""

AS_ORDINARY = ("setpriv", f"--reuid={ORDINARY}", f"--regid={ORDINARY}", "--clear-groups")

SPEC = """\
Name: {name}
Version: 1
Release: 1%{{?dist}}
Summary: One of a chain
License: Apache-2.0
BuildArch: noarch
{tags}

%description
One of a chain.

%build
{build}

%install
install -d %{{buildroot}}%{{_datadir}}/chain
echo {name} > %{{buildroot}}%{{_datadir}}/chain/{name}

%files
%{{_datadir}}/chain/{name}

%changelog
* Thu Nov 20 2025 Somebody <somebody@example.org> - 1-1
- First.
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build roots are made once for the whole module."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    """app needs lib, lib needs tool, to be built."""
    folder = tmp_path / "specs"
    write(folder, "chain-tool")
    write(folder, "chain-lib", "chain-tool")
    write(folder, "chain-app", "chain-lib")
    return folder


def write(folder: Path, name: str, needs: str = "", build: str = "", tags: str = "") -> Path:
    path = folder / name / f"{name}.spec"
    path.parent.mkdir(parents=True, exist_ok=True)
    if needs:
        tags += f"\nBuildRequires: {needs}"
        build += f"\ngrep {needs} %{{_datadir}}/chain/{needs}"
    path.write_text(SPEC.format(name=name, build=build or ":", tags=tags))
    return path


class Builds:
    """The command with one target, one cache and one folder of results."""

    def __init__(self, target: Path, cache: Path, folder: Path) -> None:
        self.results = folder / "results"
        self.environment = {**os.environ, "XDG_CACHE_HOME": str(cache), "COLUMNS": "200"}
        self._options = ["--target", str(target), "--results", str(self.results)]

    def argv(self, *words: object) -> list[str]:
        return [*RUN, *map(str, words), *self._options, "--backend", "chroot"]

    def __call__(self, *words: object, status: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.argv(*words),
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done

    def left(self) -> list[str]:
        return sorted(p.name for p in self.results.glob("*/*") if p.name != ".lock")


@pytest.fixture
def builds(fixture_target: Path, cache: Path, tmp_path: Path) -> Builds:
    require_tool("rpmspec", "rpm")
    return Builds(fixture_target, cache, tmp_path)


def outcomes(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    return {one["name"]: one["outcome"] for one in json.loads(done.stdout)}


def lines(done: subprocess.CompletedProcess[str], word: str) -> Sequence[str]:
    """The names of packages whose lines end with a word, in their order."""
    ending = [line for line in done.stdout.splitlines() if f": {word}" in line]
    return [line.split()[1].rsplit("-", 2)[0] for line in ending]


def test_a_chain_is_built_in_its_order_and_used_again(builds: Builds, chain: Path) -> None:
    specs = sorted(chain.iterdir())
    first = builds(*specs, "--jobs", "2")
    assert lines(first, "built") == ["chain-tool", "chain-lib", "chain-app"]
    assert "3 built" in first.stdout
    again = outcomes(builds(*specs, "--json"))
    assert set(again.values()) == {"already built"}

    write(chain, "chain-lib", "chain-tool", build="true")
    changed = outcomes(builds(*specs, "--json"))
    assert changed == {
        "chain-tool": "already built",
        "chain-lib": "built",
        "chain-app": "built",
    }


def test_a_result_says_what_it_was_made_of(builds: Builds, chain: Path) -> None:
    builds(chain / "chain-tool")
    folder = next(builds.results.glob("fixture-1/chain-tool-1-1*"))
    record = json.loads((folder / "build.json").read_text())
    assert record["backend"] == "chroot"
    assert record["tools"].keys() == {"dnf", "rpm", "bwrap"}
    names = [package["name"] for package in record["packages"]]
    assert [name.rsplit(".", 2)[1] for name in names] == ["noarch", "src"]
    for log in ("build.log", "root.log", "installed_pkgs.log", "srpm/build.log"):
        assert (folder / log).is_file(), log
    assert (folder / "installed_pkgs.log").read_text()


def test_a_failure_is_told_with_its_lines_and_its_log(builds: Builds, chain: Path) -> None:
    write(chain, "chain-lib", "chain-tool", build="cat /none")
    done = builds(*sorted(chain.iterdir()), status=3)
    said = done.stderr.splitlines()
    log = next(builds.results.glob("fixture-1/chain-lib-1-1*.failed")) / "build.log"
    assert said[0].startswith("error: chain-lib-1-1")
    assert said[0].endswith(f"was not built, see {log}:")
    assert "       cat: /none: No such file or directory" in said
    assert "chain-app-1-1.fixture1: not built, needs chain-lib" in done.stdout
    assert "1 built, 1 failed, 1 not built" in done.stdout
    assert "+ cat /none" in log.read_text()


def test_a_requirement_that_nothing_provides_is_one_sentence(builds: Builds, chain: Path) -> None:
    write(chain, "chain-tool", tags="BuildRequires: nobody-has-this >= 2")
    done = builds(chain / "chain-tool", status=1)
    assert done.stderr.count("error: ") == 1
    assert "nobody-has-this >= 2" in done.stderr


def test_no_room_for_the_results_is_one_sentence(builds: Builds, chain: Path) -> None:
    require_root()
    builds.results.mkdir()
    small = ["mount", "-t", "tmpfs", "-o", "size=128k", "small", str(builds.results)]
    subprocess.run(small, check=True)
    try:
        (builds.results / "other").write_bytes(bytes(120 << 10))
        done = builds(chain / "chain-tool", status=1)
    finally:
        subprocess.run(["umount", str(builds.results)], check=True)
    said = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    folder = builds.results / "fixture-1"
    assert said == [f"error: chain-tool-1-1.fixture1 was not built: no space left in {folder}"]


def test_no_room_for_another_file_is_met_once(builds: Builds, chain: Path) -> None:
    require_root()
    write(chain, "chain-other")
    builds.results.mkdir()
    # The results, the target's folder and its lock, and no more.
    small = ["mount", "-t", "tmpfs", "-o", "nr_inodes=3", "small", str(builds.results)]
    subprocess.run(small, check=True)
    try:
        done = builds(chain / "chain-tool", chain / "chain-other", "--jobs", "1", status=1)
    finally:
        subprocess.run(["umount", str(builds.results)], check=True)
    said = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    folder = builds.results / "fixture-1"
    assert [line.endswith(f" was not built: no space left in {folder}") for line in said] == [True]
    assert "1 failed, 1 not built" in done.stdout


def test_an_interruption_stops_the_builds_and_leaves_nothing(builds: Builds, chain: Path) -> None:
    write(chain, "chain-tool", build="sleep 321")
    before = mounts()
    with subprocess.Popen(
        builds.argv(chain / "chain-tool"),
        env=builds.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as running:
        wait_until(sleeps, 60)
        running.send_signal(signal.SIGINT)
        said, _ = running.communicate(timeout=30)
    assert running.returncode == 130, said
    assert "interrupted: every build was stopped" in said
    assert not sleeps()
    assert builds.left() == []
    assert mounts() == before


@pytest.fixture
def home() -> Iterator[Path]:
    """A home for `ORDINARY`: the folders of tests are closed to all but root."""
    with tempfile.TemporaryDirectory(prefix="rackseed-home-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_a_user_without_root_builds_too(
    builds: Builds, fixture_distribution: Path, home: Path
) -> None:
    shutil.copytree(fixture_distribution, home / "fixture")
    spec = write(home / "specs", "chain-tool")
    own = Builds(write_target(home, {"fixture": home / "fixture"}), home / "cache", home)
    own.environment["HOME"] = str(home)
    os.chown(home, ORDINARY, ORDINARY)
    own.environment["PYTHONPATH"] = str(readable_by_all(home / "python"))
    python = python_for_all(own.environment)
    done = subprocess.run(
        [*AS_ORDINARY, python, *own.argv(spec)[1:]],
        env=own.environment,
        cwd=home,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (rpm,) = home.glob("results/fixture-1/chain-tool-1-1*/*.noarch.rpm")
    assert rpm.stat().st_uid == ORDINARY


def readable_by_all(folder: Path) -> Path:
    """Our packages and what they import, outside a checkout or environment that is root's alone."""

    def put(source: str, target: str) -> None:
        try:
            os.link(source, target)
        except OSError:  # another file system
            shutil.copy2(source, target)

    shutil.copytree(sysconfig.get_path("purelib"), folder, symlinks=True, copy_function=put)
    for package in ("kickstarts", "imagebuild", "pxe", "rpmspecs", "provision"):
        shutil.rmtree(folder / package, ignore_errors=True)
        shutil.copytree(TOP / package, folder / package, symlinks=True, copy_function=put)
    return folder


def python_for_all(environment: Mapping[str, str]) -> str:
    """A Python that another user may run, also where ours lies in root's home."""
    for python in (sys.executable, "/usr/bin/python3"):
        works = subprocess.run(
            [*AS_ORDINARY, python, "-c", "import provision.cli.main, aiohttp, rich, yaml"],
            env=environment,
            cwd="/",
            capture_output=True,
            check=False,
        )
        if works.returncode == 0:
            return python
    return missing("no Python with our dependencies that another user may run")


def sleeps() -> list[int]:
    """The processes of a build that waits."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if entry.read_bytes() == b"sleep\x00321\x00":
                found.append(int(entry.parent.name))
        except OSError:  # it just ended
            continue
    return found


def mounts() -> int:
    return len(Path("/proc/self/mounts").read_text().splitlines())


def wait_until(condition, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come so far"
        time.sleep(0.1)
