"""`rackseed rpm publish` tells what is missing before it makes anything."""

import json
from pathlib import Path

import pytest

from provision.cli.main import invoke
from provision.cli.rpm.publish import find_rpms, source_date_epoch
from provision.errors import BadInput


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Results of a build, as `rackseed rpm build` leaves them."""
    for folder, target in (("f/a-1-1", "f"), ("f/b-1-1.failed", "f"), ("f/.c-1-1.building", "f")):
        path = tmp_path / "results" / folder
        path.mkdir(parents=True)
        (path / "x.noarch.rpm").touch()
        (path / "build.json").write_text(json.dumps({"target": target}))
    return tmp_path / "results"


def test_packages_of_builds_that_ended_well_are_found(results):
    assert find_rpms([results]) == [results / "f/a-1-1/x.noarch.rpm"]


def test_packages_for_different_targets_are_not_mixed(results):
    other = results / "g/a-1-1"
    other.mkdir(parents=True)
    (other / "x.noarch.rpm").touch()
    (other / "build.json").write_text(json.dumps({"target": "g"}))
    with pytest.raises(BadInput, match="these packages are for f and g, expected one target"):
        find_rpms([results])
    assert find_rpms([results / "g"]) == [other / "x.noarch.rpm"]


def test_a_time_is_a_number():
    assert source_date_epoch("1700000000") == 1700000000
    assert source_date_epoch(None) is None
    with pytest.raises(BadInput, match="expected seconds since 1970"):
        source_date_epoch("yesterday")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "nothing to publish"),
        (["nowhere"], "nowhere does not exist, expected an RPM or a folder"),
        (["empty"], "empty holds no RPMs"),
        (["results/f"], "no key to sign with: --key is missing"),
        (["results/f", "--key", "A", "--make-key"], "exclude each other"),
        (["results/f", "--key", "A", "--owner", "B"], "--owner is about a new key"),
        (["results/f", "--key", "A", "--url", "rpm/x"], "--url: 'rpm/x' is no URL"),
        (["results/f", "--key", "A", "--url", "http://"], "--url: 'http://' is no URL"),
        (["results/f", "--key", "A", "--passphrase-file", "open"], "can be read by others"),
        (["results/f", "--key", "A", "--passphrase-file", "binary"], "has no text in its first"),
        (["results/f", "--key", "A", "--passphrase-file", "blank"], "has no text in its first"),
        (["results/f", "--make-key"], "x.noarch.rpm is not an RPM"),
    ],
)
def test_one_mistake_is_one_sentence(results, monkeypatch, capsys, words, says):
    monkeypatch.chdir(results.parent)
    monkeypatch.setattr("provision.cli.rpm.publish.our_keys", lambda: Path("keys"))
    Path("empty").mkdir()
    Path("open").touch(mode=0o644)
    for name, content in (("binary", b"\xff\xfe"), ("blank", b"\nx")):
        Path(name).touch(mode=0o600)
        Path(name).write_bytes(content)
    assert invoke(["rpm", "publish", *words, "--repository", "repository"]) == 2
    assert says in capsys.readouterr().err
    assert not Path("repository").exists()
    assert not Path("keys").exists()


def test_a_repository_without_states_is_told(tmp_path, capsys):
    assert invoke(["rpm", "states", "--repository", str(tmp_path)]) == 0
    assert "nothing was published there yet" in capsys.readouterr().err
    assert invoke(["rpm", "rollback", "1", "--repository", str(tmp_path / "none")]) == 2
    assert "has no state 1: nothing was published there yet" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["file", "--url", "http://h/r"], "file is no folder, expected one for the spec"),
        (["new", "--url", "h/r"], "--url: 'h/r' is no URL"),
        (["new", "--url", "http://h/r"], "no key to sign with: --key is missing"),
    ],
)
def test_a_release_needs_a_folder_and_a_url(tmp_path, monkeypatch, capsys, words, says):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    assert invoke(["rpm", "release", *words]) == 2
    assert says in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
