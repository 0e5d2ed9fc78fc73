#!/bin/sh
# Write a disk image that the server's answer names. The machine cannot boot from the disk before
# the image is proven: its first MiB, with the partition table and boot sector, is written last.

FAILURE=
MIB=1048576

# fail WORDS...: remember why (init.sh tells it), status 1.
# shellcheck disable=SC2034
fail() {
    FAILURE=$*
    return 1
}

# answered KEY: a value of the answer.
answered() {
    sed -n "s/^$1=//p" /run/answer | head -n 1
}

# Print disk names by policy: smallest, largest, first of the machine's own, or the serial number
# of any.
chosen_disk() {
    case "$1" in
    first) own_disks | head -n 1 ;;
    smallest) own_disks | by_size | sort -n | head -n 1 | cut -d' ' -f2 ;;
    largest) own_disks | by_size | sort -rn | head -n 1 | cut -d' ' -f2 ;;
    *)
        for disk in $(real_disks); do
            [ "$(disk_serial "$disk")" = "$1" ] && { echo "$disk"; break; }
        done
        ;;
    esac
}

by_size() {
    while read -r disk; do
        echo "$(disk_bytes "$disk") $disk"
    done
}

decompressed() {
    case "$1" in
    gzip) gunzip -c ;;
    xz) unxz -c ;;
    zstd) /usr/bin/zstd -dcq ;;
    *) cat ;;
    esac
}

# wiped DISK BYTES: no old boot sector, partition table or its copy at the end is left. Few disks
# end on a MiB.
wiped() {
    dd if=/dev/zero of="/dev/$1" bs=$MIB count=1 conv=fsync 2>/dev/null &&
        dd if=/dev/zero of="/dev/$1" bs=512 seek="$((($2 - MIB) / 512))" count=$((MIB / 512)) \
            conv=fsync 2>/dev/null
}

# follow DISK BYTES: tell how far it is, by what the kernel counts as written to the disk, and end
# a stream that has brought nothing for a minute: its server may have lost power.
follow() {
    told=0
    idle=0
    start=$(awk '{print $7}' "/sys/block/$1/stat")
    now=$start
    while sleep 5; do
        last=$now
        now=$(awk '{print $7}' "/sys/block/$1/stat")
        if [ "$now" = "$last" ]; then idle=$((idle + 5)); else idle=0; fi
        [ "$idle" -ge 60 ] && killall wget
        percent=$(((now - start) * 512 / ($2 / 100 + 1)))
        [ "$percent" -gt 100 ] && percent=100
        [ "$percent" -ge "$((told + 10))" ] || continue
        told=$percent
        progress "writing $percent%" "{\"percent\":$percent}"
    done
}

# streamed DISK: the image to the disk, all but its first MiB, which goes to /run/head.
# /run/sum gets the digest, /run/count the number of bytes, both of the file as it arrived. Status 0 when the stream ended well.
streamed() {
    rm -f /run/sum-pipe /run/count-pipe /run/dd.log
    mkfifo /run/sum-pipe /run/count-pipe
    sha256sum </run/sum-pipe >/run/sum &
    summing=$!
    wc -c </run/count-pipe >/run/count &
    counting=$!
    (
        # busybox sh has it, POSIX has not.
        # shellcheck disable=SC3040
        set -o pipefail
        wget -q -O - "$IMAGE" 2>/run/wget.log | tee /run/sum-pipe /run/count-pipe |
            decompressed "$COMPRESSION" | {
            dd of=/run/head bs=$MIB count=1 iflag=fullblock 2>/dev/null &&
                dd of="/dev/$1" bs=$MIB seek=1 iflag=fullblock conv=fsync 2>/run/dd.log
        }
    )
    streaming=$?
    wait "$summing" "$counting"
    return "$streaming"
}

image() {
    until_answered 10 /run/answer "$ANSWER" ||
        { fail "the server refused the answer: $(cat /run/refusal)"; return; }
    IMAGE=$(answered image)
    SIZE=$(answered size)
    COMPRESSION=$(answered compression)
    expected=$(answered sha256 | tr A-F a-f)
    policy=$(answered disk)
    case "$SIZE" in "" | *[!0-9]*) fail "the answer has no size"; return ;; esac
    [ -n "$IMAGE" ] || { fail "the answer has no image"; return; }
    [ "${#expected}" = 64 ] || { fail "the answer has no sha256"; return; }
    case "$COMPRESSION" in
    "" | none | gzip | xz) ;;
    zstd) [ -x /usr/bin/zstd ] || { fail "the ramdisk was built without zstd"; return; } ;;
    *) fail "images compressed with $COMPRESSION cannot be written"; return ;;
    esac

    disk=$(chosen_disk "${policy:-smallest}")
    [ -n "$disk" ] ||
        { fail "no disk for disk=$policy among: $(real_disks | by_size | tr '\n' ';')"; return; }
    # A name without a device would make dd write a file into memory, and all would seem well.
    [ -b "/dev/$disk" ] || { fail "the disk $disk has no device /dev/$disk"; return; }
    bytes=$(disk_bytes "$disk")
    # What a compressed image needs shows while it is written.
    [ "$SIZE" -le "$bytes" ] ||
        { fail "the image has $SIZE bytes, the disk $disk only $bytes"; return; }
    progress "writing the image disk=$disk serial=$(disk_serial "$disk") bytes=$SIZE" \
        "{\"disk\":$(quoted "$disk"),\"bytes\":$SIZE}"
    written "$disk" "$bytes" || return
    report installed "the image is on $disk" \
        "{\"disk\":$(quoted "$disk"),\"serial\":$(quoted "$(disk_serial "$disk")")}" ||
        { fail "the server refused the report: $(cat /run/refusal)"; return; }
    say "installed disk=$disk"
}

# written DISK DISK-BYTES: the image, verified and then made bootable; status 1 with FAILURE set.
written() {
    attempt=0
    while :; do
        wiped "$1" "$2" || { fail "the disk $1 cannot be written"; return; }
        follow "$1" "$SIZE" &
        following=$!
        streamed "$1"
        ended=$?
        kill "$following"
        wait "$following" 2>/dev/null
        count=$(cat /run/count)
        [ "$ended" = 0 ] && [ "$count" = "$SIZE" ] && break
        grep -q 'server returned error: HTTP/[0-9.]* 4' /run/wget.log &&
            { fail "the server refused the image: $(cat /run/wget.log)"; return; }
        grep -qs "dd:" /run/dd.log && { fail "writing to $1 failed: $(cat /run/dd.log)"; return; }
        if [ "$count" -gt "$SIZE" ] || { [ "$ended" = 0 ] && [ "$count" -lt "$SIZE" ]; }; then
            fail "the image has $count bytes, the answer says $SIZE"
            return
        fi
        [ "$count" = "$SIZE" ] && { fail "the image cannot be decompressed"; return; }
        attempt=$((attempt + 1))
        [ "$attempt" -ge 60 ] && { fail "the image did not arrive in $attempt attempts"; return; }
        say "the image broke off at $count of $SIZE bytes, starting again attempt=$attempt"
        sleep 3
    done
    sum=$(cut -d' ' -f1 /run/sum)
    [ "$sum" = "$expected" ] ||
        { fail "the image's SHA-256 is $sum, expected $expected; the disk $1 is left unbootable"; return; }
    dd if=/run/head of="/dev/$1" bs=$MIB conv=notrunc,fsync 2>/run/dd.log ||
        { fail "writing to $1 failed: $(cat /run/dd.log)"; return; }
    sync
    blockdev --flushbufs "/dev/$1"
    blockdev --rereadpt "/dev/$1" 2>/dev/null
    say "verified sha256=$sum"
}
