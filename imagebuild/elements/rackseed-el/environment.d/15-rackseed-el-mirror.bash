# yum-minimal builds from the repositories in this folder and leaves the public ones in the image.
if [ -n "${DIB_DISTRIBUTION_MIRROR:-}" ]; then
    export DIB_YUM_MINIMAL_BOOTSTRAP_REPOS=${TMP_HOOKS_PATH:-}/rackseed-mirror
fi
