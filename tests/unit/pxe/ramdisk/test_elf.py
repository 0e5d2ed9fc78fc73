"""What a program needs to run, read from real ones."""

import re
import subprocess
from pathlib import Path

import pytest

from pxe.errors import MissingProgram
from pxe.ramdisk import elf
from tests.tools import require_tool


def test_a_shared_program_runs_with_nothing_but_what_was_found(tmp_path: Path) -> None:
    tool = require_tool("zstd", package="zstd")
    files = elf.with_libraries(tool)
    for name, data in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(0o755)
    (loader,) = [tmp_path / name for name in files if "ld-linux" in name]
    folders = ":".join({str((tmp_path / name).parent) for name in files})
    argv = [str(loader), "--library-path", folders, str(tmp_path / str(tool)[1:]), "--version"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert "zstandard" in done.stdout.lower() + done.stderr.lower()


def test_a_missing_library_is_named(tmp_path: Path) -> None:
    tool = require_tool("zstd", package="zstd")
    content = tool.read_bytes()
    (tmp_path / "zstd").write_bytes(content)
    loader = tmp_path / str(elf.interpreter(content)).lstrip("/")
    loader.parent.mkdir(parents=True)
    loader.write_bytes(b"")
    with pytest.raises(MissingProgram, match=re.escape(elf.needed(content)[0])):
        elf.with_libraries(tmp_path / "zstd", tmp_path)


def test_a_static_program_needs_nothing() -> None:
    content = require_tool("busybox", package="busybox-static").read_bytes()
    assert elf.is_static(content)
    assert elf.needed(content) == ()
