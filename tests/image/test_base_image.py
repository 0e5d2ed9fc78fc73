"""What an image that others made has on its root becomes the first root of ours."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagebuild.layers import STOCK_ELEMENTS, digest_file
from imagebuild.plan import ELEMENTS, PROGRAMS
from tests.repository import serving
from tests.tools import require_root, require_tool

HOOK = ELEMENTS / "rackseed-centos7/root.d/10-rackseed-centos7-image"

DISK = """\
set -eu
truncate --size 310M partition
mkfs.xfs -q partition
mkdir mounted
mount -o loop partition mounted
mkdir mounted/etc
echo found > mounted/etc/file
chown 1234:4321 mounted/etc/file
ln -s file mounted/etc/link
umount mounted
truncate --size 330M disk
printf 'label: dos\\nstart=1MiB, size=4MiB, type=83\\nstart=8MiB, size=310MiB, type=83\\n' |
    sfdisk --quiet disk
dd if=partition of=disk bs=1M seek=8 conv=notrunc,sparse status=none
qemu-img convert -O qcow2 disk base.qcow2
"""


def private(argv: list[str], folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a program that mounts where nobody else sees it."""
    return subprocess.run(
        ["unshare", "--mount", "--propagation", "private", *argv],
        cwd=folder,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def places(tmp_path: Path) -> dict[str, str]:
    """The environment of a hook of root.d."""
    require_root()
    for tool, package in {"mkfs.xfs": "xfsprogs", "sfdisk": "fdisk"}.items():
        require_tool(tool, package)
    for name in ("target", "work"):
        (tmp_path / name).mkdir()
    path = f"{PROGRAMS}:{os.environ['PATH']}"
    return {
        "TARGET_ROOT": str(tmp_path / "target"),
        "TMP_DIR": str(tmp_path / "work"),
        "PATH": path,
    }


def test_the_root_is_read_from_the_largest_partition_without_device_mapper(tmp_path, places):
    made = private(["sh", "-c", DISK], tmp_path)
    assert made.returncode == 0, made.stderr
    done = private([str(HOOK)], tmp_path, DIB_LOCAL_IMAGE=str(tmp_path / "base.qcow2"), **places)
    assert done.returncode == 0, done.stderr
    file = tmp_path / "target/etc/file"
    assert file.read_text() == "found\n"
    assert (file.stat().st_uid, file.stat().st_gid) == (1234, 4321)
    assert (tmp_path / "target/etc/link").readlink() == Path("file")
    assert list((tmp_path / "work").iterdir()) == []
    attached = subprocess.check_output(["losetup", "--list", "--output", "BACK-FILE"], text=True)
    assert str(tmp_path) not in attached


@pytest.fixture
def mirror(tmp_path: Path, places: dict[str, str]) -> Iterator[str]:
    """A server of a base image, and diskimage-builder's own program that fetches."""
    top = tmp_path / "mirror"
    top.mkdir()
    made = private(["sh", "-c", DISK], top)
    assert made.returncode == 0, made.stderr
    (tmp_path / "hooks").mkdir()
    (tmp_path / "hooks/bin").symlink_to(STOCK_ELEMENTS / "cache-url/bin")
    with serving(top) as address:
        places |= {
            "DIB_IMAGE_CACHE": str(tmp_path / "downloads"),
            "TMP_HOOKS_PATH": str(tmp_path / "hooks"),
            "RACKSEED_BASE_URL": f"{address}/base.qcow2",
            "RACKSEED_BASE_SHA256": digest_file(top / "base.qcow2"),
        }
        yield address


def test_a_base_image_is_fetched_and_has_the_published_digest(tmp_path, places, mirror):
    for _ in range(2):
        done = private([str(HOOK)], tmp_path, **places)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "target/etc/file").read_text() == "found\n"
    assert "Server copy has not changed" in done.stdout, "it is fetched once"
    assert [path.name for path in (tmp_path / "downloads").iterdir()] == ["base.qcow2"]


@pytest.mark.parametrize("damage", [b"", b"x"], ids=["shorter", "longer"])
def test_a_base_image_that_nobody_published_is_refused_and_not_kept(
    damage, tmp_path, places, mirror
):
    image = tmp_path / "mirror/base.qcow2"
    image.write_bytes((image.read_bytes() + damage) if damage else image.read_bytes()[:-1])
    done = private([str(HOOK)], tmp_path, **places)
    assert done.returncode == 1
    digest = places["RACKSEED_BASE_SHA256"]
    told = f"ERROR: {mirror}/base.qcow2 is not what CentOS published (sha256 {digest})"
    assert told in done.stderr
    for folder in ("target", "work", "downloads"):
        assert list((tmp_path / folder).iterdir()) == []


def test_a_kept_base_image_that_was_damaged_since_is_fetched_anew_next_time(
    tmp_path, places, mirror
):
    assert private([str(HOOK)], tmp_path, **places).returncode == 0
    kept = tmp_path / "downloads/base.qcow2"
    kept.write_bytes(b"damaged")
    assert private([str(HOOK)], tmp_path, **places).returncode == 1
    assert not kept.exists()
    assert private([str(HOOK)], tmp_path, **places).returncode == 0


def test_an_image_without_partitions_is_told_and_nothing_stays(tmp_path, places):
    empty = tmp_path / "empty.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(empty), "8M"], check=True)
    done = private([str(HOOK)], tmp_path, DIB_LOCAL_IMAGE=str(empty), **places)
    assert done.returncode == 1
    assert f"ERROR: there are no partitions in {empty}" in done.stderr
    assert list((tmp_path / "work").iterdir()) == []
