"""`rackseed rpm build` without a build: what it shows, and how it fails."""

import io
import json
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from provision.cli.main import invoke
from provision.cli.report import ExitStatus
from provision.cli.rpm import view
from provision.cli.rpm.build import status_of
from rpmspecs.build import Event, Stage
from rpmspecs.errors import BadInput, BuildFailed, DiskFull, MissingRequirement, ToolMissing
from rpmspecs.sources import Source
from rpmspecs.steps import plan
from tests.tools import require_tool
from tests.unit.rpmspecs.builders import PROGRAMS, TARGET, write_spec

find = shutil.which


@pytest.fixture(autouse=True)
def _rpmspec():
    require_tool("rpmspec", package="rpm")


@pytest.fixture
def chain(tmp_path):
    return [str(write_spec(tmp_path, "app", "lib")), str(write_spec(tmp_path, "lib"))]


@pytest.fixture
def steps(chain):
    return plan([Path(one) for one in chain], [TARGET], "fake", PROGRAMS)


def rpm_build(*words):
    return invoke(["rpm", "build", *words])


def test_a_dry_run_shows_the_order(chain, capsys, tmp_path):
    words = ("--target", "fedora-43", "--backend", "chroot", "--dry-run")
    assert rpm_build(*chain, *words, "--results", str(tmp_path)) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert [row[2:4] for row in rows] == [["lib-1-1.fc43", "-"], ["app-1-1.fc43", "lib"]]
    assert not (tmp_path / "fedora-43").exists()


def test_a_dry_run_with_mock_shows_its_configurations(chain, capsys):
    words = ("--target", "rocky-10", "--target", "fedora-43", "--backend", "mock", "--dry-run")
    assert rpm_build(*chain, *words, "--mirror", "http://mirror.lan/x/", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in shown["order"]] == ["lib", "app", "lib", "app"]
    assert set(shown["mock"]) == {"rocky-10", "fedora-43"}
    assert "http://mirror.lan/x/pub/rocky/$releasever/" in shown["mock"]["rocky-10"]


def test_all_of_ours_are_built_when_none_is_named(capsys):
    words = ("--target", "fedora-43", "--backend", "chroot", "--dry-run", "--json")
    assert rpm_build(*words) == 0
    names = [one["name"] for one in json.loads(capsys.readouterr().out)["order"]]
    assert {"openstack-node", "openstack-keystone"} <= set(names)


def test_a_target_that_cannot_have_ours_is_one_sentence(capsys):
    words = ("--target", "centos-7", "--backend", "chroot", "--dry-run")
    assert rpm_build(*words) == ExitStatus.BAD_INPUT
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines()[0] == (
        "error: centos-7 cannot have our packages: its RPM has no rich dependencies"
    )
    assert invoke(["rpm", "check", "--target", "centos-7", "--offline"]) == ExitStatus.BAD_INPUT
    assert "cannot have our packages" in capsys.readouterr().err


def test_the_chroot_is_not_taken_without_a_word(chain, capsys, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "mock" else find(name))
    assert rpm_build(*chain, "--target", "fedora-43", "--dry-run") == 0
    assert "warning: mock is not installed" in capsys.readouterr().err


def test_mock_is_taken_wherever_it_is(chain, capsys, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: find("true" if name == "mock" else name))
    assert rpm_build(*chain, "--target", "fedora-43", "--dry-run", "--json") == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["backend"] == "mock"
    assert shown.err == ""


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "error: --target is missing"),
        (["--target", "fedora43"], "did you mean 'fedora-43'?"),
        (["--target", "fedora-43", "nothing-like-it"], "error: there is no spec 'nothing-like-it'"),
        (["--target", "fedora-43", "./none.spec"], "error: none.spec: there is no such file"),
        (["--target", "none.yaml"], "error: none.yaml: cannot be read"),
        (["--target", "fedora-43", "--mirror", "x"], "error: --mirror: found 'x'"),
        (["--target", "fedora-43", "--proxy", "a b"], "error: --proxy is 'a b', expected a URL"),
    ],
)
def test_a_mistake_is_one_sentence(words, sentence, capsys):
    assert rpm_build(*words, "--backend", "chroot", "--dry-run") == ExitStatus.BAD_INPUT
    assert sentence in capsys.readouterr().err


def test_nothing_is_made_where_mock_is_asked_for_and_missing(chain, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "mock" else find(name))
    results = tmp_path / "results"
    words = ("--target", "fedora-43", "--backend", "mock", "--results", str(results))
    assert rpm_build(*chain, *words) == ExitStatus.BAD_INPUT
    assert capsys.readouterr().err == (
        "error: mock is not installed; it is in the package mock of Fedora and EPEL\n"
    )
    assert not results.exists()


def test_results_that_are_a_file_are_told(chain, capsys, tmp_path):
    results = tmp_path / "results"
    results.touch()
    words = ("--target", "fedora-43", "--backend", "chroot", "--results", str(results))
    assert rpm_build(*chain, *words) == ExitStatus.BAD_INPUT
    assert f"error: {results}/fedora-43 cannot be a folder, expected" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BadInput("x"), ExitStatus.BAD_INPUT),
        (ToolMissing("x"), ExitStatus.BAD_INPUT),
        (BuildFailed("x", TARGET.name, []), ExitStatus.PROGRAM_FAILED),
        (MissingRequirement("x"), ExitStatus.FAILED),
        (DiskFull("x"), ExitStatus.FAILED),
        (OSError("x"), ExitStatus.FAILED),
    ],
)
def test_the_first_error_gives_the_status(steps, error, status):
    lib, app = steps
    failed = Event(lib, Stage.FAILED, error=error)
    assert status_of([failed, Event(app, Stage.NOT_BUILT)]) is status
    assert status_of([Event(app, Stage.BUILT), failed]) is status
    assert status_of([Event(lib, Stage.BUILT), Event(app, Stage.REUSED)]) is ExitStatus.DONE


def test_the_live_table_shows_every_step_and_what_was_fetched(steps):
    lib, app = steps
    progress = view.Progress(steps)
    source = Source("0" * 64, "big.tgz", "https://example.org/big.tgz")
    progress.fetched(source, 500_000, 1_500_000)
    progress.fetched(source, 1_500_000, 1_500_000)
    progress.took(Event(lib, Stage.BUILT, seconds=12))
    progress.took(Event(app, Stage.BUILDING))
    console = Console(file=io.StringIO(), width=100)
    console.print(progress)
    shown = console.file.getvalue()
    assert "lib-1-1.fx1  built          12" in shown
    assert "app-1-1.fx1  building        0" in shown
    assert "1 sources fetched, 1.5 MB" in shown


def test_a_line_tells_one_change(steps):
    lib, app = steps
    assert view.event_line(Event(lib, Stage.BUILT, seconds=1.25)).endswith(
        "lib-1-1.fx1: built (1.2 s)"
    )
    reason = Event(app, Stage.NOT_BUILT, reason="needs lib")
    assert view.event_line(reason) == "fixture-1 app-1-1.fx1: not built, needs lib"


def test_facts_are_for_programs(steps):
    lib, app = steps
    ended = {
        lib.key: Event(lib, Stage.FAILED, seconds=2, error=MissingRequirement("no x")),
        app.key: Event(app, Stage.NOT_BUILT, reason="needs lib"),
    }
    facts = json.loads(json.dumps(view.facts(ended)))
    assert [(one["name"], one["outcome"], one["error"]) for one in facts] == [
        ("lib", "failed", "no x"),
        ("app", "not built", "needs lib"),
    ]
    assert view.summary_line(ended) == "1 failed, 1 not built"
