#!/bin/sh
# The first and only program of the ramdisk: find the network, do the one action that the kernel
# command line names, tell the server, and end as told. It never gives a shell to anyone.
set -f
export PATH=/bin:/sbin

/bin/busybox mkdir -p /bin /sbin /run
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /run
mount -t securityfs securityfs /sys/kernel/security 2>/dev/null
echo 3 >/proc/sys/kernel/printk

# shellcheck source=common.sh
. /lib/rackseed/common.sh
# shellcheck source=hardware.sh
. /lib/rackseed/hardware.sh
# shellcheck source=image.sh
. /lib/rackseed/image.sh

ACTION=$(word rackseed.action)
REPORT=$(word rackseed.report)
# image.sh fetches it.
# shellcheck disable=SC2034
ANSWER=$(word rackseed.answer)
MAC=$(word rackseed.mac | tr 'A-Z-' 'a-z:')
if [ -z "$MAC" ]; then
    # pxelinux and GRUB name the boot interface this way: the hardware type, then the address.
    MAC=$(word BOOTIF | tr 'A-Z-' 'a-z:')
    MAC=${MAC#01:}
fi

# Print the name of the interface with our MAC address; virtual functions come second.
our_interface() {
    set +f
    for net in /sys/class/net/*; do
        if [ -e "$net/device" ] && [ "$(cat "$net/address")" = "$MAC" ]; then
            echo "${net##*/}"
            break
        fi
    done
    set -f
}

find_interface() {
    seconds=0
    until INTERFACE=$(our_interface) && [ -n "$INTERFACE" ]; do
        coldplug
        [ "$((seconds % 10))" = 5 ] && say "waiting for the interface mac=$MAC"
        [ "$seconds" -ge "$(word rackseed.patience 60)" ] && stop "no interface has the MAC address $MAC (no driver for it?)"
        seconds=$((seconds + 1))
        sleep 1
    done
    say "interface name=$INTERFACE mac=$MAC"
}

find_address() {
    ip link set lo up
    ip link set "$INTERFACE" up
    # Stays in the background to renew the lease; asks for ever, because the server may be down.
    udhcpc -f -i "$INTERFACE" -V rackseed-ramdisk -t 4 -T 2 -A 3 -s /lib/rackseed/lease.sh \
        >/run/udhcpc.log 2>&1 &
    seconds=0
    until [ -s /run/address ]; do
        seconds=$((seconds + 1))
        [ "$((seconds % 15))" = 0 ] && say "waiting for an address seconds=$seconds"
        sleep 1
    done
    say "network address=$(cat /run/address) mac=$MAC interface=$INTERFACE"
}

deliver_inspection() {
    raise_links
    settle
    inspection >/run/inspection.json
    say "inspected bytes=$(wc -c </run/inspection.json) firmware=$(firmware | tr -d '"') secure_boot=$(secure_boot)"
    report inspection "" "$(cat /run/inspection.json)" || return 1
    say "inspection delivered"
}

inspect() {
    deliver_inspection || stop "the server refused the inspection: $(cat /run/refusal)"
    finish "$(word rackseed.after poweroff)"
}

write_image() {
    deliver_inspection || say "the server refused the inspection: $(cat /run/refusal)"
    if image; then
        finish "$(word rackseed.after reboot)"
    fi
    say "FAILED: $FAILURE"
    report failed "$FAILURE" "{}" || say "the server refused the report: $(cat /run/refusal)"
    stop "$FAILURE"
}

say "ramdisk kernel=$(uname -r) action=$ACTION"
[ -n "$MAC" ] || stop "the kernel command line has neither rackseed.mac nor BOOTIF"
[ -n "$REPORT" ] || stop "the kernel command line has no rackseed.report"
case "$ACTION" in
inspect | image) ;;
*) stop "rackseed.action is '$ACTION', expected inspect or image" ;;
esac
# A SCSI controller's driver is loaded when its disks are there, not while it still looks for them.
modprobe -q scsi_mod scan=sync 2>/dev/null
echo sync 2>/dev/null >/sys/module/scsi_mod/parameters/scan
coldplug
find_interface
find_address
case "$ACTION" in
inspect) inspect ;;
image) write_image ;;
esac
stop "nothing more to do"
