export DISTRO_NAME=centos
export DIB_RELEASE=7
export DIB_INIT_SYSTEM=systemd
export YUM=yum
export DIB_PYTHON_VERSION=2
