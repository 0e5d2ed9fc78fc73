#!/bin/sh
# Removes answers and what they opened from where the installer and cloud-init keep them.
# ROOT is another root folder, for those who try it.
root=${ROOT:-}

rm -rf "$root"/var/log/installer/autoinstall-user-data "$root"/var/log/installer/curtin-install* \
    "$root"/var/log/installer/cloud-init* "$root"/autoinstall.yaml
# The accounts are made; without its data cloud-init would take the next start for the first one.
touch "$root/etc/cloud/cloud-init.disabled"
rm -rf "$root"/etc/cloud/cloud.cfg.d/99-installer.cfg "$root"/var/lib/cloud/instance "$root"/var/lib/cloud/instances
find "$root/var/log/installer" "$root"/var/log/cloud-init*.log -type f 2>/dev/null |
    while read -r file; do
        sed --in-place --regexp-extended \
            -e 's;/(answer|report|secrets)/[A-Za-z0-9_-]{20,};/\1/***;g' \
            -e 's;\$(6|y)\$[A-Za-z0-9./$=,]+;***;g' "$file"
    done
