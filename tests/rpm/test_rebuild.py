"""Source packages of another repository become specs that are built in order."""

import json
from pathlib import Path

import pytest

from provision.cli.main import invoke
from rpmspecs.errors import BadInput, RepositoryUnavailable, SourceUnavailable
from rpmspecs.order import build_order
from rpmspecs.rebuild import find_srpms, unpack_srpm
from rpmspecs.repo import Change, publish
from rpmspecs.signing import make_key, open_key
from rpmspecs.spec import read_spec
from rpmspecs.target import load_target
from tests.repository import PROGRAMS, make_rpm, serving


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rebuild")
    noarch = "BuildArch: noarch\n"
    needs = f"{noarch}BuildRequires: zzz-fixture"
    made = [
        make_rpm(folder, "aaa-fixture", "1", tags=needs, source=True),
        make_rpm(folder, "zzz-fixture", "9", tags=noarch, source=True),
        make_rpm(folder, "zzz-fixture", "10", tags=noarch, source=True),
        make_rpm(folder, "zzz-fixture", "10", tags=noarch),
    ]
    key = make_key("Fixture <fixture@example.org>", folder / "gnupg", PROGRAMS)
    with open_key(key.fingerprint, [key.home], PROGRAMS) as signer:
        publish(Change(tuple(made)), folder / "repository", signer, PROGRAMS)
    return folder / "repository"


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


NEWEST = ["aaa-fixture-1-1.src.rpm", "zzz-fixture-10-1.src.rpm"]


def test_the_newest_of_each_is_found_by_folder_url_and_without_metadata(repository, tmp_path):
    sources = repository / "current/source/Packages"
    assert names(find_srpms(str(repository), [], tmp_path, PROGRAMS)) == NEWEST
    assert names(find_srpms(str(sources), [], tmp_path, PROGRAMS)) == NEWEST
    with serving(repository) as url:
        for top in (f"{url}/current", f"{url}/current/source/"):
            assert names(find_srpms(top, [], tmp_path, PROGRAMS)) == NEWEST
        found = find_srpms(f"{url}/current", ["zzz-fixture"], tmp_path, PROGRAMS)
        assert names(found) == NEWEST[1:]
        with pytest.raises(BadInput, match="no source package zzz-fixtur"):
            find_srpms(f"{url}/current", ["zzz-fixtur"], tmp_path, PROGRAMS)


def test_a_spec_lies_beside_what_it_carries_and_its_needs_give_the_order(repository, tmp_path):
    srpms = find_srpms(str(repository), [], tmp_path, PROGRAMS)
    target = load_target("fedora-43")
    specs = [read_spec(unpack_srpm(path, tmp_path, PROGRAMS), target, PROGRAMS) for path in srpms]
    order = [[spec.name for spec in batch] for batch in build_order(specs)]
    assert order == [["zzz-fixture"], ["aaa-fixture"]]
    again = unpack_srpm(srpms[0], tmp_path, PROGRAMS)
    assert again == specs[0].path


def test_what_is_no_repository_is_told_as_such(repository, tmp_path):
    with serving(repository) as url, pytest.raises(BadInput, match="is no repository"):
        find_srpms(f"{url}/nothing", [], tmp_path, PROGRAMS)
    with pytest.raises(RepositoryUnavailable, match="does not answer"):
        find_srpms(url, [], tmp_path, PROGRAMS)
    with pytest.raises(BadInput, match="neither a folder nor a URL"):
        find_srpms(str(tmp_path / "none"), [], tmp_path, PROGRAMS)


def test_a_source_package_that_is_not_what_the_metadata_says_is_refused(repository, tmp_path):
    def spoil(path: str) -> None:
        if path.endswith("zzz-fixture-10-1.src.rpm"):
            raise ConnectionAbortedError

    with serving(repository, spoil) as url, pytest.raises(SourceUnavailable, match="zzz-fixture"):
        find_srpms(f"{url}/current", [], tmp_path, PROGRAMS)


@pytest.mark.parametrize(
    ("part", "says"),
    [(0.3, "is damaged, expected a whole RPM"), (0.99, "cannot be unpacked, expected a whole")],
)
def test_a_damaged_source_package_is_told_in_one_sentence(repository, tmp_path, part, says):
    whole = (repository / "current/source/Packages/zzz-fixture-10-1.src.rpm").read_bytes()
    (tmp_path / "srpms").mkdir()
    damaged = tmp_path / "srpms" / "zzz.src.rpm"
    damaged.write_bytes(whole[: int(len(whole) * part)])

    def unpack() -> None:
        for path in find_srpms(str(damaged.parent), [], tmp_path, PROGRAMS):
            unpack_srpm(path, tmp_path / "cache", PROGRAMS)

    with pytest.raises(BadInput) as caught:
        unpack()
    assert str(caught.value).startswith(f"{damaged} {says}")
    assert len(caught.value.__notes__) == 1
    assert not list(tmp_path.glob("cache/*"))


def test_they_are_built_for_another_target_in_order(
    repository, fixture_target, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    results = tmp_path / "results"
    words = ["rpm", "rebuild", "--from", str(repository), "--target", str(fixture_target)]
    assert invoke([*words, "--backend", "chroot", "--results", str(results)]) == 0
    made = sorted(path.name for path in results.rglob("*.noarch.rpm"))
    assert made == ["aaa-fixture-1-1.noarch.rpm", "zzz-fixture-10-1.noarch.rpm"]


def test_mock_is_configured_as_asked(repository, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    words = ["rpm", "rebuild", "zzz-fixture", "--from", str(repository), "--target", "rocky-10"]
    words += ["--backend", "mock", "--isolation", "simple", "--dry-run", "--json"]
    configurations = []
    for bootstrap in (["--no-bootstrap"], ["--bootstrap-image", "example.org/rocky:10"]):
        assert invoke([*words, *bootstrap]) == 0
        configurations.append(json.loads(capsys.readouterr().out)["mock"]["rocky-10"])
    none, image = configurations
    for text in configurations:
        assert "config_opts['isolation'] = 'simple'" in text
    assert "config_opts['use_bootstrap'] = False" in none
    assert "config_opts['bootstrap_image'] = 'example.org/rocky:10'" in image
