#!/bin/sh
# Run a build in mount and process namespaces that are already its own.
#   enter.sh WORK MEGABYTES DEVICES JOB
# MEGABYTES: of a tmpfs mounted on the folder that WORK lies in; 0: WORK is there, on disk.
# DEVICES: `private` for device nodes of our own, so that nothing in the build can touch the
# machine's. JOB: the shell script to run, with an empty environment. Every mount and process ends
# with the namespaces.
set -eu
work=$1 megabytes=$2 devices=$3 job=$4

if [ "$megabytes" -gt 0 ]; then
    mount -t tmpfs -o "mode=755,size=${megabytes}m" rackseed "${work%/*}"
fi
mkdir -p "$work/home"

if [ "$devices" = private ]; then
    mount -t tmpfs -o mode=755,size=4m devices /dev
    mknod -m 666 /dev/null c 1 3
    mknod -m 666 /dev/zero c 1 5
    mknod -m 666 /dev/full c 1 7
    mknod -m 666 /dev/random c 1 8
    mknod -m 666 /dev/urandom c 1 9
    mknod -m 666 /dev/tty c 5 0
    mknod -m 600 /dev/loop-control c 10 237
    for number in $(seq 0 63); do
        mknod -m 600 "/dev/loop$number" b 7 "$number"
    done
    mkdir /dev/pts /dev/shm
    mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts /dev/pts
    mount -t tmpfs -o mode=1777 shm /dev/shm
    ln -s pts/ptmx /dev/ptmx
    ln -s /proc/self/fd /dev/fd
    ln -s fd/0 /dev/stdin
    ln -s fd/1 /dev/stdout
    ln -s fd/2 /dev/stderr
fi

cd "$work"
exec env -i /bin/sh -eu "$job"
