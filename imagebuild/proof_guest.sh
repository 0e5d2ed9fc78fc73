#!/bin/sh
# Runs once in a copy of the image, started by cloud-init; says on a serial port what became of
# the first boot, and turns the machine off.
out=/dev/ttyS1
stty -F $out -echo -onlcr 2> /dev/null || out=/dev/console
say() { printf 'rackseed-proof %s\n' "$*" > $out; }

until [ -s /run/cloud-init/result.json ]; do sleep 1; done
say cloud-init "$(tr -d '\n' < /run/cloud-init/result.json)"
say machine-id "$(cat /etc/machine-id)"
for key in /etc/ssh/ssh_host_*_key.pub; do
    if [ -f "$key" ]; then say host-key "$(cut -d ' ' -f 1,2 "$key")"; fi
done
say root-kib "$(df -Pk / | awk 'END { print $2 }')"
if [ -d /sys/firmware/efi ]; then say firmware uefi; else say firmware bios; fi
say kernel "$(uname -r)"
for unit in $(systemctl --failed --no-legend --plain 2> /dev/null | cut -d ' ' -f 1); do
    say failed-unit "$unit"
done
say end
systemctl --no-block poweroff || poweroff
