"""Both builders on the fixture distribution: what they make, how they fail, what they leave."""

import getpass
import http.server
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from provision.run import run, start
from rpmspecs.backend import Backend
from rpmspecs.chroot import ChrootBackend
from rpmspecs.errors import (
    BuildFailed,
    DiskFull,
    MissingRequirement,
    RepositoryUnavailable,
    RpmError,
    Stopped,
)
from rpmspecs.mock import MockBackend, mock_command
from rpmspecs.running import Programs
from rpmspecs.settings import BuildSettings, Isolation
from rpmspecs.target import Target, load_target
from tests.fixture_distribution.target import write_target
from tests.tools import require_root, require_tool

PROGRAMS = Programs(run, start)

ORDINARY = 4242
"""A user number that nobody has."""

SPEC = """\
Name: hello-fixture
Version: 1.0
Release: 1%{{?dist}}
Summary: A package of a test
License: Apache-2.0
Source0: hello.sh
BuildArch: noarch
Requires: bash >= 4
Provides: greeting = 2
{tags}

%description
A package of a test.

%prep
cp %{{SOURCE0}} .
{sections}
%build
echo "%{{?rackseed_services}} %{{?openstack_python}}" > macros
{build}

%install
install -D -m 755 hello.sh %{{buildroot}}%{{_bindir}}/hello-fixture
install -D -m 644 macros %{{buildroot}}%{{_datadir}}/hello-fixture/macros

%files
%{{_bindir}}/hello-fixture
%{{_datadir}}/hello-fixture

%changelog
* Thu Nov 20 2025 Somebody <somebody@example.org> - 1.0-1
- First.
"""


@pytest.fixture(scope="module")
def target_file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FIXTURE_DISTRIBUTION: the folder of one that root made, for a user of the group mock."""
    made = os.environ.get("FIXTURE_DISTRIBUTION")
    folder = Path(made) if made else request.getfixturevalue("fixture_distribution")
    return write_target(tmp_path_factory.mktemp("target"), {"fixture": folder})


@pytest.fixture(scope="module")
def target(target_file: Path) -> Target:
    return load_target(target_file)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build roots are made once for all tests here."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def chroot(cache: Path) -> ChrootBackend:
    return chroot_backend(cache)


@pytest.fixture
def mock(cache: Path) -> MockBackend:
    return mock_backend(cache)


@pytest.fixture(params=["chroot", "mock"])
def backend(request: pytest.FixtureRequest) -> Backend:
    made: Backend = request.getfixturevalue(request.param)
    return made


def chroot_backend(cache: Path) -> ChrootBackend:
    for tool, package in (("dnf", "dnf"), ("bwrap", "bubblewrap")):
        require_tool(tool, package)
    return ChrootBackend(PROGRAMS, BuildSettings(), cache)


def mock_backend(cache: Path) -> MockBackend:
    if shutil.which("mock") is None:
        pytest.skip("mock is not on PATH: Debian has no package of it")
    if os.geteuid() == 0 and "SUDO_UID" not in os.environ:
        pytest.skip("mock does not build for root: run this as a user of the group mock")
    settings = BuildSettings(bootstrap=False, isolation=Isolation.SIMPLE)
    return MockBackend(PROGRAMS, settings, cache)


def write_spec(folder: Path, tags: str = "", sections: str = "", build: str = "") -> Path:
    """A spec and its source in a folder of their own; returns the spec."""
    sources = folder / "sources"
    sources.mkdir(parents=True, exist_ok=True)
    (sources / "hello.sh").write_text("#!/bin/sh\necho hello\n")
    spec = folder / "hello-fixture.spec"
    spec.write_text(SPEC.format(tags=tags, sections=sections, build=build))
    return spec


def build(
    backend: Backend,
    spec: Path,
    target: Target,
    result: Path,
    offered: tuple[Path, ...] = (),
) -> list[Path]:
    srpm = backend.build_srpm(spec, spec.parent / "sources", target, result / "srpm")
    return list(backend.build_rpms(srpm, target, offered, result / "rpms"))


def query(path: Path, *words: str) -> str:
    return subprocess.run(
        ["rpm", "-qp", "--nosignature", *words, str(path)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def facts(path: Path) -> dict[str, str]:
    """What must be equal, however a package was built."""
    return {
        "files": query(path, "--qf", "[%{FILENAMES} %{FILEMODES:octal} %{FILEUSERNAME}\n]"),
        "requires": query(path, "--requires"),
        "provides": query(path, "--provides"),
        "payload": query(path, "--qf", "%{PAYLOADDIGEST}"),
    }


def left_behind(cache: Path, mark: str) -> list[str]:
    """Mounts and build folders in the cache, and processes that run with `mark`."""
    mounts = [
        line for line in Path("/proc/self/mounts").read_text().splitlines() if str(cache) in line
    ]
    folders = [str(path) for path in cache.glob("builds/*")]
    return mounts + folders + mock_roots(cache) + running(mark)


def mock_roots(cache: Path) -> list[str]:
    """Roots where mock builds for our configurations."""
    found = []
    for config in cache.glob("mock/*.cfg"):
        words = mock_command(config, f"{getpass.getuser()}-0", cache, "--print-root-path")
        said = subprocess.run(words, check=True, capture_output=True, text=True).stdout
        found.append(said.strip().splitlines()[-1])
    return [path for path in found if Path(path).exists()]


def running(mark: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if mark in words and int(path.parent.name) != os.getpid():
            found.append(words)
    return found


def wait_for(true: Callable[[], bool], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.05)


# what they make


def test_a_package_is_built_with_its_logs(backend: Backend, target: Target, tmp_path: Path):
    (rpm,) = build(backend, write_spec(tmp_path), target, tmp_path)
    assert rpm.name == f"hello-fixture-1.0-1{target.dist}.noarch.rpm"
    assert "greeting = 2" in query(rpm, "--provides").splitlines()
    assert query(rpm, "--qf", "%{BUILDHOST} %{BUILDTIME}") == "rackseed 1763596800"
    result = rpm.parent
    assert "+ echo own 3.11" in (result / "build.log").read_text()
    assert (result / "root.log").read_text()
    installed = (result / "installed_pkgs.log").read_text().splitlines()
    assert len(installed) > 20
    assert all(line.endswith(" installed") and line.split()[2].isdigit() for line in installed)


def test_building_twice_gives_the_same_octets(backend: Backend, target: Target, tmp_path: Path):
    spec = write_spec(tmp_path, build="date > now; touch new")
    (first,) = build(backend, spec, target, tmp_path / "1")
    (second,) = build(backend, spec, target, tmp_path / "2")
    assert first.read_bytes() == second.read_bytes()


def test_mock_and_the_chroot_make_the_same_package(
    mock: MockBackend, chroot: ChrootBackend, target: Target, tmp_path: Path
):
    spec = write_spec(tmp_path)
    srpm = chroot.build_srpm(spec, tmp_path / "sources", target, tmp_path / "srpm")
    (ours,) = chroot.build_rpms(srpm, target, (), tmp_path / "chroot")
    (theirs,) = mock.build_rpms(srpm, target, (), tmp_path / "mock")
    assert facts(ours) == facts(theirs)
    logs = [
        sorted((p.parent / "installed_pkgs.log").read_text().splitlines()) for p in (ours, theirs)
    ]
    assert logs[0] == logs[1]


def test_what_one_build_made_is_installed_for_the_next(
    backend: Backend, target: Target, tmp_path: Path
):
    (rpm,) = build(backend, write_spec(tmp_path / "a"), target, tmp_path / "a")
    offered = tmp_path / "offered"
    offered.mkdir()
    shutil.copy2(rpm, offered)
    subprocess.run([require_tool("createrepo_c"), "-q", offered], check=True)
    spec = write_spec(tmp_path / "b", tags="BuildRequires: greeting >= 2", build="hello-fixture")
    (second,) = build(backend, spec, target, tmp_path / "b", (offered,))
    assert "\nhello\n" in (second.parent / "build.log").read_text()
    assert f"hello-fixture-1.0-1{target.dist}" in (second.parent / "installed_pkgs.log").read_text()


def test_requirements_that_a_build_generates_are_installed(
    backend: Backend, target: Target, tmp_path: Path
):
    spec = write_spec(
        tmp_path,
        sections="%generate_buildrequires\necho hostname\n",
        build="hostname --version",
    )
    (rpm,) = build(backend, spec, target, tmp_path)
    assert "\nhostname-" in (rpm.parent / "installed_pkgs.log").read_text()


def test_requirements_once_installed_are_taken_again(
    chroot: ChrootBackend, target: Target, tmp_path: Path
):
    spec = write_spec(tmp_path, tags="BuildRequires: hostname", build="hostname --version")
    (first,) = build(chroot, spec, target, tmp_path / "1")
    (second,) = build(chroot, spec, target, tmp_path / "2")
    assert "Complete!" not in (second.parent / "root.log").read_text()
    logs = [(rpm.parent / "installed_pkgs.log").read_text() for rpm in (first, second)]
    assert logs[0] == logs[1]
    assert "\nhostname-" in logs[0]


def test_builds_at_once_do_not_disturb_one_another(
    backend: Backend, target: Target, cache: Path, tmp_path: Path
):
    def one(number: int) -> bytes:
        folder = tmp_path / str(number)
        spec = write_spec(folder, tags="BuildRequires: iproute", build="ip -V")
        (rpm,) = build(backend, spec, target, folder)
        return rpm.read_bytes()

    with ThreadPoolExecutor(3) as threads:
        assert len(set(threads.map(one, range(3)))) == 1
    assert left_behind(cache, "no mark") == []


def test_the_sandbox_has_no_network_and_cannot_write_its_root(
    chroot: ChrootBackend, target: Target, tmp_path: Path
):
    spec = write_spec(
        tmp_path,
        build=textwrap.dedent(
            """
            test "$(grep -c : /proc/net/dev)" = 1
            ! touch /usr/x
            ! touch /etc/x
            touch /tmp/x /var/tmp/x
            test "$(id -u)" = 1000
            """
        ),
    )
    build(chroot, spec, target, tmp_path)


# how they fail


def test_a_failing_build_quotes_its_lines(
    backend: Backend, target: Target, cache: Path, tmp_path: Path
):
    spec = write_spec(tmp_path, build="sh -c 'echo the reason is here >&2; exit 3'")
    with pytest.raises(BuildFailed) as failure:
        build(backend, spec, target, tmp_path)
    assert any("the reason is here" in line for line in failure.value.lines)
    assert failure.value.log == tmp_path / "rpms/build.log"
    assert (tmp_path / "rpms/installed_pkgs.log").read_text()
    assert left_behind(cache, "no mark") == []


def test_a_broken_spec_quotes_its_line(backend: Backend, target: Target, tmp_path: Path):
    spec = write_spec(tmp_path, tags="Nonsense: 1")
    with pytest.raises(RpmError, match="Unknown tag: Nonsense"):
        build(backend, spec, target, tmp_path)


def test_a_requirement_that_nothing_provides_is_named(
    backend: Backend, target: Target, cache: Path, tmp_path: Path
):
    spec = write_spec(tmp_path, tags="BuildRequires: no-such-thing >= 3")
    with pytest.raises(MissingRequirement) as missing:
        build(backend, spec, target, tmp_path)
    assert "hello-fixture" in str(missing.value)
    assert "no-such-thing >= 3" in str(missing.value)
    assert "\n" not in str(missing.value)
    assert left_behind(cache, "no mark") == []


@contextmanager
def a_mirror_that_answers(status: int) -> Iterator[str]:
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(status)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def at(target: Target, url: str) -> Target:
    return replace(target, repositories=(replace(target.repositories[0], baseurl=url),))


def test_a_mirror_without_the_repository_is_named_with_its_status(
    backend: Backend, target: Target, cache: Path, tmp_path: Path
):
    with (
        a_mirror_that_answers(404) as url,
        pytest.raises(RepositoryUnavailable, match=f"{url}/fx/repodata.*404") as error,
    ):
        build(backend, write_spec(tmp_path), at(target, f"{url}/fx/"), tmp_path)
    assert "\n" not in str(error.value)
    assert left_behind(cache, "no mark") == []


def test_a_mirror_that_is_down_is_named(backend: Backend, target: Target, tmp_path: Path):
    with a_mirror_that_answers(404) as url:
        pass
    with pytest.raises(RepositoryUnavailable, match=f"{url}/repodata.*[Cc]onnect"):
        build(backend, write_spec(tmp_path), at(target, f"{url}/"), tmp_path)


@pytest.mark.parametrize("megabytes", [30, 600])
def test_a_full_disk_is_one_sentence_with_the_folder(
    target: Target, tmp_path: Path, megabytes: int
):
    require_root()
    small = tmp_path / "small"
    small.mkdir()
    options = f"size={megabytes}m"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "small", small], check=True)
    try:
        backend = chroot_backend(small)
        spec = write_spec(tmp_path, build="dd if=/dev/zero of=big bs=1M count=1000")
        with pytest.raises(DiskFull, match=str(small)) as error:
            build(backend, spec, target, tmp_path)
        assert "\n" not in str(error.value)
        assert left_behind(small, "no mark") == [
            line for line in left_behind(small, "no mark") if line.startswith("small ")
        ]
    finally:
        subprocess.run(["umount", small], check=True)


def test_a_build_that_finds_no_room_is_one_sentence(
    backend: Backend, target: Target, cache: Path, tmp_path: Path
):
    """Where nobody but root can make a small disk: the kernel's answer is the same."""
    spec = write_spec(tmp_path, build="dd if=/dev/zero of=/dev/full bs=1M count=1")
    with pytest.raises(DiskFull, match=r"hello-fixture.* was not built: no space left") as error:
        build(backend, spec, target, tmp_path)
    assert "\n" not in str(error.value)
    assert left_behind(cache, "no mark") == []


# how they end


def test_stopping_ends_a_build_and_leaves_nothing(
    backend: Backend, target: Target, cache: Path, tmp_path: Path
):
    seconds = f"9{os.getpid()}.25"
    spec = write_spec(tmp_path, build=f"sleep {seconds}")
    raised: list[RpmError] = []

    def building() -> None:
        try:
            build(backend, spec, target, tmp_path)
        except RpmError as error:
            raised.append(error)

    thread = threading.Thread(target=building)
    thread.start()
    wait_for(lambda: bool(running(f"sleep {seconds}")), "the build")
    backend.stop()
    thread.join(60)
    assert [type(error) for error in raised] == [Stopped]
    wait_for(lambda: left_behind(cache, f"sleep {seconds}") == [], "the cleaning", 10)


INTERRUPTED = """
import sys
from pathlib import Path
import tests.rpm.test_backends as t
try:
    target = t.load_target(sys.argv[1])
    backend = getattr(t, sys.argv[2] + "_backend")(Path(sys.argv[3]))
    t.build(backend, Path(sys.argv[4]), target, Path(sys.argv[5]))
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_a_signal_in_the_middle_leaves_nothing(
    backend: Backend,
    target: Target,
    target_file: Path,
    cache: Path,
    tmp_path: Path,
    number: signal.Signals,
    status: int,
):
    seconds = f"8{os.getpid()}.{number:02}"
    spec = write_spec(tmp_path, build=f"sleep {seconds}")
    words = [str(target_file), backend.name, str(cache), str(spec), str(tmp_path)]
    process = subprocess.Popen([sys.executable, "-c", INTERRUPTED, *words], env=importing())
    try:
        wait_for(lambda: bool(running(f"sleep {seconds}")), "the build")
        process.send_signal(number)
        assert process.wait(60) == status
    finally:
        process.kill()
    wait_for(lambda: running(f"sleep {seconds}") == [], "the end of its processes", 10)
    if number is signal.SIGKILL:
        if backend.name == "mock":
            return  # mock's own folder stays until mock builds there again
        build(chroot_backend(cache), write_spec(tmp_path / "next"), target, tmp_path / "next")
    assert left_behind(cache, f"sleep {seconds}") == []


def importing() -> dict[str, str]:
    top = Path(__file__).parents[2]
    return {**os.environ, "PYTHONPATH": f"{top}:{os.environ.get('PYTHONPATH', '')}"}


# who may


def test_an_ordinary_user_builds_without_any_privilege(target: Target):
    require_root()
    require_tool("fakeroot")
    home = Path(os.path.realpath(f"/var/tmp/rackseed-ordinary-{os.getpid()}"))
    home.mkdir()
    os.chown(home, ORDINARY, ORDINARY)
    try:
        kept = Path(urlsplit(target.repositories[0].baseurl).path)
        shutil.copytree(kept, home / "fixture")  # from the cache of root, who alone may look there
        target = at(target, (home / "fixture").as_uri())
        child = os.fork()
        if child == 0:
            _build_as(ORDINARY, home, target)
        _, ended = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(ended) == 0
        (rpm,) = home.glob("rpms/*.noarch.rpm")
        assert rpm.stat().st_uid == ORDINARY
        assert list(home.glob("cache/builds/*")) == []
    finally:
        shutil.rmtree(home)


def _build_as(number: int, home: Path, target: Target) -> None:
    """In a child: become that user, build, end."""
    status = 1
    try:
        os.setgroups([])
        os.setresgid(number, number, number)
        os.setresuid(number, number, number)
        os.environ["HOME"] = str(home)
        os.chdir(home)
        spec = write_spec(home, tags="BuildRequires: hostname", build="hostname --version")
        build(chroot_backend(home / "cache"), spec, target, home)
        build(chroot_backend(home / "cache"), spec, target, home / "again")
        status = 0
    finally:
        if status:
            traceback.print_exc()
        os._exit(status)
