#!/bin/bash
# node7.cloud.example.org: a plain host on XenServer 8.
# Made for this host alone and handed out once, to the installer's answerfile_generator= . It is
# shown by:  rackseed plan node7 --answer
# Writes the answer file to its standard output, and the scripts that it names to /tmp/rackseed.
set -u
report() {  # KIND MESSAGE: tell the boot server, by bash alone: this installer may have no curl
    local body="{\"kind\": \"$1\", \"message\": \"$2\"}"
    (
        exec 3<>"/dev/tcp/10.20.0.3/80" || exit
        printf 'POST %s HTTP/1.0\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %s\r\n\r\n%s' \
            '/report/0123456789abcdefghijABCDEFGHIJ0123456789-_x' '10.20.0.3' "$(printf %s "$body" | wc -c)" "$body" >&3
        read -r -t 10 _ <&3
    ) 2>/dev/null || true  # an unreachable server must not stop us
}
stop() {
    exit 1  # without an answer nothing is written
}
report progress "the installer runs, looking for the disk"

# The disk that the inventory means: S3Z8NB0K101, S3Z8NB0K102.
udevadm settle --timeout=60 >&2
refuse() {
    echo "rackseed: $1" >/dev/console
    report failed "$1"
    stop
}
disks() {
    for block in /sys/block/*; do
        name=${block##*/}
        case "$name" in
            loop*|ram*|zram*|sr*|fd*|md*|dm-*|nbd*|nvme*c*n*) continue ;;
        esac
        if [ "$(cat "$block/removable")" = 0 ] && [ "$(cat "$block/ro")" = 0 ] && [ "$(cat "$block/size")" -gt 0 ]; then
            echo "$(cat "$block/size") $name"
        fi
    done
}
serials() {
    cat "/sys/block/$1/serial" "/sys/block/$1/device/serial" 2>/dev/null
    udevadm info --query=property --name="/dev/$1" | sed -n "s/^ID_SERIAL=//p; s/^ID_SERIAL_SHORT=//p; s/^ID_SCSI_SERIAL=//p"
}
chosen=
set -- S3Z8NB0K101 S3Z8NB0K102
for wanted in "$@"; do
    found=
    for name in $(disks | cut -d " " -f 2); do
        if serials "$name" | tr -d " " | grep -qxF "$wanted"; then
            found="$found $name"
        fi
    done
    case "$found" in
        "") refuse "no disk has the serial number $wanted that the inventory names" ;;
        " "*" "*) refuse "several disks have the serial number $wanted" ;;
    esac
    chosen="$chosen$found"
done
set -- $chosen
if [ "$#" -ne 2 ]; then
    refuse "found $# disks to write to, expected 2"
fi
report progress "installing on $*"

mkdir -p /tmp/rackseed
cat >/tmp/rackseed/filesystem-populated <<'END-OF-SCRIPT'
#!/bin/bash
# The new system is below $1, before its first start.
set -eu
root=$1
report() {  # KIND MESSAGE: tell the boot server, by bash alone: this installer may have no curl
    local body="{\"kind\": \"$1\", \"message\": \"$2\"}"
    (
        exec 3<>"/dev/tcp/10.20.0.3/80" || exit
        printf 'POST %s HTTP/1.0\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %s\r\n\r\n%s' \
            '/report/0123456789abcdefghijABCDEFGHIJ0123456789-_x' '10.20.0.3' "$(printf %s "$body" | wc -c)" "$body" >&3
        read -r -t 10 _ <&3
    ) 2>/dev/null || true  # an unreachable server must not stop us
}
trap '[ $? -eq 0 ] || report failed "a script of ours stopped, see the log of the installer"' EXIT
report progress "the system is on the disk"

# This system has no administrator but root: those of the inventory enter by their keys.
install -d -m 0700 "$root/root/.ssh"
cat >"$root/root/.ssh/authorized_keys" <<'END'
ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBHAaD0y3vMjwUX2h8GnZ1rGv7W0hGgJmJzBqkEeuA3q ada@desk
ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBHAaD0y3vMjwUX2h8GnZ1rGv7W0hGgJmJzBqkEeuA3q bob@desk
END
chmod 0600 "$root/root/.ssh/authorized_keys"

# Nothing that opens anything stays behind. The installer writes its logs once more after us, so
# it is done at the first start, before anybody can log in and look.
install -d "$root/usr/local/sbin" "$root/etc/systemd/system/multi-user.target.wants"
cat >"$root/usr/local/sbin/rackseed-scrub" <<'END'
#!/bin/bash
# Removes answers and what they opened from where the installer keeps them.
# ROOT is another root folder, for those who try it.
root=${ROOT:-}

# The same logs again, with our scripts in them.
rm -rf "$root/root/support.tar.bz2" "$root/var/log/installer/support.tar.bz2" "$root/var/log/installer/scripts"
find "$root/var/log/installer" -type f 2>/dev/null |
    while read -r file; do
        sed --in-place --regexp-extended \
            -e 's;/(answer|report|secrets)/[A-Za-z0-9_-]{20,};/\1/***;g' \
            -e 's;\$(6|y)\$[A-Za-z0-9./$=,]+;***;g' "$file"
    done
END
chmod 0755 "$root/usr/local/sbin/rackseed-scrub"
cat >"$root/etc/systemd/system/rackseed-scrub.service" <<'END'
[Unit]
Description=Remove what the installer left of its answers
Before=sshd.service getty.target
After=local-fs.target

[Service]
Type=oneshot
ExecStart=/usr/local/sbin/rackseed-scrub
# The unit removes itself: it has nothing to do on a second start.
ExecStartPost=/bin/rm -f /etc/systemd/system/multi-user.target.wants/rackseed-scrub.service /etc/systemd/system/rackseed-scrub.service /usr/local/sbin/rackseed-scrub

[Install]
WantedBy=multi-user.target
END
ln -sf ../rackseed-scrub.service "$root/etc/systemd/system/multi-user.target.wants/rackseed-scrub.service"
END-OF-SCRIPT
cat >/tmp/rackseed/installation-complete <<'END-OF-SCRIPT'
#!/bin/bash
# The installer is done: $1 is 0 when all went well.
report() {  # KIND MESSAGE: tell the boot server, by bash alone: this installer may have no curl
    local body="{\"kind\": \"$1\", \"message\": \"$2\"}"
    (
        exec 3<>"/dev/tcp/10.20.0.3/80" || exit
        printf 'POST %s HTTP/1.0\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %s\r\n\r\n%s' \
            '/report/0123456789abcdefghijABCDEFGHIJ0123456789-_x' '10.20.0.3' "$(printf %s "$body" | wc -c)" "$body" >&3
        read -r -t 10 _ <&3
    ) 2>/dev/null || true  # an unreachable server must not stop us
}
if [ "$1" = 0 ]; then
    report installed "the answer file is done"
else
    report failed "the installer stopped, see /tmp/install-log on its console"
fi
END-OF-SCRIPT

sed -e "s|@rackseed-disk-1@|/dev/$1|" -e "s|@rackseed-disk-2@|/dev/$2|" <<'END-OF-ANSWER'
<installation mode="fresh" srtype="ext">
  <!-- node7.cloud.example.org: a plain host on XenServer 8 -->
  <primary-disk guest-storage="true" swraid="true">@rackseed-disk-1@,@rackseed-disk-2@</primary-disk>
  <source type="url">http://mirror.example.org/xcp-ng/</source>
  <source type="url">http://mirror.example.org/drivers/</source>
  <admin-interface hwaddr="52:54:00:aa:00:07" proto="static" vlan="120">
    <ipaddr>10.20.0.21</ipaddr>
    <subnet>255.255.252.0</subnet>
    <gateway>10.20.0.1</gateway>
  </admin-interface>
  <name-server>10.20.0.2</name-server>
  <hostname>node7.cloud.example.org</hostname>
  <ntp source="manual" />
  <ntp-server>10.20.0.1</ntp-server>
  <ntp-server>10.20.0.2</ntp-server>
  <root-password type="hash">$6$saltsalt$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA</root-password>
  <timezone>Etc/UTC</timezone>
  <keymap>us</keymap>
  <script stage="filesystem-populated" type="url">file:///tmp/rackseed/filesystem-populated</script>
  <script stage="installation-complete" type="url">file:///tmp/rackseed/installation-complete</script>
</installation>
END-OF-ANSWER
