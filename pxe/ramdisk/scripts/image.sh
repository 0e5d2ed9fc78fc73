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
# a stream that has brought nothing for two minutes: its server may have lost power. A live
# one may have it wait a minute for its turn (WAIT_LIMIT), and the disk waits half a minute more.
follow() {
    told=0
    idle=0
    start=$(awk '{print $7}' "/sys/block/$1/stat")
    now=$start
    while sleep 5; do
        last=$now
        now=$(awk '{print $7}' "/sys/block/$1/stat")
        if [ "$now" = "$last" ]; then idle=$((idle + 5)); else idle=0; fi
        [ "$idle" -ge 120 ] && killall wget
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
    needed=$(answered raw_size)
    case "$needed" in "" | *[!0-9]*) needed=$SIZE ;; esac
    [ "$needed" -le "$bytes" ] ||
        { fail "the image has $needed bytes, the disk $disk only $bytes"; return; }
    unpack_seed "$disk" "$bytes" "$needed" || return
    progress "writing the image disk=$disk serial=$(disk_serial "$disk") bytes=$SIZE" \
        "{\"disk\":$(quoted "$disk"),\"bytes\":$SIZE}"
    written "$disk" "$bytes" || return
    # With a seed the installed system itself tells when it is up.
    if [ -s /run/seed ]; then kind=progress; else kind=installed; fi
    report "$kind" "the image is on $disk" \
        "{\"disk\":$(quoted "$disk"),\"serial\":$(quoted "$(disk_serial "$disk")")}" ||
        { fail "the server refused the report: $(cat /run/refusal)"; return; }
    say "installed disk=$disk"
}

# unpack_seed DISK DISK-BYTES IMAGE-BYTES: what the answer says for the first boot, to /run/seed;
# status 1 with FAILURE set where it cannot be given to the installed system.
unpack_seed() {
    rm -f /run/seed
    [ -n "$(answered seed)" ] || return 0
    [ -x /usr/sbin/sfdisk ] || { fail "the ramdisk was built without sfdisk, for seeds"; return; }
    { answered seed | base64 -d | gunzip -c >/run/seed 2>/dev/null && [ -s /run/seed ]; } ||
        { fail "the seed of the answer cannot be unpacked"; return; }
    sector=$(cat "/sys/block/$1/queue/logical_block_size" 2>/dev/null)
    [ "${sector:-512}" = 512 ] ||
        { fail "the disk $1 has sectors of $sector bytes, images are made for 512"; return; }
    [ "$(seed_start "$2")" -ge "$(($3 / 512))" ] ||
        { fail "the disk $1 has no room for the seed behind the image of $3 bytes"; return; }
}

# seed_start DISK-BYTES: the first sector of the seed's partition, as near to the disk's end as the
# copy of the partition table and the bounds of a MiB allow. MBR ends at 2 TiB.
seed_start() {
    last=$(($1 / 512))
    [ "$last" -le 4294967295 ] || is_gpt /run/head || last=4294967295
    octets=$(wc -c </run/seed)
    echo $(((last - 34 - (octets + 511) / 512) / 2048 * 2048))
}

# is_gpt FILE: a GUID partition table begins in the second sector (UEFI 2.10, 5.3.2).
is_gpt() {
    [ "$(dd if="$1" bs=1 skip=512 count=8 2>/dev/null)" = "EFI PART" ]
}

# planted DISK BYTES: the seed to its place on the disk, and /run/head with a partition table that
# knows it. The table is made on a file of the disk's size that takes no room; the disk's first MiB
# stays empty until all is there.
planted() {
    octets=$(wc -c </run/seed)
    start=$(seed_start "$2")
    if is_gpt /run/head; then
        type=EBD0A0A2-B9E5-4433-87C0-68B6B72699C7
    else
        type=c
    fi
    rm -f /run/table
    truncate -s "$2" /run/table
    dd if=/run/head of=/run/table bs=$MIB conv=notrunc 2>/dev/null
    echo "start=$start, size=$(((octets + 511) / 512)), type=$type" |
        /usr/sbin/sfdisk --append --no-reread --no-tell-kernel /run/table >/run/sfdisk.log 2>&1 ||
        { fail "the image's partition table takes no seed: $(tail -n 1 /run/sfdisk.log)"; return; }
    dd if=/run/seed of="/dev/$1" bs=512 seek="$start" conv=notrunc,fsync 2>/run/dd.log ||
        { fail "writing the seed to $1 failed: $(cat /run/dd.log)"; return; }
    if is_gpt /run/head; then
        copy=$(($2 / 512 - 33))
        dd if=/run/table of="/dev/$1" bs=512 skip="$copy" seek="$copy" conv=notrunc,fsync \
            2>/run/dd.log || { fail "writing to $1 failed: $(cat /run/dd.log)"; return; }
    fi
    dd if=/run/table of=/run/head bs=$MIB count=1 2>/dev/null
    rm -f /run/table
    say "seed start=$start bytes=$octets"
}

# written DISK DISK-BYTES: the image, verified and then made bootable; status 1 with FAILURE set.
# $needed are the bytes that it has on the disk, as far as the answer tells.
written() {
    attempt=0
    while :; do
        wiped "$1" "$2" || { fail "the disk $1 cannot be written"; return; }
        follow "$1" "$needed" &
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
    [ ! -s /run/seed ] || planted "$1" "$2" || return
    dd if=/run/head of="/dev/$1" bs=$MIB conv=notrunc,fsync 2>/run/dd.log ||
        { fail "writing to $1 failed: $(cat /run/dd.log)"; return; }
    sync
    blockdev --flushbufs "/dev/$1"
    blockdev --rereadpt "/dev/$1" 2>/dev/null
    say "verified sha256=$sum"
}
