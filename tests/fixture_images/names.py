"""What the images need beyond the base of the fixture distribution, and what their mirrors add."""

from collections.abc import Mapping

from tests.fixture_distribution.names import words

IMAGE = words(
    "cloud-guest-utils cloud-init dbus dnf dnf-plugins-core dracut-core fdisk gdisk grub-common"
    " grub-efi-amd64-bin grub-pc-bin grub2-common network-manager openssh-client openssh-server"
    " python3-yaml rsync shim-signed udev"
)
"""Debian packages that are cut for images, beside the base's."""

KERNEL = "linux-image-amd64"

MODULES = words(
    "ahci ata_piix autofs4 binfmt_misc bochs crc32c_generic crc32c-intel e1000 efivarfs evdev ext4"
    " isofs loop nls_ascii nls_cp437 nls_iso8859-1 nls_utf8 nouveau nvme qxl sd_mod sr_mod vfat"
    " virtio_blk virtio_console virtio_net virtio_pci virtio-rng virtio_scsi xfs"
)
"""The kernel's modules that are shipped, with all that they need."""

STAND_INS = words(
    "audit basesystem efibootmgr gettext grubby linux-firmware linux-firmware-whence lsof man-pages"
    " policycoreutils-python-utils postfix python3-libselinux python3-policycoreutils rng-tools"
    " selinux-policy selinux-policy-targeted tcpdump time traceroute ed util-linux-ng"
)
"""Packages without any file: names that diskimage-builder's elements ask for."""

EL9_STAND_INS = words("glibc-minimal-langpack")
"""Likewise; CentOS 7 has no such package."""
NOT_IN_EL7 = words("policycoreutils-python-utils python3-libselinux python3-policycoreutils")
"""Names that elements ask for and CentOS 7 does not have; its yum passes over them."""

PROVIDES: Mapping[str, tuple[str, ...]] = {
    "centos-release": ("system-release = 7.9", "system-release(releasever) = 7"),
    "grub2-pc": ("grub2",),
    "openssh-clients": ("openssh",),
    "rocky-release": ("system-release = 9.9", "system-release(releasever) = 9"),
}
REQUIRES: Mapping[str, str] = {
    "NetworkManager": "systemd",
    "centos-release": "filesystem setup",
    "cloud-init": "fdisk",
    "dnf-plugins-core": "dnf",
    "dracut": "bash coreutils findutils gawk grep gzip sed systemd systemd-udev util-linux xz",
    "dracut-config-generic": "dracut",
    "grub2-efi-x64": "grub2-tools",
    "grub2-pc": "grub2-tools grub2-pc-modules",
    "initscripts": "filesystem",
    "kernel": "kernel-core kernel-modules",
    "kernel-core": "coreutils dracut kmod",
    "kernel-modules": "kernel-core",
    "rocky-release": "filesystem setup",
    "systemd-udev": "systemd",
    "yum": "dnf",
    "yum-utils": "dnf",
}

POST: Mapping[str, str] = {
    "NetworkManager": "systemctl --no-reload preset NetworkManager.service || :",
    "cloud-init": "systemctl --no-reload preset cloud-config.service cloud-final.service"
    " cloud-init-local.service cloud-init.service || :",
    "openssh-server": "systemctl --no-reload preset sshd.service || :",
}
"""What packages of EL do in `%post`."""

VERSIONS: Mapping[str, tuple[str, str]] = {
    "centos-release": ("7", "9.2009.0.el7.fixture"),
    "rocky-release": ("9.9", "1.el9.fixture"),
}
"""Version and release of our own packages; others are 1."""
