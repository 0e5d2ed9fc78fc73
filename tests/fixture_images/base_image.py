"""A GenericCloud image of the fixture that stands for CentOS 7: used before, as such images are."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from unittest.mock import patch

from tests.fixture_distribution.names import words
from tests.fixture_distribution.root import Root
from tests.fixture_images.make import CENTOS

CONTENT = words(
    "NetworkManager bash centos-release cloud-init coreutils curl dhcp-client dracut e2fsprogs"
    " findutils grub2-pc hostname initscripts kernel openssh-clients openssh-server passwd"
    " procps-ng python sudo systemd systemd-udev util-linux yum"
)

LEFT: dict[str, str] = {
    "etc/machine-id": "0123456789abcdef0123456789abcdef\n",
    "etc/ssh/ssh_host_rsa_key": "fixture: not a key\n",
    "etc/hostname": "fixture.example.org\n",
    "root/.bash_history": "fixture\n",
    "var/lib/cloud/data/instance-id": "i-fixture\n",
    "var/log/yum.log": "fixture\n",
    "etc/dracut.conf.d/fixture.conf": 'add_dracutmodules+=" drm "\n',  # nouveau among others
    "etc/fstab": "LABEL=fixture / xfs defaults 0 0\n",
    "etc/default/grub": 'GRUB_CMDLINE_LINUX="console=ttyS0,115200n8 crashkernel=auto"\n',
}
"""What such an image carries of the machine that made it, or says of its own disk."""

SHARED = "libsystemd-shared-252.so"

DISK = """\
set -eu
root=$1 work=$2
truncate --size 2G "$work/partition"
mkfs.xfs -q "$work/partition"
mkdir "$work/mounted"
mount -o loop "$work/partition" "$work/mounted"
cp -a "$root/." "$work/mounted"
umount "$work/mounted"
truncate --size 2050M "$work/raw"
printf 'label: dos\\nstart=1MiB, size=2GiB, type=83, bootable\\n' | sfdisk --quiet "$work/raw"
dd if="$work/partition" of="$work/raw" bs=1M seek=1 conv=notrunc,sparse status=none
qemu-img convert -O qcow2 "$work/raw" "$work/image.qcow2"
"""


def make_base_image(output: Path, mirror: Path) -> None:
    """Write the image to `output`, installed from the packages below `mirror`; needs root."""
    with tempfile.TemporaryDirectory(prefix="fixture-image-") as name:
        work = Path(name)
        repositories = {f"fixture-{n}": mirror / place for n, place in enumerate(CENTOS)}
        root = Root(work, repositories)
        for name in ("proc", "sys"):
            (root.path / name).mkdir()
        with patch.dict(os.environ, FIXTURE_NO_INITRAMFS="1"):  # each build makes its own
            root.install(*CONTENT)
        pass_for_219(root.path)
        for inside, text in LEFT.items():
            (root.path / inside).parent.mkdir(parents=True, exist_ok=True)
            (root.path / inside).write_text(text, encoding="utf-8")
        argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", DISK, "disk"]
        subprocess.run([*argv, str(root.path), str(work)], check=True)
        partial = output.with_name(f".{output.name}.partial")
        shutil.move(work / "image.qcow2", partial)
        partial.rename(output)


def pass_for_219(root: Path) -> None:
    """Move systemd's library, whose name has the version, to where only the loader looks."""
    (library,) = root.glob(f"usr/lib/*/systemd/{SHARED}")
    library.rename(library.parent.parent / SHARED)
