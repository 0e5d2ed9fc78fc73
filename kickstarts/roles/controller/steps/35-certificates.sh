# An authority of the cloud's own and the controller's certificate, for all that is asked from
# elsewhere. Replace both by certificates of yours under the same names; what is there is left alone.
# shellcheck shell=bash
folder=/etc/pki/rackseed
install -d -m 0755 "$folder"
umask 077
if [ ! -s "$folder/authority.crt" ]; then
    openssl req -x509 -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 \
        -subj "/CN=authority of ${HOST#*.}" -keyout "$folder/authority.key" -out "$folder/authority.crt.new"
    mv "$folder/authority.crt.new" "$folder/authority.crt"
fi
if [ ! -s "$folder/controller.crt" ]; then
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$HOST" \
        -keyout "$folder/controller.key" -out "$folder/controller.csr"
    openssl x509 -req -days 825 -in "$folder/controller.csr" -CA "$folder/authority.crt" \
        -CAkey "$folder/authority.key" -CAcreateserial -out "$folder/controller.crt.new" \
        -extfile <(echo "subjectAltName=DNS:$HOST,DNS:${HOST%%.*},IP:$ADDRESS")
    rm "$folder/controller.csr"
    mv "$folder/controller.crt.new" "$folder/controller.crt"
fi
chmod 0644 "$folder"/*.crt
# The proxy of consoles has no other way to it.
chgrp nova "$folder/controller.key"
chmod 0640 "$folder/controller.key"
