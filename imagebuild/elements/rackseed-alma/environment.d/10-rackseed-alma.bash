export DISTRO_NAME=almalinux
export DIB_INIT_SYSTEM=systemd
export EFI_BOOT_DIR="EFI/almalinux"
export YUM=dnf
export DIB_YUM_MINIMAL_CREATE_INTERFACES=0
export DIB_YUM_MINIMAL_BOOTSTRAP_PACKAGES="almalinux-release almalinux-repos almalinux-gpg-keys glibc-minimal-langpack"
export RACKSEED_EL_KEY=RPM-GPG-KEY-AlmaLinux
