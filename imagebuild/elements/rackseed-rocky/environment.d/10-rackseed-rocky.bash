export DISTRO_NAME=rocky
export DIB_INIT_SYSTEM=systemd
export EFI_BOOT_DIR="EFI/rocky"
export YUM=dnf
export DIB_YUM_MINIMAL_CREATE_INTERFACES=0
export DIB_YUM_MINIMAL_BOOTSTRAP_PACKAGES="rocky-release rocky-repos rocky-gpg-keys glibc-minimal-langpack"
export RACKSEED_EL_KEY=RPM-GPG-KEY-Rocky
