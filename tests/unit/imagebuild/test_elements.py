"""Our elements can be read alone, and their scripts stop at the first mistake."""

import subprocess

import pytest

from imagebuild.plan import ELEMENTS, PACKAGE
from tests.tools import require_tool

FOLDERS = sorted(path for path in ELEMENTS.iterdir() if path.is_dir())
SCRIPTS = sorted(
    path
    for path in (*ELEMENTS.rglob("*"), *PACKAGE.glob("*.sh"), *PACKAGE.glob("programs/*"))
    if path.is_file() and path.read_bytes().startswith(b"#!/bin/")
)


def test_there_are_elements_and_scripts():
    assert len(FOLDERS) > 8
    assert len(SCRIPTS) > 15


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_an_element_says_what_it_is_for(folder):
    title = (folder / "README.rst").read_text(encoding="utf-8").splitlines()[:3]
    assert title == ["=" * len(folder.name), folder.name, "=" * len(folder.name)]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_hook_runs_and_stops_at_mistakes(script):
    text = script.read_text(encoding="utf-8")
    if script.parent.name.endswith(".d"):
        assert "set -eu" in text
        assert script.stat().st_mode & 0o111, "diskimage-builder leaves out what cannot run"
        assert "set -o pipefail" in text


def test_shellcheck_finds_nothing_in_our_scripts():
    tool = require_tool("shellcheck")
    done = subprocess.run(
        [str(tool), *map(str, SCRIPTS)], capture_output=True, text=True, check=False
    )
    assert done.stdout == ""
