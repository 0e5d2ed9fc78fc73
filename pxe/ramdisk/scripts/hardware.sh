#!/bin/sh
# Write what the machine is made of as JSON; README.md describes every key.

PCI_ADDRESS='[0-9a-f]\{4\}:[0-9a-f]\{2\}:[0-9a-f]\{2\}\.[0-7]'
SECURE_BOOT=SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c # UEFI 2.10, 3.3: global variable

inspection() {
    printf '{"version":1'
    printf ',"kernel":%s' "$(quoted "$(uname -r)")"
    printf ',"boot_mac":%s' "$(quoted "$MAC")"
    printf ',"firmware":%s' "$(firmware)"
    printf ',"secure_boot":%s' "$(secure_boot)"
    printf ',"lockdown":%s' "$(lockdown)"
    printf ',"dmi":%s' "$(dmi)"
    printf ',"cpu":%s' "$(cpu)"
    printf ',"memory":%s' "$(memory)"
    printf ',"disks":[%s]' "$(disks)"
    printf ',"nics":[%s]' "$(nics)"
    printf ',"gpus":[%s]' "$(pci_devices '0x03*')"
    printf ',"accelerators":[%s]}\n' "$(pci_devices '0x12*' '0x0b40*')"
}

firmware() {
    if [ -d /sys/firmware/efi ]; then printf '"uefi"'; else printf '"bios"'; fi
}

# true, false, or null where the firmware does not say.
secure_boot() {
    [ -d /sys/firmware/efi ] || { printf false; return; }
    mount -t efivarfs efivarfs /sys/firmware/efi/efivars 2>/dev/null
    # Four bytes of attributes, then the value; such files cannot seek.
    case "$(head -c 5 "/sys/firmware/efi/efivars/$SECURE_BOOT" 2>/dev/null | od -An -tu1)" in
    *1) printf true ;;
    *0) printf false ;;
    *) printf null ;;
    esac
}

# The word in brackets: none, integrity or confidentiality.
lockdown() {
    quoted_or_null "$(sed -n 's/.*\[\(.*\)\].*/\1/p' /sys/kernel/security/lockdown 2>/dev/null)"
}

dmi() {
    id=/sys/class/dmi/id
    printf '{"vendor":%s' "$(quoted_or_null "$(first_line $id/sys_vendor)")"
    printf ',"product":%s' "$(quoted_or_null "$(first_line $id/product_name)")"
    printf ',"serial":%s' "$(quoted_or_null "$(first_line $id/product_serial)")"
    printf ',"uuid":%s}' "$(quoted_or_null "$(first_line $id/product_uuid)")"
}

cpuinfo() {
    sed -n "s/^$1[[:space:]]*: //p" /proc/cpuinfo
}

cpu() {
    flag=$(cpuinfo flags | head -n 1 | tr ' ' '\n' | grep -E '^(vmx|svm)$')
    topology=/sys/devices/system/cpu/cpu
    set +f
    sockets=$(cat "$topology"[0-9]*/topology/physical_package_id 2>/dev/null | sort -u | wc -l)
    cores=$(cat "$topology"[0-9]*/topology/core_cpus_list 2>/dev/null | sort -u | wc -l)
    set -f
    printf '{"model":%s' "$(quoted "$(cpuinfo 'model name' | head -n 1)")"
    printf ',"sockets":%s,"cores":%s' "$sockets" "$cores"
    printf ',"threads":%s' "$(cpuinfo processor | wc -l)"
    printf ',"virtualization":%s}' "$(quoted_or_null "$flag")"
}

memory() {
    usable=$(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo)
    block=$(first_line /sys/devices/system/memory/block_size_bytes)
    set +f
    blocks=$(find /sys/devices/system/memory -maxdepth 1 -name 'memory[0-9]*' | wc -l)
    set -f
    installed=
    [ -n "$block" ] && installed=$((0x$block * blocks))
    printf '{"bytes":%s' "$((usable * 1024))"
    printf ',"installed_bytes":%s}' "$(number_or_null "$installed")"
}

# all_disks: every disk with a device behind it and a medium in it. Linux lists each way to an NVMe
# disk with two ports as a hidden disk of its own, which has no device node.
all_disks() {
    set +f
    for block in /sys/block/*; do
        name=${block##*/}
        case "$name" in loop* | ram* | sr* | fd* | zram* | dm-* | md*) continue ;; esac
        [ "$(cat "$block/hidden" 2>/dev/null)" = 1 ] && continue
        [ -e "$block/device" ] && [ "$(cat "$block/size")" -gt 0 ] && echo "$name"
    done
    set -f
}

# real_disks: the names of disks that are neither removable nor read-only, one a line.
real_disks() {
    for name in $(all_disks); do
        [ "$(cat "/sys/block/$name/removable")" = 0 ] &&
            [ "$(cat "/sys/block/$name/ro")" = 0 ] && echo "$name"
    done
}

# own_disks: real disks inside the machine; not those that it may share or that somebody left in it.
own_disks() {
    for name in $(real_disks); do
        case "$(disk_transport "$name")" in usb | fc | iscsi) ;; *) echo "$name" ;; esac
    done
}

disk_bytes() {
    echo "$(($(cat "/sys/block/$1/size") * 512))"
}

# The serial number: where NVMe, virtio and SCSI (vital product data page 80h, SPC-4) keep it.
disk_serial() {
    block=/sys/block/$1
    for place in "$block/device/serial" "$block/serial"; do
        [ -s "$place" ] || continue
        serial=$(first_line "$place")
        [ -n "$serial" ] && { printf '%s' "$serial" | sed 's/^ *//; s/ *$//'; return; }
    done
    [ -e "$block/device/vpd_pg80" ] &&
        dd if="$block/device/vpd_pg80" bs=4 skip=1 2>/dev/null | tr -cd ' -~' |
        sed 's/^ *//; s/ *$//'
}

disk_transport() {
    case "$(readlink -f "/sys/block/$1")" in
    */usb[0-9]*) printf usb ;;
    */session[0-9]*) printf iscsi ;;
    */nvme*) printf nvme ;;
    */ata[0-9]*) printf sata ;;
    */virtio[0-9]*/host[0-9]*) printf scsi ;;
    */virtio[0-9]*) printf virtio ;;
    */end_device-*) printf sas ;;
    */rport-*) printf fc ;;
    */mmc[0-9]*) printf mmc ;;
    *) printf scsi ;;
    esac
}

boolean() {
    if [ "$(cat "$1" 2>/dev/null)" = 1 ]; then printf true; else printf false; fi
}

disks() {
    comma=
    for disk in $(all_disks); do
        block=/sys/block/$disk
        wwn=$(first_line "$block/wwid")
        [ -n "$wwn" ] || wwn=$(first_line "$block/device/wwid")
        printf '%s{"name":%s' "$comma" "$(quoted "$disk")"
        printf ',"bytes":%s' "$(disk_bytes "$disk")"
        printf ',"serial":%s' "$(quoted_or_null "$(disk_serial "$disk")")"
        printf ',"model":%s' "$(quoted_or_null "$(first_line "$block/device/model")")"
        printf ',"transport":"%s"' "$(disk_transport "$disk")"
        printf ',"rotational":%s' "$(boolean "$block/queue/rotational")"
        printf ',"removable":%s' "$(boolean "$block/removable")"
        printf ',"read_only":%s' "$(boolean "$block/ro")"
        printf ',"wwn":%s}' "$(quoted_or_null "$wwn")"
        comma=,
    done
}

# A port tells of its cable only while it is up, and a while after: call this early.
raise_links() {
    set +f
    for net in /sys/class/net/*; do
        [ -e "$net/device" ] && ip link set "${net##*/}" up
    done
    set -f
}

nics() {
    comma=
    set +f
    for net in /sys/class/net/*; do
        [ -e "$net/device" ] || continue
        device=$(readlink -f "$net/device")
        driver=$(readlink "$net/device/driver" || readlink "$net/device/../driver")
        speed=$(first_line "$net/speed")
        address=$(echo "$device" | grep -o "$PCI_ADDRESS" | tail -n 1)
        printf '%s{"name":%s' "$comma" "$(quoted "${net##*/}")"
        printf ',"mac":%s' "$(quoted "$(cat "$net/address")")"
        printf ',"driver":%s' "$(quoted_or_null "${driver##*/}")"
        printf ',"speed":%s' "$(number_or_null "$speed")"
        printf ',"carrier":%s' "$(boolean "$net/carrier")"
        printf ',"pci":%s}' "$(quoted_or_null "$address")"
        comma=,
    done
    set -f
}

# pci_devices CLASS-PATTERN...
pci_devices() {
    comma=
    set +f
    for device in /sys/bus/pci/devices/*; do
        class=$(cat "$device/class")
        for pattern in "$@"; do
            # A pattern is meant to match.
            # shellcheck disable=SC2254
            case "$class" in
            $pattern)
                vendor=$(cat "$device/vendor")
                product=$(cat "$device/device")
                printf '%s{"pci":"%s","class":"%s"' "$comma" "${device##*/}" "${class#0x}"
                printf ',"vendor":"%s","product":"%s"}' "${vendor#0x}" "${product#0x}"
                comma=,
                ;;
            esac
        done
    done
    set -f
}
