"""States are folders; what a killed publisher left is seen by nobody."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rpmspecs.errors import BadInput, DiskFull
from rpmspecs.states import (
    Entry,
    RoomIn,
    State,
    keep_reachable,
    live_state,
    locked,
    new_folder,
    prune,
    states,
    switch,
    write_record,
)

REPOMD = b"""<repomd xmlns="http://linux.duke.edu/metadata/repo"><revision>1</revision>
<data type="primary"><location href="repodata/%d-primary.xml.gz"/></data></repomd>"""


def make(repository: Path, number: int, *files: str) -> State:
    folder = repository / "states" / str(number)
    for name in (*files, f"repodata/{number}-primary.xml.gz"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{name} of {number}")
    (folder / "repodata/repomd.xml").write_bytes(REPOMD % number)
    entries = tuple(Entry(name, name, name, name) for name in files)
    now = datetime(2026, 11, 21, tzinfo=UTC)
    state = State(number, folder, False, now, number, "A" * 40, "http://x", entries)
    write_record(state)
    return state


def numbers(repository: Path) -> list[int]:
    return [state.number for state in states(repository)]


def test_a_state_is_read_as_it_was_written(tmp_path):
    made = make(tmp_path, 1, "Packages/a.rpm")
    assert states(tmp_path) == [made]
    assert sorted(made.files()) == ["Packages/a.rpm", "repodata/1-primary.xml.gz"]
    assert live_state(tmp_path) is None
    switch(tmp_path, 1)
    assert live_state(tmp_path).live


def test_a_record_that_is_none_is_told(tmp_path):
    (make(tmp_path, 1).folder / "state.json").write_text("{}")
    with pytest.raises(BadInput, match=r"states/1/state\.json cannot be read"):
        states(tmp_path)


def test_what_a_killed_publisher_left_is_no_state_and_goes(tmp_path):
    with locked(tmp_path):
        pass
    for name in (".new-abc", ".old-3"):
        (tmp_path / "states" / name / "Packages").mkdir(parents=True)
    assert numbers(tmp_path) == []
    with locked(tmp_path):
        assert list((tmp_path / "states").iterdir()) == []


def test_an_unfinished_state_goes_with_its_error(tmp_path):
    (tmp_path / "states").mkdir()
    with pytest.raises(FileNotFoundError), new_folder(tmp_path) as folder:
        (folder / "nothing").read_bytes()
    assert list((tmp_path / "states").iterdir()) == []


def test_the_lock_dies_with_its_owner(tmp_path):
    script = (
        "import os, signal\nfrom pathlib import Path\nfrom rpmspecs.states import locked\n"
        f"with locked(Path({str(tmp_path)!r})): os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    with locked(tmp_path), pytest.raises(BadInput, match=f"changed by process {os.getpid()}"):
        locked(tmp_path).__enter__()


def test_old_files_stay_reachable_and_never_take_the_place_of_new_ones(tmp_path):
    old = make(tmp_path, 1, "Packages/a.rpm", "Packages/b.rpm")
    new = make(tmp_path, 2, "Packages/a.rpm")
    keep_reachable(new.folder, [old])
    assert (new.folder / "Packages/a.rpm").read_text() == "Packages/a.rpm of 2"
    assert (new.folder / "Packages/b.rpm").samefile(old.folder / "Packages/b.rpm")
    assert (new.folder / "repodata/1-primary.xml.gz").exists()


@pytest.mark.parametrize(
    ("keep", "grace", "left"),
    [(1, 0, [3, 4]), (0, 0, [4]), (9, 0, [1, 2, 3, 4]), (0, 3600, [1, 2, 3, 4])],
)
def test_the_newest_are_kept_and_all_that_were_live_a_moment_ago(tmp_path, keep, grace, left):
    for number in range(1, 5):
        make(tmp_path, number)
        switch(tmp_path, number)
    prune(tmp_path, keep, timedelta(seconds=grace))
    assert numbers(tmp_path) == left


def test_the_live_state_stays_also_when_it_is_the_oldest(tmp_path):
    for number in range(1, 4):
        make(tmp_path, number)
        switch(tmp_path, number)
    switch(tmp_path, 1)
    prune(tmp_path, 0, timedelta(0))
    assert numbers(tmp_path) == [1]


def test_a_full_disk_is_told_whoever_met_it(tmp_path):
    with pytest.raises(DiskFull, match="no space left on device"), RoomIn(tmp_path):
        raise OSError(28, "No space left on device")
    with pytest.raises(DiskFull, match="are needed and"), RoomIn(tmp_path) as room:
        room.need(1 << 60)
    with pytest.raises(ValueError, match="another"), RoomIn(tmp_path):
        raise ValueError("another")
