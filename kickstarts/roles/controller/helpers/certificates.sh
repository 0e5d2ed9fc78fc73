#!/bin/bash
# The certificate that those from elsewhere are shown, by an authority of the cloud's own: made where
# there is none, and anew before it ends. What another authority issued is left alone.
#
#   systemctl start rackseed-certificates       what its timer does every week
#
# ROOT is another root, for trying it.
set -e -u -o pipefail
# shellcheck disable=SC1091 # it exists on the host only
. "${ROOT:-}/etc/rackseed/settings"
authority=${ROOT:-}/etc/pki/rackseed/authority
controller=${ROOT:-}/etc/pki/rackseed/controller
left=$((60 * 24 * 60 * 60)) # seconds before its end

place() {  # FILE MODE: whole under its name, or not there
    chmod "$2" "$1.new"
    sync "$1.new"
    mv "$1.new" "$1"
}

issue() {  # stdin: the request, names and all
    openssl x509 -req -in - -copy_extensions copy -days 825 -CA "$authority.crt" -CAkey "$authority.key" \
        -set_serial "0x$(openssl rand -hex 16)" -out "$controller.crt.new"
    place "$controller.crt" 0644
    # The proxy of consoles reads it anew for each of them.
    systemctl try-reload-or-restart httpd.service
}

is_ours() {
    [ "$(openssl pkey -in "$authority.key" -pubout)" = "$(openssl x509 -in "$authority.crt" -noout -pubkey)" ] &&
        # By it, not by one that the system trusts; one that has ended is ours still.
        openssl verify -no-CApath -no-CAstore -no_check_time -CAfile "$authority.crt" "$controller.crt"
} >/dev/null 2>&1

umask 077
install -d -m 0755 "${authority%/*}"
if [ ! -s "$authority.crt" ]; then
    openssl req -x509 -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 \
        -subj "/CN=authority of ${HOST#*.}" -keyout "$authority.key" -out "$authority.crt.new"
    place "$authority.crt" 0644
fi
if [ ! -s "$controller.key" ] && [ ! -s "$controller.crt" ]; then
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$controller.key.new"
    # The proxy of consoles has no other way to it.
    chgrp nova "$controller.key.new"
    place "$controller.key" 0640
fi
if [ ! -s "$controller.crt" ]; then
    openssl req -new -key "$controller.key" -subj "/CN=$HOST" \
        -addext "subjectAltName=DNS:$HOST,DNS:${HOST%%.*},IP:$ADDRESS" | issue
elif is_ours && ! openssl x509 -in "$controller.crt" -noout -checkend "$left" >/dev/null; then
    # With its names and its key: of two files one could be new when power fails, and httpd would
    # not start with them.
    openssl x509 -x509toreq -copy_extensions copy -in "$controller.crt" -key "$controller.key" | issue
fi
