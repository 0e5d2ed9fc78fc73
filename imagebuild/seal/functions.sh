#!/bin/sh
# Removes from a system what only one machine may have, and what its making left behind.
#
# Made from the seal table (imagebuild/seal/table.py), do not edit: `pytest --update-golden`.
# Runs within the system (chroot), so that its links mean its own files. With an argument it
# works on another root, whose links must not point out of it.
set -u
root=${1:-}
cd "${root:-/}" || exit 1

if [ -d var/lib/dpkg ]; then
    family=deb
elif [ -d var/lib/rpm ] || [ -d usr/lib/sysimage/rpm ]; then
    family=rpm
else
    family=other
fi

# kept KEEP PATH: whether one of the patterns in KEEP means it
kept() {
    for keep in $1; do
        # shellcheck disable=SC2254  # it is a pattern
        case $2 in $keep) return 0 ;; esac
    done
    return 1
}

# each PATTERN: the paths that it means, hidden ones too, one in a line
each() {
    pattern=$1
    # shellcheck disable=SC2086  # it is a pattern
    for path in $pattern; do
        if [ -e "$path" ] || [ -L "$path" ]; then printf '%s\n' "$path"; fi
    done
    case $pattern in
    */\*)
        for path in "${pattern%\*}".[!.]* "${pattern%\*}"..?*; do
            if [ -e "$path" ] || [ -L "$path" ]; then printf '%s\n' "$path"; fi
        done
        ;;
    esac
}

absent() {
    each "$2" | while IFS= read -r path; do
        kept "$1" "$path" || rm -rf -- "$path"
    done
}

hollow() {
    each "$2" | while IFS= read -r folder; do
        [ -d "$folder" ] || continue
        find "$folder/" -xdev ! -type d | while IFS= read -r path; do
            kept "$1" "${path##*/}" || rm -f -- "$path"
        done
    done
}

nowhere() {
    if [ -d "$1" ]; then find "$1/" -xdev -type f -name "$2" -exec rm -f -- '{}' +; fi
}

emptied() {
    each "$1" | while IFS= read -r path; do
        if [ -f "$path" ]; then : > "$path"; fi
    done
}

# edited PATTERN EDIT: sed in place; the file keeps its inode, owner, mode and label
edited() {
    each "$1" | while IFS= read -r path; do
        [ -f "$path" ] || continue
        after=$(sed -E "$2" "$path"; printf .) || continue
        if [ "$after" != "$(cat "$path"; printf .)" ]; then printf '%s' "${after%.}" > "$path"; fi
    done
}

absent_with() {
    each "$1" | while IFS= read -r path; do
        if [ -f "$path" ] && grep -Eq -- "$2" "$path"; then rm -f -- "$path"; fi
    done
}

# Debian's own images have an empty file, Fedora's the word that makes a boot the first one.
machine_id() {
    [ -d etc ] || return 0
    version=0
    for path in usr/lib/systemd/libsystemd-shared-*.so lib/systemd/libsystemd-shared-*.so; do
        [ -e "$path" ] || continue
        version=${path##*libsystemd-shared-}
        version=${version%%[!0-9]*}
    done
    if [ "$family" = rpm ] && [ "$version" -ge 247 ]; then
        echo uninitialized > etc/machine-id
    elif [ -e etc/machine-id ] || [ -d usr/lib/systemd ] || [ -d lib/systemd ]; then
        : > etc/machine-id
    fi
}

dbus_machine_id() {
    if [ -e var/lib/dbus/machine-id ] || [ -L var/lib/dbus/machine-id ]; then
        rm -f var/lib/dbus/machine-id
        ln -s /etc/machine-id var/lib/dbus/machine-id
    fi
}

iscsi_initiator() {
    [ -e etc/iscsi/initiatorname.iscsi ] || return 0
    if [ "$family" = rpm ]; then
        rm -f etc/iscsi/initiatorname.iscsi
    else
        echo GenerateName=yes > etc/iscsi/initiatorname.iscsi
    fi
}

