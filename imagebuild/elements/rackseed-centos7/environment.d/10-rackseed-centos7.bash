export DISTRO_NAME=centos
export DIB_RELEASE=7
export DIB_INIT_SYSTEM=systemd
export YUM=yum
export DIB_PYTHON_VERSION=2
# Both are done before the disk is made, so that what was kept needs no network.
export DIB_DISABLE_KERNEL_CLEANUP=1
export DIB_SKIP_GRUB_PACKAGE_INSTALL=True
# EPEL left the mirrors with the system; only images that have its packages ask for it.
export DIB_EPEL_MIRROR=${DIB_EPEL_MIRROR:-https://archives.fedoraproject.org/pub/archive/epel}
