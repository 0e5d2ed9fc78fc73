"""The small parts of a build: its places, its packages, its log, its phases."""

import fcntl
import json
import os
import signal
import subprocess
import sys
from email.message import Message
from pathlib import Path
from urllib.error import HTTPError, URLError

import pytest

from imagebuild.buildlog import is_full, reasons
from imagebuild.errors import BadInput
from imagebuild.loops import detach_below
from imagebuild.nosync import CALLS, program, suppress_sync
from imagebuild.phases import Follower, Phase, phase_of, read_times, write_times
from imagebuild.plan import Settings
from imagebuild.pool import lend, take_back, trim
from imagebuild.recipes import load_recipe
from imagebuild.repositories import State, fetch, repository_state, state_urls, without_dates
from imagebuild.systems import DEBIAN_MIRROR
from imagebuild.workshop import LEFT, LOCK, MEMORY, RUNNING, sweep, workshop

SETTINGS = Settings(output=Path("/images"), cache=Path("/cache"), work=Path("/work"))


def test_the_places_of_a_build_are_gone_after_it(tmp_path):
    partial = tmp_path / ".x.qcow2.partial"
    with workshop(tmp_path, [partial]) as shop:
        partial.write_bytes(b"half")
        (shop.work / "file").write_text("x", encoding="utf-8")
        assert len(str(shop.work / "dib_image.XXXXXXXX/image0.raw")) < 63
        assert shop.work.parent == Path("/var/tmp")  # where /tmp is memory, --no-tmpfs means it
    assert not partial.exists()
    assert not shop.work.exists()
    assert not shop.folder.exists()


def test_a_build_in_memory_has_a_place_that_stays(tmp_path, monkeypatch):
    """See MEMORY: a mount point that is removed keeps loop devices alive for ever."""
    stays = tmp_path / "run"
    monkeypatch.setattr("imagebuild.workshop.MEMORY", stays)
    with workshop(tmp_path, [], in_memory=True) as shop:
        assert shop.work.parent == stays
        assert not shop.work.exists()
    assert stays.is_dir()
    assert list((tmp_path / RUNNING).iterdir()) == []
    assert len(str(MEMORY / "1234567-abcdefgh" / "dib_image.XXXXXXXX/image0.raw")) < 63


def test_what_is_still_in_use_is_listed_for_the_next_build(tmp_path, monkeypatch):
    busy = [Path("/dev/loop9")]
    monkeypatch.setattr("imagebuild.workshop.detach_below", lambda work: busy)
    with workshop(tmp_path, []) as shop:
        pass
    assert shop.work.is_dir()
    assert (shop.folder / LEFT).exists()
    busy.clear()
    assert sweep(tmp_path) == [shop.folder]
    assert not shop.work.exists()
    assert not shop.folder.exists()


def test_a_device_that_another_build_took_keeps_its_partitions(monkeypatch):
    first, second = Path("/dev/loop8"), Path("/dev/loop9")
    states = iter(
        [
            [(first, "/work/image0.raw"), (second, "/work/other.raw")],
            [(first, "/elsewhere/image0.raw")],
            [(first, "/elsewhere/image0.raw")],
        ]
    )
    dropped = []
    monkeypatch.setattr("imagebuild.loops.attached", lambda: next(states))
    monkeypatch.setattr("imagebuild.loops._drop_partitions", dropped.append)
    monkeypatch.setattr("imagebuild.loops._detach", lambda device: None)
    assert detach_below(Path("/work")) == []
    assert dropped == [first, second, second]


def test_a_folder_of_files_that_got_no_names_is_gone_too(tmp_path):
    apart = tmp_path / ".x.qcow2.beside.partial"
    with workshop(tmp_path, [apart]):
        apart.mkdir()
        (apart / "x.qcow2.json").write_text("{}", encoding="utf-8")
    assert not apart.exists()


def test_what_a_killed_build_left_is_cleared_and_a_living_one_left_alone(tmp_path):
    script = """
import sys, time
from pathlib import Path
from imagebuild.workshop import workshop
cache = Path(sys.argv[1])
with workshop(cache, [cache / ".x.qcow2.partial"]) as shop:
    (cache / ".x.qcow2.partial").write_bytes(b"half")
    (shop.work / "raw").write_bytes(b"disk")
    print(shop.work, flush=True)
    time.sleep(60)
"""
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert child.stdout
    work = Path(child.stdout.readline().strip())
    assert sweep(tmp_path) == []
    assert (work / "raw").exists()
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert len(sweep(tmp_path)) == 1
    assert not work.exists()
    assert not (tmp_path / ".x.qcow2.partial").exists()
    assert list((tmp_path / RUNNING).iterdir()) == []


def test_a_list_of_what_is_left_cannot_name_other_files(tmp_path):
    folder = tmp_path / RUNNING / "1-x"
    folder.mkdir(parents=True)
    mine = tmp_path / "precious"
    mine.mkdir()
    (folder / LEFT).write_text(
        json.dumps({"work": str(mine), "partials": [str(mine / "x.qcow2")]}), encoding="utf-8"
    )
    (mine / "x.qcow2").write_bytes(b"image")
    assert sweep(tmp_path) == [folder]
    assert (mine / "x.qcow2").exists()


def test_a_folder_that_is_just_being_made_is_left_alone(tmp_path):
    folder = tmp_path / RUNNING / "1-x"
    folder.mkdir(parents=True)
    assert sweep(tmp_path) == []
    os.utime(folder, (0, 0))
    assert sweep(tmp_path) == [folder]


def test_a_locked_folder_is_left_alone(tmp_path):
    folder = tmp_path / RUNNING / "1-x"
    folder.mkdir(parents=True)
    (folder / LEFT).write_text("{}", encoding="utf-8")
    with (folder / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert sweep(tmp_path) == []
    assert sweep(tmp_path) == [folder]


def test_packages_are_lent_and_taken_back(tmp_path):
    pool, folder = tmp_path / "pool", tmp_path / "apt"
    pool.mkdir()
    (pool / "a.deb").write_bytes(b"a")
    assert lend(pool, folder) == 1
    (folder / "a.deb").unlink()  # as `apt-get clean` does
    (folder / "b.deb").write_bytes(b"b")
    (folder / "partial").mkdir()
    (folder / "partial" / "c.deb").write_bytes(b"half")
    assert take_back(pool, folder) == 1
    assert sorted(path.name for path in pool.iterdir()) == ["a.deb", "b.deb"]


def test_a_pool_loses_what_was_fetched_first(tmp_path):
    for age, name in enumerate(("new.deb", "old.deb")):
        (tmp_path / name).write_bytes(b"12345")
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    trim(tmp_path, limit=7)
    assert [path.name for path in tmp_path.iterdir()] == ["new.deb"]


def test_packages_that_another_build_removes_meanwhile_are_no_error(tmp_path, monkeypatch):
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool" / "a.deb").write_bytes(b"a")
    listing = Path.glob

    def stale(self, pattern):
        return [*listing(self, pattern), self / "gone.deb"]

    monkeypatch.setattr(Path, "glob", stale)
    assert lend(tmp_path / "pool", tmp_path / "apt") == 1
    trim(tmp_path / "pool", limit=0)
    assert list((tmp_path / "pool").iterdir()) == []


INRELEASE = b"""-----BEGIN PGP SIGNED MESSAGE-----
Date: %s
SHA256:
 0123abcd 12 main/binary-amd64/Packages
-----BEGIN PGP SIGNATURE-----
%s
"""


def test_the_state_of_repositories_is_not_when_they_were_signed():
    monday = INRELEASE % (b"Mon", b"sigA")
    tuesday = INRELEASE % (b"Tue", b"sigB")
    assert without_dates(monday) == without_dates(tuesday) != b""
    changed = monday.replace(b"0123", b"4567")
    first, second, third = (
        repository_state(["http://u/i"], lambda _, content=content: content)
        for content in (monday, tuesday, changed)
    )
    assert first.key == second.key
    assert first.indexes != second.indexes, "an archive has each as it was sent"
    assert third.key != first.key


def test_the_state_is_unknown_where_a_repository_is_silent():
    def silent(url):
        raise OSError("no route")

    assert repository_state(["u"], silent) == State("")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (HTTPError("http://me:secret@m/i", 503, "busy", Message(), None), "HTTP status 503"),
        (URLError(OSError(111, "Connection refused")), ": Connection refused"),
        (OSError(110, "timed out"), ": [Errno 110] timed out"),
    ],
)
def test_why_a_repository_is_silent_is_told_in_words(caplog, error, told):
    def silent(url):
        raise error

    assert repository_state(["http://m/i"], silent, named=True) == State("")
    assert caplog.messages[0].endswith(told)
    assert "secret" not in caplog.text


def test_a_mirror_that_a_person_names_must_have_the_release():
    url = "http://m/debian/dists/bookworm/InRelease"

    def absent(url):
        raise HTTPError(url, 404, "Not Found", Message(), None)

    assert repository_state([url], absent) == State(""), "of a public one others may have it"
    with pytest.raises(BadInput, match=r"HTTP status 404.*expected a mirror") as caught:
        repository_state([url], absent, named=True)
    assert str(caught.value).startswith(f"{url}: ")


@pytest.mark.parametrize("url", ["notaurl", "http://me:secret@h:port/x", "http://me:secret@[::1/x"])
def test_an_address_that_is_none_is_told_without_secrets(caplog, url):
    assert repository_state([url], fetch) == State("")
    assert "does not answer" in caplog.text
    assert "secret" not in caplog.text


def test_what_gets_no_more_packages_has_one_state():
    assert repository_state([], fetch) == State("fixed")


def test_every_system_tells_where_its_state_is():
    assert state_urls(load_recipe("debian-12"), SETTINGS) == [
        f"{DEBIAN_MIRROR}/dists/bookworm/InRelease",
        f"{DEBIAN_MIRROR}/dists/bookworm-updates/InRelease",
        f"{DEBIAN_MIRROR}-security/dists/bookworm-security/InRelease",
    ]
    for name in ("rocky-9", "centos-stream-10", "fedora-43"):
        urls = state_urls(load_recipe(name), SETTINGS)
        assert all("repomd.xml" in url and "RELEASE" not in url for url in urls)


@pytest.mark.parametrize(
    ("line", "phase"),
    [
        ("2026 | Running hooks from /tmp/b/hooks/root.d", Phase.ROOT),
        ("2026 | dib-run-parts Running /tmp/in_target.d/pre-install.d/01-x", Phase.PACKAGES),
        ("2026 | Running hooks from /tmp/b/hooks/post-root.d", Phase.DISK),
        ("2026 | Calculating image size (this may take a minute)...", Phase.DISK),
        ("rackseed: the disk is packed", Phase.PACKING),
        ("2026 | Setting up root.d", None),
    ],
)
def test_phases_are_read_from_the_log(line, phase):
    assert phase_of(line) is phase


def test_a_growing_log_is_read_by_whole_lines(tmp_path):
    log = tmp_path / "x.log"
    follower = Follower(log)
    assert follower.read() == []
    log.write_text("Running hooks from /b/hooks/ro", encoding="utf-8")
    assert follower.read() == []
    with log.open("a", encoding="utf-8") as file:
        file.write("ot.d\nRunning hooks from /b/hooks/root.d\nCalculating image size\n")
    assert follower.read() == [Phase.ROOT, Phase.DISK]
    assert follower.read() == []


def test_typical_times_are_what_was_seen_last(tmp_path):
    path = tmp_path / "times.json"
    assert read_times(path) == {}
    write_times(path, "a", {Phase.ROOT: 1.04})
    write_times(path, "b", {Phase.DISK: 2.0})
    assert read_times(path) == {"a": {"first root": 1.0}, "b": {"disk": 2.0}}
    path.write_text("broken", encoding="utf-8")
    assert read_times(path) == {}


def test_a_log_tells_why(tmp_path):
    log = tmp_path / "x.log"
    log.write_text(
        "2026-11-21 16:42:32.570 | mktemp: failed to create file via template '/x'\n"
        "2026-11-21 16:42:32.579 | dpkg: error processing package ca-certificates (--configure):\n"
        "2026-11-21 16:42:35.735 | Processing triggers for systemd (252.39-1~deb12u2) ...\n"
        "2026-11-21 16:42:35.896 | E: Sub-process /usr/bin/dpkg returned an error code (1)\n",
        encoding="utf-8",
    )
    assert reasons(log) == [
        "dpkg: error processing package ca-certificates (--configure):",
        "E: Sub-process /usr/bin/dpkg returned an error code (1)",
    ]
    assert not is_full(log)
    log.write_text("tar: x: No space left on device\n", encoding="utf-8")
    assert is_full(log)
    assert reasons(tmp_path / "absent.log") == []


def test_a_log_does_not_take_what_was_called_for_what_failed(tmp_path):
    log = tmp_path / "x.log"
    log.write_text(
        "2026-11-21 20:24:11.9 | INFO block_device.utils [-] Calling [sudo mkfs.vfat /dev/loop2]\n"
        "2026-11-21 20:24:19.9 | touch: setting times of '/x/sys': Read-only file system\n"
        "2026-11-21 20:24:20.0 | Unmount /x/sys\n",
        encoding="utf-8",
    )
    assert reasons(log) == ["touch: setting times of '/x/sys': Read-only file system"]


def test_the_filter_is_whole_for_every_architecture():
    for calls in CALLS.values():
        assert len(program(calls)) == 8 * (len(calls.numbers) + 5)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a filter without no_new_privs")
def test_syncs_do_nothing_in_a_build():
    code = "import os; os.sync(); os.fsync(999); os.fdatasync(999); print('skipped')"
    plain = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert plain.returncode != 0, "999 is a descriptor here"
    quick = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        check=True,
        preexec_fn=suppress_sync,
    )
    assert quick.stdout == b"skipped\n"
