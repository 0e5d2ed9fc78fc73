"""Every row of the table finds its leftover, finds no other's, and is put right by the script."""

from pathlib import Path

import pytest

from imagebuild.inside.errors import Unreadable
from imagebuild.inside.tree import Entry, Kind, Tree
from imagebuild.seal import script
from imagebuild.seal.rules import Absent, Emptied, Hollow, Nowhere
from imagebuild.seal.table import TABLE
from tests.sealing import seal, verified
from tests.unsealed import CLEAN, IN_THE_DISK, PLANTS, make, snapshot

ELEMENT = Path("imagebuild/elements/rackseed-seal")


RULES = [rule for row in TABLE for rule in row.rules]


def _examples(rule: object) -> list[str]:
    """Names that a rule must find; only of those that look for names."""
    match rule:
        case Absent(patterns=patterns):
            return [_concrete(pattern) for pattern in patterns]
        case Hollow(patterns=patterns):
            return [f"{_concrete(pattern)}/deeper/x" for pattern in patterns]
        case Nowhere(folders=folders, names=names):
            return [f"{folder}/deeper/{_concrete(name)}" for folder in folders for name in names]
        case Emptied(patterns=patterns):
            return [_concrete(pattern) for pattern in patterns]
    return []


def _concrete(pattern: str) -> str:
    return pattern.replace("[0-9]", "1").replace("[op]", "p").replace("*", "x")


def test_a_sealed_system_has_no_findings(tmp_path):
    assert [str(finding) for finding in verified(make(tmp_path, CLEAN)).findings] == []


@pytest.mark.parametrize("row", PLANTS)
def test_each_leftover_is_found_as_itself_and_as_nothing_else(row, tmp_path):
    report = verified(make(tmp_path, {**CLEAN, **PLANTS[row]}))
    assert {finding.row.name for finding in report.findings} == {row}
    assert not report.sealed


def test_every_row_has_a_leftover_in_these_tests():
    assert {row.name for row in TABLE} == set(PLANTS) | IN_THE_DISK


def test_the_script_mends_every_leftover_at_once_and_the_second_time_changes_nothing(tmp_path):
    by_hand = {row.name for row in TABLE if row.mend} - {"swap"}
    files = dict(CLEAN)
    for row, plant in PLANTS.items():
        if row not in by_hand:
            files |= plant
    root = make(tmp_path / "root", files)
    assert {finding.row.name for finding in verified(root).findings} == set(PLANTS) - by_hand
    seal(root)
    assert [str(finding) for finding in verified(root).findings] == []
    once = snapshot(root)
    seal(root)
    assert snapshot(root) == once


def test_every_path_of_the_table_is_found_and_mended(tmp_path):
    planted = {path: "x" for rule in RULES for path in _examples(rule)}
    root = make(tmp_path / "root", {**CLEAN, **planted})
    found = {finding.path for finding in verified(root).findings}
    assert set(planted) - found == set()
    assert len(planted) > 200
    seal(root)
    assert [str(finding) for finding in verified(root).findings] == []


def test_the_script_leaves_a_sealed_system_as_it_is(tmp_path):
    root = make(tmp_path / "root", CLEAN)
    before = snapshot(root)
    seal(root)
    after = snapshot(root)
    assert before.pop("etc/hostname") == "localhost\n"
    assert before.pop("var/log/apt/history.log") == ""
    assert after == before


def test_the_script_keeps_what_is_beside_a_leftover(tmp_path):
    root = make(
        tmp_path / "root",
        {
            **CLEAN,
            "etc/shadow": "root:$6$a$b:1:0:9:7:::\nsshd:!:1::::::\nguest::1::::::\n",
            "etc/hosts": "127.0.0.1 localhost\n127.0.1.1 build7.example.org build7\n",
            "etc/resolv.conf": "-> ../run/systemd/resolve/stub-resolv.conf",
        }
        | {"etc/apt/sources.list": "deb https://me:secret@mirror.example.org/debian sid main\n"},
    )
    (root / "etc/shadow").chmod(0o640)
    number = (root / "etc/shadow").stat().st_ino
    seal(root)
    assert (
        root / "etc/shadow"
    ).read_text() == "root:*:1:0:9:7:::\nsshd:!:1::::::\nguest:*:1::::::\n"
    assert (root / "etc/shadow").stat().st_ino == number
    assert (root / "etc/shadow").stat().st_mode & 0o777 == 0o640
    assert (root / "etc/hosts").read_text() == "127.0.0.1 localhost\n"
    assert (root / "etc/resolv.conf").is_symlink()
    sources = (root / "etc/apt/sources.list").read_text()
    assert sources == "deb https://mirror.example.org/debian sid main\n"


def test_the_element_carries_the_script_of_this_table(golden):
    golden(f"../../{ELEMENT}/seal.sh", script.render())


@pytest.mark.parametrize(
    ("systemd", "content", "traces"),
    [
        ("libsystemd-shared-252.so", "", []),
        ("libsystemd-shared-252.so", "uninitialized\n", []),
        ("libsystemd-shared-247-1.el9.so", "uninitialized\n", []),
        ("libsystemd-shared-246.so", "uninitialized\n", ["machine-id"]),
        ("systemd", "uninitialized\n", ["machine-id"]),
        ("systemd", "", []),
        ("systemd", None, ["machine-id"]),
        ("libsystemd-shared-252.so", "0" * 32 + "\n", ["machine-id"]),
    ],
)
def test_the_machine_id_has_the_form_that_its_systemd_wants(systemd, content, traces, tmp_path):
    files = {name: text for name, text in CLEAN.items() if "machine-id" not in name}
    del files["usr/lib/systemd/libsystemd-shared-252.so"]
    files[f"usr/lib/systemd/{systemd}"] = ""
    if content is not None:
        files["etc/machine-id"] = content
    report = verified(make(tmp_path, files))
    assert [finding.row.name for finding in report.findings] == traces


@pytest.mark.parametrize(
    ("systemd", "written"),
    [("libsystemd-shared-252.so", "uninitialized\n"), ("libsystemd-shared-239.so", ""), ("x", "")],
)
def test_the_script_writes_the_machine_id_of_rpm_systems_by_version(systemd, written, tmp_path):
    root = make(
        tmp_path / "root",
        {"var/lib/rpm/Packages": "", f"usr/lib/systemd/{systemd}": "", "etc/machine-id": "a" * 32},
    )
    seal(root)
    assert (root / "etc/machine-id").read_text() == written


def test_the_word_uninitialized_counts_for_a_generic_image_only_with_a_known_systemd(tmp_path):
    files = {**CLEAN, "var/lib/dbus/machine-id": "-> /etc/machine-id"}
    assert verified(make(tmp_path, files)).sealed


def test_a_link_cannot_lead_the_verifier_to_files_of_this_machine(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x_host_y").write_text("x")
    files = {name: text for name, text in CLEAN.items() if not name.startswith("etc/ssh/")}
    root = make(tmp_path / "root", {**files, "etc/ssh": f"-> {outside}"})
    assert verified(root).findings == ()


def test_the_report_never_shows_a_secret(tmp_path):
    report = verified(make(tmp_path, {**CLEAN, **PLANTS["passwords"], **PLANTS["hostname"]}))
    text = str(report.as_json())
    assert "salt" not in text
    assert "build7" not in text


def test_folders_without_an_end_are_refused():
    class Endless:
        """Every name is a folder that contains itself."""

        def entry(self, path: str) -> Entry:
            return Entry(Kind.FOLDER, 0o755, 0)

        def names(self, path: str) -> list[str]:
            return ["again"]

    with pytest.raises(Unreadable, match="folders without an end"):
        list(Tree(Endless()).walk())
