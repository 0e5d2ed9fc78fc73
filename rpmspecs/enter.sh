#!/bin/sh
# Run a command in a mount namespace that is already ours: FOLDER/root is put together first.
#   enter.sh FOLDER LAYERS OPTIONS CACHE COMMAND...
# LAYERS: lower folders of an overlay, names in FOLDER joined by `:`; empty: FOLDER/root as it is.
# CACHE: of dnf; named, the root also gets the devices and kernel file systems that scriptlets
# want. Every mount ends with the namespace.
set -eu
cd "$1"
layers=$2 options=$3 cache=$4
shift 4

if [ -n "$layers" ]; then
    mount -t overlay overlay -o "lowerdir=$layers,upperdir=layer/upper,workdir=layer/work$options" root
fi

if [ -n "$cache" ]; then
    mkdir -p root/dev root/proc root/sys root/var/cache/dnf
    mount -t tmpfs -o mode=755,size=1m devices root/dev
    for device in null zero full random urandom tty; do
        : > "root/dev/$device"
        mount --bind "/dev/$device" "root/dev/$device"
    done
    ln -s /proc/self/fd root/dev/fd
    ln -s fd/0 root/dev/stdin
    ln -s fd/1 root/dev/stdout
    ln -s fd/2 root/dev/stderr
    mkdir root/dev/shm root/dev/pts
    mount --rbind /proc root/proc
    mount --rbind /sys root/sys
    mount --bind "$cache" root/var/cache/dnf
fi

exec "$@"
