"""Small disk images made without root: a tree of files, a file system, a partition table."""

import shutil
import subprocess
from pathlib import Path

from tests.tools import require_tool

MIB = 1 << 20
LINUX = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
ESP = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
TABLES = {
    "gpt": f"label: gpt\nstart=1MiB, size=4MiB, type={ESP}, name=esp\n"
    f"start=5MiB, size=24MiB, type={LINUX}, name=root\n",
    "mbr": "label: dos\nlabel-id: 0x1234abcd\nstart=1MiB, size=4MiB, type=ef\n"
    "start=5MiB, size=24MiB, type=83\n",
    "logical": "label: dos\nstart=1MiB, size=2MiB, type=83\nstart=3MiB, size=28MiB, type=5\n"
    "start=5MiB, size=24MiB, type=83\n",
}
ROOT_AT = 5 * MIB
ROOT_SIZE = 24 * MIB
UUID = "0c9a1f5e-6a53-4d0e-9f7b-2f8f5e1c7d11"


def run(*argv: str | Path, text: str | None = None) -> str:
    """The program's output; raises when it fails."""
    done = subprocess.run(
        argv, input=text, capture_output=True, text=True, check=False, timeout=110
    )
    assert not done.returncode, f"{argv}: {done.stderr}"
    return done.stdout


def ext4(path: Path, tree: Path, size: int = ROOT_SIZE, *options: str) -> Path:
    """A file that is an ext4 file system with these files."""
    tool = require_tool("mke2fs", "e2fsprogs")
    path.unlink(missing_ok=True)
    blocks = f"{size // 1024}k"
    run(tool, "-q", "-t", "ext4", "-U", UUID, *options, "-d", tree, path, blocks)
    return path


def disk(path: Path, root: Path, table: str = "gpt") -> Path:
    """A raw disk with `root`'s bytes in its last partition."""
    with path.open("wb") as file:
        file.truncate(32 * MIB)
    run(require_tool("sfdisk", "fdisk"), "-q", path, text=TABLES[table])
    with path.open("r+b") as file, root.open("rb") as source:
        file.seek(ROOT_AT)
        shutil.copyfileobj(source, file)
    return path


def qcow2(path: Path, raw: Path, *options: str) -> Path:
    """The same disk as qcow2."""
    tool = require_tool("qemu-img", "qemu-utils")
    run(tool, "convert", "-f", "raw", "-O", "qcow2", *options, raw, path)
    return path
