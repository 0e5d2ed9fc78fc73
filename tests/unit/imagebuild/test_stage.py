"""An image as machines write it: the same bytes, packed, and described beside."""

import hashlib
import json
import random
import subprocess
from pathlib import Path

import pytest

from imagebuild.errors import BadInput
from imagebuild.stage import SECTOR, Staged, read_beside, stage
from tests.tools import require_tool

MIB = 1 << 20


@pytest.fixture
def raw(tmp_path: Path) -> bytes:
    """A disk with noise, holes and an end that is no whole MiB."""
    data = random.Random(5).randbytes(3 * MIB) + bytes(20 * MIB) + b"x" * SECTOR
    (tmp_path / "disk.raw").write_bytes(data)
    return data


def qcow2(folder: Path, *options: str) -> Path:
    tool = require_tool("qemu-img", package="qemu-utils")
    path = folder / "debian-12.qcow2"
    argv = [tool, "convert", "-O", "qcow2", *options, folder / "disk.raw", path]
    subprocess.run(argv, check=True)
    return path


def unpacked(path: Path) -> bytes:
    return subprocess.run(
        [require_tool("zstd"), "-dcq", path], capture_output=True, check=True
    ).stdout


@pytest.mark.parametrize("options", [(), ("-c",), ("-c", "-o", "compression_type=zstd")])
def test_a_qcow2_is_staged_as_the_disk_in_it(
    tmp_path: Path, raw: bytes, options: tuple[str, ...]
) -> None:
    image = qcow2(tmp_path, *options)
    done: list[tuple[int, int]] = []
    (tmp_path / "artifacts").mkdir()
    made = stage(image, tmp_path / "artifacts", tell=lambda *far: done.append(far))
    assert made.name == "debian-12.raw.zst"
    assert unpacked(made) == raw
    known = read_beside(made)
    assert known == Staged(
        source="debian-12.qcow2",
        source_sha256=hashlib.sha256(image.read_bytes()).hexdigest(),
        raw_size=len(raw),
        size=made.stat().st_size,
        sha256=hashlib.sha256(made.read_bytes()).hexdigest(),
        seed="nocloud",
    )
    assert done[-1] == (len(raw), len(raw))
    names = {path.name for path in (tmp_path / "artifacts").iterdir()}
    assert names == {made.name, f"{made.name}.json"}


def test_what_is_there_already_is_left_as_it_is(tmp_path: Path, raw: bytes) -> None:
    image = tmp_path / "disk.raw"
    made = stage(image, tmp_path)
    before = made.stat()
    assert stage(image, tmp_path, seed=False) == made
    after = made.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    known = read_beside(made)
    assert known is not None
    assert known.seed is None


@pytest.mark.parametrize("spoil", ["file", "short", "beside", "source"])
def test_what_is_not_whole_or_not_of_this_image_is_made_anew(
    tmp_path: Path, raw: bytes, spoil: str
) -> None:
    image = tmp_path / "disk.raw"
    made = stage(image, tmp_path)
    match spoil:
        case "file":
            made.write_bytes(bytes(made.stat().st_size))
        case "short":
            made.write_bytes(made.read_bytes()[:-1])
        case "beside":
            made.with_name(f"{made.name}.json").write_text("{")
        case "source":
            image.write_bytes(raw + bytes(SECTOR))
    stage(image, tmp_path)
    assert unpacked(made) == image.read_bytes()
    document = json.loads(made.with_name(f"{made.name}.json").read_text())
    assert document["sha256"] == hashlib.sha256(made.read_bytes()).hexdigest()


def test_an_interrupted_run_leaves_nothing(tmp_path: Path, raw: bytes) -> None:
    def interrupt(done: int, whole: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stage(tmp_path / "disk.raw", tmp_path, tell=interrupt)
    assert [path.name for path in tmp_path.iterdir()] == ["disk.raw"]


@pytest.mark.parametrize(
    ("name", "told"), [("none", "cannot be read"), ("odd", "no disk"), (".", "cannot be read")]
)
def test_what_is_no_image_is_one_sentence(tmp_path: Path, name: str, told: str) -> None:
    (tmp_path / "odd").write_bytes(b"x" * 700)
    with pytest.raises(BadInput, match=told):
        stage(tmp_path / name, tmp_path)


def test_a_folder_that_is_missing_is_named(tmp_path: Path, raw: bytes) -> None:
    with pytest.raises(BadInput, match="none: not a folder"):
        stage(tmp_path / "disk.raw", tmp_path / "none")
