import hashlib
import os
import re
import tempfile
from pathlib import Path

import pytest

from provision.run import run, start
from rpmspecs.errors import BadInput, SourceUnavailable
from rpmspecs.lock import (
    PYTHONS,
    REQUIREMENTS,
    choose,
    lock,
    read_constraints,
    render,
    resolve,
    suitability,
)
from rpmspecs.pypi import SCHEME, Distribution
from rpmspecs.running import Programs
from rpmspecs.sources import read_list
from rpmspecs.spec import FOLDER, SERVICE_MARK

SERVICES = sorted(path.parent for path in FOLDER.glob(f"*/{SERVICE_MARK}"))


UV = """#!/bin/sh
echo "$@" >"${0%/*}/asked"
touch "$TMPDIR/uv-setuptools-0.lock"
for word; do
    case $word in --output-file=*) output=${word#--output-file=} ;; esac
done
printf '[[packages]]\\nname = "lxml"\\n' >"$output"
"""


def package(*names):
    files = [
        {"url": f"https://files.example.org/a/{name}", "hashes": {"sha256": "a" * 64}}
        for name in names
    ]
    found = {"name": "lxml", "version": "5.3.1", "wheels": []}
    for file in files:
        if file["url"].endswith(".whl"):
            found["wheels"].append(file)
        else:
            found["sdist"] = file
    return found


@pytest.mark.parametrize(
    ("files", "chosen"),
    [
        (
            [
                "lxml-5.3.1-cp311-cp311-manylinux_2_28_x86_64.whl",
                "lxml-5.3.1-cp312-cp312-manylinux_2_28_x86_64.whl",
                "lxml-5.3.1.tar.gz",
            ],
            "lxml-5.3.1-cp312-cp312-manylinux_2_28_x86_64.whl",
        ),
        (
            [
                "lxml-5.3.1-cp312-cp312-manylinux_2_28_x86_64.whl",
                "lxml-5.3.1-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
            ],
            "lxml-5.3.1-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
        ),
        (
            ["lxml-5.3.1-cp312-cp312-manylinux_2_39_x86_64.whl", "lxml-5.3.1-py3-none-any.whl"],
            "lxml-5.3.1-py3-none-any.whl",
        ),
        (
            ["lxml-5.3.1-cp36-abi3-manylinux2014_x86_64.whl", "lxml-5.3.1-py3-none-any.whl"],
            "lxml-5.3.1-cp36-abi3-manylinux2014_x86_64.whl",
        ),
        (
            [
                "lxml-5.3.1-cp312-cp312-macosx_10_9_x86_64.whl",
                "lxml-5.3.1-cp312-cp312-manylinux_2_17_aarch64.whl",
                "lxml-5.3.1-cp312-cp312-musllinux_1_2_x86_64.whl",
                "lxml-5.3.1.tar.gz",
            ],
            "lxml-5.3.1.tar.gz",
        ),
    ],
)
def test_the_file_that_suits_best_is_carried(files, chosen):
    for order in (files, files[::-1]):
        assert choose(package(*order), "3.12").filename == chosen


def test_a_project_without_a_file_that_suits_is_named():
    with pytest.raises(
        SourceUnavailable, match=r"lxml 5\.3\.1 has no file that suits Python 3\.12"
    ):
        choose(package("lxml-5.3.1-cp39-cp39-win_amd64.whl"), "3.12")


def test_a_stable_abi_newer_than_the_interpreter_does_not_suit():
    assert suitability("a-1-cp313-abi3-manylinux2014_x86_64.whl", "3.12") is None
    assert suitability("a-1-cp38-abi3-manylinux2014_x86_64.whl", "3.12") == (1, 17)


def constraints_of(folder, text, commit=None):
    path = folder / "upper-constraints.txt"
    path.write_text(text)
    return read_constraints(path, "stable/2025.1", commit)


def test_a_spec_without_requirements_is_told_so(tmp_path):
    with pytest.raises(BadInput, match=REQUIREMENTS):
        lock(tmp_path, constraints_of(tmp_path, "lxml===5.3.1\n"), None)


def test_nothing_of_the_resolver_is_left(tmp_path, monkeypatch):
    uv, scratch = tmp_path / "bin/uv", tmp_path / "scratch"
    uv.parent.mkdir()
    scratch.mkdir()
    uv.write_text(UV)
    uv.chmod(0o755)
    monkeypatch.setenv("PATH", f"{uv.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    monkeypatch.setenv("TMPDIR", str(scratch))
    (tmp_path / REQUIREMENTS).write_text("lxml\n")
    constraints = tmp_path / "upper-constraints.txt"
    found = resolve(tmp_path / REQUIREMENTS, constraints, "3.9", Programs(run, start))
    assert [package["name"] for package in found] == ["lxml"]
    asked = (uv.parent / "asked").read_text().split()
    assert {f"--constraints={constraints}", "--python-version=3.9"} <= set(asked)
    assert list(scratch.iterdir()) == []


def test_what_is_written_is_read_back(tmp_path):
    one = choose(package("lxml-5.3.1-cp312-cp312-manylinux_2_28_x86_64.whl"), "3.12")
    constraints = constraints_of(tmp_path, "lxml===5.3.1\n", "a1b2")
    (tmp_path / "sources").write_text(render([one], constraints))
    (source,) = read_list(tmp_path / "sources")
    assert (source.digest, source.name, source.url) == (
        one.digest,
        one.filename,
        "pypi:lxml==5.3.1",
    )


def test_a_lock_says_which_constraints_held_and_what_they_left_open(tmp_path):
    locked = [
        Distribution("a" * 64, "oslo.db-17.2.1-py3-none-any.whl", "oslo-db==17.2.1"),
        Distribution("b" * 64, "certifi-2026.10.18-py3-none-any.whl", "certifi==2026.10.18"),
    ]
    constraints = constraints_of(
        tmp_path, "oslo.db===17.2.1\ncertifi===1;python_version=='3.9'\n", "a1b2"
    )
    lines = render(locked, constraints).splitlines()
    head = " ".join(line.removeprefix("# ") for line in lines[:-2])
    digest = hashlib.sha256(constraints.path.read_bytes()).hexdigest()
    assert f"upper-constraints.txt of commit a1b2, SHA-256 {digest}. Not constr" in head
    assert head.endswith("Not constrained there: certifi.")
    assert all(line.startswith("# ") and len(line) <= 100 for line in lines[:-2])


def test_a_file_that_constrains_nothing_is_refused(tmp_path):
    with pytest.raises(BadInput, match=r"upper-constraints\.txt: found no line NAME===VERSION"):
        constraints_of(tmp_path, "lxml>=5\n")


def test_there_are_service_packages():
    assert len(SERVICES) >= 5


@pytest.mark.parametrize("folder", SERVICES, ids=lambda folder: folder.name)
def test_a_service_carries_one_file_of_each_project_for_each_python(folder):
    sources = [s for s in read_list(folder / "sources") if s.url.startswith(SCHEME)]
    versions = {}
    for source in sources:
        name, _, version = source.url.removeprefix(SCHEME).partition("==")
        assert versions.setdefault(name, version) == version, f"{name} in two versions"
    for python in PYTHONS:
        suited = [s for s in sources if suitability(s.name, python) is not None]
        assert {s.url for s in suited} == {s.url for s in sources}
        wheels = [s for s in suited if s.name.endswith(".whl")]
        assert len(wheels) == len({s.url for s in wheels}), "one wheel of each project"


@pytest.mark.parametrize("folder", SERVICES, ids=lambda folder: folder.name)
def test_what_a_person_asked_for_is_locked(folder):
    pinned = {source.url.removeprefix(SCHEME).lower() for source in read_list(folder / "sources")}
    for line in (folder / REQUIREMENTS).read_text().splitlines():
        wanted = line.partition("#")[0].strip().lower()
        name = re.match(r"[a-z0-9.-]*", wanted)[0]
        if "==" in wanted:
            assert wanted in pinned
        elif wanted:
            assert any(pin.startswith(f"{name}==") for pin in pinned), name


RECORDED = Path(__file__).with_name("constraints-2025.1.txt")
"""What OpenStack's constraints say of the projects that our services carry."""

FREE = {
    "async-timeout": "before Python 3.11.3; the constraints have it for 3.10 and older",
    "certifi": "left out on purpose: the newest list of authorities is the best",
    "installer": "makes the environments, in the build alone",
    "setuptools": "what old projects still import; OpenStack leaves it to the system",
}
"""Why a project is not constrained, beside the service itself."""


def pins(folder):
    found = (source.url.removeprefix(SCHEME) for source in read_list(folder / "sources"))
    return dict(pin.split("==") for pin in found)


@pytest.mark.parametrize("folder", SERVICES, ids=lambda folder: folder.name)
def test_every_project_has_the_version_of_the_releases_constraints(folder):
    lines = RECORDED.read_text().splitlines()
    recorded = dict(line.split() for line in lines if not line.startswith("#"))
    text = (folder / "sources").read_text()
    head = " ".join(line.removeprefix("# ") for line in text.splitlines() if line[0] == "#")
    found = pins(folder)
    assert {name: found[name] for name in recorded.keys() & found} == {
        name: recorded[name] for name in recorded.keys() & found
    }
    free = found.keys() - recorded.keys()
    own = re.findall(r"^([\w-]+)==", (folder / REQUIREMENTS).read_text(), re.MULTILINE)
    assert free - set(own) <= set(FREE)
    assert head.endswith(f"Not constrained there: {', '.join(sorted(free))}.")
    (source,) = (line for line in lines if line.startswith("# SHA-256 "))
    assert source.removeprefix("# ") in head
