import errno
import hashlib
import json
import threading
import time
from dataclasses import replace

import pytest

from rpmspecs.build import Stage, Way, build
from rpmspecs.errors import (
    BadInput,
    BuildFailed,
    DiskFull,
    MissingRequirement,
    RepositoryUnavailable,
    SourceUnavailable,
)
from rpmspecs.results import held, read_record
from rpmspecs.steps import plan
from tests.tools import require_tool
from tests.unit.rpmspecs.builders import PROGRAMS, TARGET, FakeBackend, write_spec


@pytest.fixture(autouse=True)
def _tools():
    require_tool("rpmspec", package="rpm")
    require_tool("createrepo_c", package="createrepo-c")


@pytest.fixture
def chain(tmp_path):
    return [
        write_spec(tmp_path, "app", "lib"),
        write_spec(tmp_path, "lib", "tool"),
        write_spec(tmp_path, "tool"),
    ]


class Building:
    """One folder of results and what is built into it."""

    def __init__(self, folder):
        self.results = folder / "results"
        self.cache = folder / "cache"
        self.events = []

    def __call__(self, paths, backend=None, targets=(TARGET,), jobs=2, watch=None, **wishes):
        backend = backend or FakeBackend()
        steps = plan(paths, targets, backend.name, PROGRAMS)
        way = Way(backend, PROGRAMS, self.results, self.cache, jobs, **wishes)
        self.events = []
        ended = build(steps, way, watch or self.events.append)
        return {name: event for (_, name), event in ended.items()}

    def left(self):
        return sorted(p.name for p in self.results.glob("*/*") if p.name != ".lock")


@pytest.fixture
def run(tmp_path):
    return Building(tmp_path)


def stages(ended):
    return {name: event.stage for name, event in ended.items()}


def test_a_chain_is_built_in_order_and_offered_on(run, chain):
    backend = FakeBackend()
    ended = run(chain, backend)
    assert set(stages(ended).values()) == {Stage.BUILT}
    assert list(backend.built) == [
        ("tool", (), ()),
        ("lib", ("tool-1-1.fx1",), ()),
        ("app", ("lib-1-1.fx1",), ()),
    ]
    assert run.left() == ["app-1-1.fx1", "lib-1-1.fx1", "tool-1-1.fx1"]


def test_a_result_holds_packages_logs_metadata_and_its_record(run, chain):
    ended = run(chain)
    folder = ended["lib"].folder
    assert sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())[:3] == [
        "build.json",
        "build.log",
        "lib-1-1.fx1.src.rpm",
    ]
    assert (folder / "srpm/build.log").is_file()
    record = read_record(folder)
    assert (record["backend"], record["target"], record["needs"]) == ("fake", "fixture-1", ["tool"])
    assert [p["name"] for p in record["packages"]] == ["lib-1-1.fx1.src.rpm"]


def test_what_was_built_of_the_same_is_not_built_again(run, chain):
    run(chain)
    backend = FakeBackend()
    assert set(stages(run(chain, backend)).values()) == {Stage.REUSED}
    assert not backend.built


@pytest.mark.parametrize(
    ("change", "built"),
    [
        ("text of tool", {"tool", "lib", "app"}),
        ("text of app", {"app"}),
        ("result of lib", {"lib"}),
        ("metadata of lib", {"lib"}),
        ("target", {"tool", "lib", "app"}),
        ("rebuild", {"tool", "lib", "app"}),
    ],
)
def test_a_change_builds_what_depends_on_it(run, chain, change, built):
    folder = run(chain)["lib"].folder
    targets, wishes = (TARGET,), {}
    match change.split():
        case ["text", _, name]:
            path = next(p for p in chain if p.stem == name)
            path.write_text(path.read_text().replace("%files", "%doc README\n%files"))
        case ["result", *_]:
            next(folder.glob("*.rpm")).unlink()
        case ["metadata", *_]:
            (folder / "repodata/repomd.xml").unlink()
        case ["target"]:
            targets = (replace(TARGET, macros={"_with_x": "1"}),)
        case _:
            wishes = {"rebuild": True}
    backend = FakeBackend()
    run(chain, backend, targets, **wishes)
    assert {name for name, *_ in backend.built} == built


def test_a_failure_hinders_only_those_that_need_it(run, chain, tmp_path):
    chain.append(write_spec(tmp_path, "other"))
    backend = FakeBackend({"lib": BuildFailed("lib", tmp_path, [])})
    ended = run(chain, backend)
    assert stages(ended) == {
        "tool": Stage.BUILT,
        "lib": Stage.FAILED,
        "app": Stage.NOT_BUILT,
        "other": Stage.BUILT,
    }
    assert ended["app"].reason == "needs lib"


def test_the_logs_of_a_failure_are_kept_where_the_error_says(run, tmp_path):
    backend = FakeBackend({"tool": BuildFailed("tool", tmp_path, [])})
    ended = run([write_spec(tmp_path, "tool")], backend)
    error = ended["tool"].error
    assert error.log == run.results / "fixture-1/tool-1-1.fx1.failed/build.log"
    assert error.log.read_text() == "line\nerror: this\n"
    assert str(error).splitlines()[1:] == ["error: this"]
    assert run.left() == ["tool-1-1.fx1.failed"]


def test_a_failure_leaves_the_older_result_and_a_success_removes_the_failure(run, tmp_path):
    paths = [write_spec(tmp_path, "tool")]
    run(paths)
    run(paths, FakeBackend({"tool": MissingRequirement("no x")}), rebuild=True)
    assert run.left() == ["tool-1-1.fx1", "tool-1-1.fx1.failed"]
    assert run(paths)["tool"].stage is Stage.REUSED
    run(paths, rebuild=True)
    assert run.left() == ["tool-1-1.fx1"]


@pytest.mark.parametrize(
    "error", [RepositoryUnavailable("main answers 404"), DiskFull("no space left")]
)
def test_an_error_that_all_would_meet_is_met_once(run, tmp_path, error):
    paths = [write_spec(tmp_path, name) for name in ("a", "b", "c")]
    ended = run(paths, FakeBackend(dict.fromkeys("abc", error)), jobs=1)
    assert sorted(stage.name for stage in stages(ended).values()) == [
        "FAILED",
        "NOT_BUILT",
        "NOT_BUILT",
    ]


def test_independent_specs_are_built_at_once(run, tmp_path):
    paths = [write_spec(tmp_path, name) for name in ("a", "b")]
    backend = FakeBackend()
    backend.begun = {"a": threading.Event(), "b": threading.Event()}
    backend.hold = {"a": backend.begun["b"], "b": backend.begun["a"]}
    assert set(stages(run(paths, backend, jobs=2)).values()) == {Stage.BUILT}


def test_a_spec_starts_while_others_of_an_earlier_batch_still_build(run, chain, tmp_path):
    backend = FakeBackend()
    backend.begun = {"app": threading.Event()}
    backend.hold = {"slow": backend.begun["app"]}
    ended = run([*chain, write_spec(tmp_path, "slow")], backend)
    assert set(stages(ended).values()) == {Stage.BUILT}


def test_an_interruption_stops_every_build_and_leaves_nothing_unfinished(run, chain):
    backend = FakeBackend()
    backend.hold = {"tool": threading.Event()}

    def interrupt(event):
        if event.stage is Stage.BUILDING:
            raise KeyboardInterrupt

    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run(chain, backend, watch=interrupt)
    assert time.monotonic() - begin < 5
    assert run.left() == []


def test_an_unexpected_error_is_raised_on(run, tmp_path):
    with pytest.raises(ZeroDivisionError):
        run([write_spec(tmp_path, "a")], FakeBackend({"a": ZeroDivisionError()}))
    assert run.left() == []


def test_what_a_killed_build_left_is_swept(run, tmp_path):
    (run.results / "fixture-1/.a-1-1.fx1.building").mkdir(parents=True)
    run([write_spec(tmp_path, "b")])
    assert run.left() == ["b-1-1.fx1"]


def test_two_builds_do_not_share_results(run, tmp_path):
    with (
        held(run.results, ["fixture-1"]),
        pytest.raises(BadInput, match="is in use by another build"),
    ):
        run([write_spec(tmp_path, "a")])


def test_two_targets_are_built_beside_each_other(run, chain):
    other = replace(TARGET, name="fixture-2", dist=".fx2")
    run(chain, targets=(TARGET, other))
    assert len(run.left()) == 6


def test_carried_and_fetched_sources_lie_in_one_folder(run, tmp_path):
    more = "Source0: a.conf\nSource1: https://example.org/big.tgz\nPatch0: fix.patch"
    path = write_spec(tmp_path, "tool", more=more)
    for name in ("a.conf", "fix.patch"):
        (path.parent / name).write_text(name)
    (tmp_path / "big").write_bytes(b"big")
    digest = hashlib.sha256(b"big").hexdigest()
    (path.parent / "sources").write_text(f"{digest} big.tgz file://{tmp_path}/big\n")
    backend = FakeBackend()
    ended = run([path], backend)
    assert backend.built[0] == ("tool", (), ("a.conf", "big.tgz", "fix.patch"))
    record = json.loads((ended["tool"].folder / "build.json").read_text())
    assert [s["name"] for s in record["sources"]] == ["a.conf", "fix.patch", "big.tgz"]
    assert not (ended["tool"].folder / "SOURCES").exists()
    (path.parent / "a.conf").write_text("changed")
    assert run([path])["tool"].stage is Stage.BUILT


def test_a_source_that_cannot_be_had_is_told_before_anything_is_built(run, chain, tmp_path):
    path = write_spec(tmp_path, "big", more="Source0: big.tgz")
    (path.parent / "sources").write_text(f"{'0' * 64} big.tgz file://{tmp_path}/none\n")
    backend = FakeBackend()
    with pytest.raises(SourceUnavailable, match=r"big\.tgz: file:///.*No such file"):
        run([*chain, path], backend)
    assert not backend.built


def test_the_mistakes_of_all_specs_are_told_together(tmp_path):
    paths = [
        write_spec(tmp_path, "a", more="Colour: red"),
        write_spec(tmp_path, "b", more="%if 1"),
        write_spec(tmp_path, "c"),
    ]
    with pytest.raises(BadInput) as caught:
        plan(paths, [TARGET], "fake", PROGRAMS)
    assert [line.split("/")[-1] for line in str(caught.value).splitlines()] == [
        "a.spec:7: Unknown tag: Colour: red",
        "b.spec:7: Unclosed %if",
    ]


def test_a_source_must_lie_beside_the_spec_or_be_listed(tmp_path):
    path = write_spec(tmp_path, "a", more="Source0: a.tgz\nSource1: b.tgz")
    with pytest.raises(BadInput) as caught:
        plan([path], [TARGET], "fake", PROGRAMS)
    assert str(caught.value).splitlines() == [
        f"{path}: a.tgz is not beside it, nor in its list 'sources'",
        f"{path}: b.tgz is not beside it, nor in its list 'sources'",
    ]


def test_two_specs_of_one_name_are_refused(tmp_path):
    (tmp_path / "more").mkdir()
    paths = [write_spec(tmp_path, "a"), write_spec(tmp_path / "more", "a")]
    with pytest.raises(BadInput, match=r"are both named a$"):
        plan(paths, [TARGET], "fake", PROGRAMS)


def test_a_full_disk_is_one_sentence_with_its_folder(run, tmp_path):
    error = OSError(errno.ENOSPC, "No space left on device", "somewhere")
    ended = run([write_spec(tmp_path, "a")], FakeBackend({"a": error}))
    assert isinstance(ended["a"].error, DiskFull)
    assert str(ended["a"].error) == (
        f"a-1-1.fx1 was not built: no space left in {run.results}/fixture-1"
    )


def test_what_failed_on_a_full_disk_is_told_beside_it(run, tmp_path, monkeypatch):
    monkeypatch.setattr("rpmspecs.build.is_full", lambda folder: True)
    failure = BuildFailed("a-1-1.fx1", tmp_path, ["error: this"])
    error = run([write_spec(tmp_path, "a")], FakeBackend({"a": failure}))["a"].error
    assert str(error) == f"a-1-1.fx1 was not built: no space left in {run.results}/fixture-1"
    log = run.results / "fixture-1/a-1-1.fx1.failed/build.log"
    assert error.__notes__ == [f"it met  a was not built, see {log}"]


def test_another_full_disk_is_named_too(run, tmp_path):
    elsewhere = OSError(errno.EDQUOT, "Disk quota exceeded", "/cache/x")
    paths = [write_spec(tmp_path, name) for name in ("a", "b")]
    ended = run(paths, FakeBackend({"a": elsewhere}), jobs=1)
    assert isinstance(ended["a"].error, DiskFull)
    assert ended["a"].error.__notes__ == ["it met  [Errno 122] Disk quota exceeded: '/cache/x'"]
    assert ended["b"].reason == "the disk is full"


def test_logs_that_cannot_be_kept_do_not_hide_the_failure(run, tmp_path, monkeypatch, caplog):
    def no_room(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    failure = BuildFailed("a", tmp_path, ["error: this"])
    with monkeypatch.context() as patched:
        patched.setattr("rpmspecs.results._move", no_room)
        ended = run([write_spec(tmp_path, "a")], FakeBackend({"a": failure}))
    assert ended["a"].error.lines == ("error: this",)
    assert "logs of a failed build are lost" in caplog.text
    assert run.left() == []
