"""Which packages a new state has, and under which paths."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from rpmspecs.arrange import Change, Make, arrange
from rpmspecs.errors import BadInput
from rpmspecs.repo import repo_file
from rpmspecs.rpmfile import RpmFile
from rpmspecs.states import Entry, State

KEY = "A" * 40


def rpm(name: str, version: str = "1", content: str = "c", *, source: bool = False) -> RpmFile:
    arch = "src" if source else "noarch"
    nevra = f"{name}-{version}-1.{arch}"
    path = Path("results", content, f"{nevra}.rpm")
    return RpmFile(path, name, nevra, f"{nevra}.rpm", source, 1000, content)


def state(number: int, *rpms: RpmFile, folder: str = "") -> State:
    entries = (
        Entry(f"Packages/{folder}{each.file_name}", each.nevra, each.name, each.content)
        for each in rpms
    )
    now = datetime(2026, 11, 21, tzinfo=UTC)
    return State(number, Path(f"states/{number}"), True, now, number, KEY, None, tuple(entries))


def placed(before: State | None, *add: RpmFile, change: Change | None = None, kept=()) -> dict:
    kept = [*kept, *([before] if before else [])]
    found = arrange(before, kept, add, change or Change(), KEY)
    return {each.entry.path: each.make for each in found}


def test_the_first_state_has_what_is_given():
    assert placed(None, rpm("a"), rpm("a", source=True)) == {
        "Packages/a-1-1.noarch.rpm": Make.SIGN,
        "source/Packages/a-1-1.src.rpm": Make.SIGN,
    }


def test_what_was_there_stays_and_is_not_signed_again():
    assert placed(state(1, rpm("a")), rpm("a"), rpm("b")) == {
        "Packages/a-1-1.noarch.rpm": Make.LINK,
        "Packages/b-1-1.noarch.rpm": Make.SIGN,
    }


def test_a_package_that_was_taken_out_comes_back_as_the_very_same_file():
    old, now = state(1, rpm("a")), state(2)
    assert placed(now, rpm("a"), kept=[old]) == {"Packages/a-1-1.noarch.rpm": Make.LINK}


def test_other_content_never_gets_a_path_that_some_client_may_still_ask_for():
    replaces = Change(replace=True)
    new = rpm("a", content="new")
    assert placed(state(1, rpm("a")), new, change=replaces) == {
        "Packages/state-2/a-1-1.noarch.rpm": Make.SIGN
    }
    assert placed(state(2), new, kept=[state(1, rpm("a"))]) == {
        "Packages/state-3/a-1-1.noarch.rpm": Make.SIGN
    }
    assert placed(state(9), new) == {"Packages/a-1-1.noarch.rpm": Make.SIGN}


def test_replacing_is_refused_unless_asked_for_and_every_conflict_is_told():
    before = state(1, rpm("a"), rpm("b"))
    with pytest.raises(BadInput) as caught:
        placed(before, rpm("a", content="x"), rpm("b", content="y"))
    assert str(caught.value).splitlines() == [
        "results/x/a-1-1.noarch.rpm: a-1-1.noarch is in the repository with other content",
        "results/y/b-1-1.noarch.rpm: b-1-1.noarch is in the repository with other content",
    ]


def test_two_files_of_one_name_must_be_the_same():
    assert len(placed(None, rpm("a"), rpm("a"))) == 1
    with pytest.raises(BadInput, match=r"are both a-1-1\.noarch and differ"):
        placed(None, rpm("a"), rpm("a", content="x"))


def test_a_file_that_takes_anothers_place_never_looks_the_same_to_createrepo():
    replaces = Change(replace=True)
    before = state(1, rpm("a"))
    (found,) = arrange(before, [before], [rpm("a", content="new")], replaces, KEY)
    assert found.mtime == 1000 + 2


def test_packages_are_removed_by_name_or_in_full():
    before = state(1, rpm("a"), rpm("a", "2"), rpm("b"))
    change = Change(remove=("a-1-1.noarch", "b"))
    assert placed(before, change=change) == {"Packages/a-2-1.noarch.rpm": Make.LINK}
    with pytest.raises(BadInput, match="has no package c, d"):
        placed(before, change=Change(remove=("c", "a", "d")))


def test_the_repository_file_turns_both_checks_on_and_asks_one_state_alone():
    text = repo_file("http://10.20.0.3/rpm/fedora-43/")
    assert "gpgcheck=1\nrepo_gpgcheck=1\n" in text
    assert "mirrorlist=http://10.20.0.3/rpm/fedora-43/current/mirrorlist\n" in text
    assert "gpgkey=file:///etc/pki/rpm-gpg/RPM-GPG-KEY-rackseed\n" in text
    assert "baseurl" not in text
