#!/bin/sh
# enter.sh LAYERS UPPER WORK NAME [--bind FOLDER TARGET]... [--volatile] COMMAND...
#
# Runs COMMAND as the first process of a machine: the layers (colons between them, the topmost
# first) with UPPER above them are its root. Called inside new namespaces for mounts, processes,
# names and control groups, so that nothing of what is done here is seen outside or outlives it.
# The machine's devices are its own, and of the kernel's settings it can change its network's alone.
set -eu
root=$2.mounted
mkdir -p "$2" "$3" "$root"
hostname "$4"
mount -t overlay overlay "$root" -o "lowerdir=$1,upperdir=$2,workdir=$3"
shift 4
cd "$root"
while :; do
    case $1 in
        --bind)
            mkdir -p "./$3"
            mount --bind -o ro "$2" "./$3"
            shift 3
            ;;
        --volatile)
            mount -t tmpfs -o mode=755 tmpfs run
            mount -t tmpfs -o mode=1777 tmpfs tmp
            shift
            ;;
        *) break ;;
    esac
done
mount -t proc proc proc
for kept in sys sysrq-trigger; do
    [ -e "proc/$kept" ] || continue # not every kernel has the second
    mount --bind "proc/$kept" "proc/$kept"
    mount -o remount,bind,ro "proc/$kept"
done
mount -t proc proc mnt
mount --bind mnt/sys/net proc/sys/net
umount -l mnt
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs dev
for device in 'null 1 3' 'zero 1 5' 'full 1 7' 'random 1 8' 'urandom 1 9' 'tty 5 0'; do
    # shellcheck disable=SC2086 # name and numbers
    mknod -m 666 dev/${device%% *} c ${device#* }
done
mkdir dev/net dev/pts dev/shm
mknod -m 600 dev/net/tun c 10 200 # ports of the machine's own network
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
for stream in 0:stdin 1:stdout 2:stderr; do
    ln -s "fd/${stream%:*}" "dev/${stream#*:}"
done
mkdir -p .outside
pivot_root . .outside
umount -l /.outside
rmdir /.outside
# Nothing that reaches beyond the namespaces: clock, modules, ports, the kernel's log.
exec setpriv --bounding-set -sys_time,-sys_module,-sys_rawio,-syslog,-mac_admin,-mac_override \
    env -i container=rackseed PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin LC_ALL=C.UTF-8 "$@"
