"""Make what RPM images are built from in tests: mirrors and a base image, all fixtures.

    python -m tests.fixture_images --base BASE OUTPUT

takes the repository `fixture` of `tests.fixture_distribution` from BASE. It writes OUTPUT/mirror
with `rocky/9` and `centos/7.9.2009` as their mirrors lay them out, and
OUTPUT/fixture-centos-7.qcow2. Needs root. The packages are cut from Debian like those of
`tests.fixture_distribution`, whose word about what that proves holds here too, and signed by a
key that is thrown away.

What is real: dnf, rpm and their checks of signatures, the kernel with its modules, systemd, udev,
dracut, GRUB's tools, OpenSSH, NetworkManager and cloud-init, each Debian's own build. What the
fixture does instead of Rocky and CentOS:

- The kernel is Debian's, with the few modules of `names.MODULES`; `kernel-core` makes its own
  initramfs as EL's does, without `kernel-install` and without entries below /boot/loader.
- `grub2-install` and `grub2-mkconfig` are Debian's under EL's names and write to /boot/grub2; they
  know no BLS. GRUB for UEFI is made by grub-mkimage, unsigned.
- dracut names the initramfs as EL does; its modules are Debian's.
- CentOS 7 has systemd 252 where no one finds its version, so that it passes for one before 231;
  `yum` is dnf with yum's configuration and yum's way with packages that do not exist; `python2`
  is Python 3.
- `filesystem` has no /proc and no /sys, which EL's has as ghosts.
- SELinux, `grubby` and all of `names.STAND_INS` are names with nothing behind them.
- cloud-init's configuration and the units of sshd are written here as EL has them.
"""

import argparse
from pathlib import Path

from tests.fixture_images.base_image import make_base_image
from tests.fixture_images.make import make_mirror


def main() -> None:
    words = argparse.ArgumentParser(
        prog="python -m tests.fixture_images", description=(__doc__ or "").splitlines()[0]
    )
    words.add_argument("output", type=Path, help="a folder; its `mirror` must not exist")
    words.add_argument("--base", type=Path, required=True, help="the repository `fixture`")
    given = words.parse_args()
    if (given.output / "mirror").exists():
        words.error(f"{given.output / 'mirror'} exists, expected a place for a new one")
    if not (given.base / "repodata").is_dir():
        words.error(f"{given.base} is no repository, expected `fixture` of fixture_distribution")
    given.output.mkdir(parents=True, exist_ok=True)
    make_mirror(given.output / "mirror", given.base)
    make_base_image(given.output / "fixture-centos-7.qcow2", given.output / "mirror")


main()
