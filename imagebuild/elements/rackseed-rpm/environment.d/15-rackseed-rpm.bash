# There is one kernel, and GRUB is installed before the disk is made: what was kept needs no network.
export DIB_DISABLE_KERNEL_CLEANUP=1
export DIB_SKIP_GRUB_PACKAGE_INSTALL=True
