# DIB_APT_KEYRING would do, but asks for apt-key, which newer releases have no more.
export DIB_DEBOOTSTRAP_EXTRA_ARGS="--keyring=$TMP_DIR/ubuntu-archive-keyring.gpg"
export DIB_MMDEBSTRAP_EXTRA_ARGS=$DIB_DEBOOTSTRAP_EXTRA_ARGS
if [ ! -e "/usr/share/debootstrap/scripts/$DIB_RELEASE" ] && ! command -v mmdebstrap > /dev/null; then
    export DIB_DEBIAN_DEBOOTSTRAP_SCRIPT=gutsy
fi
