"""What an image that others made has on its root becomes the first root of ours."""

import os
import subprocess
from pathlib import Path

import pytest

from imagebuild.plan import ELEMENTS, PROGRAMS
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


def test_an_image_without_partitions_is_told_and_nothing_stays(tmp_path, places):
    empty = tmp_path / "empty.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(empty), "8M"], check=True)
    done = private([str(HOOK)], tmp_path, DIB_LOCAL_IMAGE=str(empty), **places)
    assert done.returncode == 1
    assert f"ERROR: there are no partitions in {empty}" in done.stderr
    assert list((tmp_path / "work").iterdir()) == []
