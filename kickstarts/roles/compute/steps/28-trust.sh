# Hosts of guests know one another: guests, their disks and their memory move between those that hold
# the same secret and between no others. Every host makes the same keys of it, none is carried about.
# shellcheck shell=bash

# 32 bytes are a private key on the curve P-256, here in the form of RFC 5915.
key_for() {  # PURPOSE
    local private
    private=$(printf '%s %s' "$1" "$MIGRATION_SECRET" | sha256sum | cut -d ' ' -f 1)
    printf '%b' "$(printf '%s' "30310201010420${private}a00a06082a8648ce3d030107" | sed 's/../\\x&/g')" |
        openssl ec -inform DER 2>/dev/null
}

# The authorities live as long as this step, and on no disk.
rm -rf /run/rackseed-trust.* # of a run that was killed
work=$(umask 077 && mktemp -d /run/rackseed-trust.XXXXXX)
trap 'rm -r "$work"' EXIT

# Nova moves the disks of guests that are switched off by SSH, as its own user.
home=/var/lib/nova/.ssh
install -d -m 0700 -o nova -g nova "$home"
key_for nova | write "$home/id_ecdsa" nova:nova 0600
write "$home/authorized_keys" nova:nova 0600 <<END
from="$SUBNET",restrict $(ssh-keygen -y -f "$home/id_ecdsa")
END
write "$home/config" nova:nova 0600 <<END
Host *
    IdentityFile $home/id_ecdsa
    StrictHostKeyChecking yes
END
# sshd may read it only so; the policy that says it by itself comes with RDO alone.
! selinuxenabled 2>/dev/null || chcon -R -t ssh_home_t "$home"
# sshd lets nobody in whose shell is none.
[ "$(getent passwd nova | cut -d : -f 7)" = /bin/bash ] || usermod --shell /bin/bash nova

# Hosts are installed anew and have new keys then, so an authority vouches for them: who asks as root,
# as libvirt does, or as nova is asked nothing and believes nobody else.
host=/etc/ssh/ssh_host_ecdsa_key
install -d /etc/ssh/ssh_config.d /etc/ssh/sshd_config.d
[ -s "$host.pub" ] || ssh-keygen -q -t ecdsa -N '' -f "$host"
key_for 'ssh hosts' >"$work/ssh"
# Of another secret is another authority, which the others do not know.
authority=$(ssh-keygen -y -f "$work/ssh" | ssh-keygen -l -f - | cut -d ' ' -f 2)
signed_by_it() { ssh-keygen -L -f "$host-cert.pub" | grep --fixed-strings " $authority " >/dev/null; }
if [ ! -s "$host-cert.pub" ] || [ "$host.pub" -nt "$host-cert.pub" ] || ! signed_by_it; then
    ssh-keygen -q -s "$work/ssh" -I "$HOST" -h -n "$HOST,${HOST%%.*},$ADDRESS" "$host.pub"
    touch "$STATE/$STEP.restart"
fi
write /etc/ssh/sshd_config.d/20-rackseed.conf root:root 0600 <<END
HostCertificate $host-cert.pub
END
write /etc/ssh/rackseed_known_hosts root:root 0644 <<END
@cert-authority * $(ssh-keygen -y -f "$work/ssh")
END
write /etc/ssh/ssh_config.d/20-rackseed.conf root:root 0644 <<END
GlobalKnownHostsFile /etc/ssh/ssh_known_hosts /etc/ssh/rackseed_known_hosts
END
if [ -e "$STATE/$STEP.restart" ]; then
    ! has_unit sshd.service || systemctl try-reload-or-restart sshd.service
    rm "$STATE/$STEP.restart"
fi

# libvirt and QEMU know each other by certificates, one for both directions.
if [ "$MIGRATION" = tls ]; then
    # Whose processes are the guests.
    group=qemu
    getent group "$group" >/dev/null || group=root
    install -d -m 0755 /etc/pki/CA /etc/pki/libvirt
    install -d -m 0750 -g "$group" /etc/pki/libvirt/private /etc/pki/qemu
    key_for 'tls hosts' >"$work/authority.key"
    # The last file that is placed says that all are there, until when, and of which secret.
    placed=/etc/pki/CA/cacert.pem
    if ! openssl x509 -in "$placed" -noout -checkend $((60 * 24 * 60 * 60)) >/dev/null 2>&1 ||
        [ "$(openssl x509 -in "$placed" -noout -pubkey)" != "$(openssl pkey -in "$work/authority.key" -pubout)" ]; then
        cat >"$work/authority.cnf" <<'END'
[req]
distinguished_name = name
x509_extensions = authority
prompt = no
[name]
CN = hosts of guests
[authority]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
subjectKeyIdentifier = hash
END
        openssl req -x509 -new -key "$work/authority.key" -days 3650 -out "$work/authority.crt" \
            -config "$work/authority.cnf"
        cat >"$work/host.cnf" <<END
subjectAltName = DNS:$HOST,DNS:${HOST%%.*},IP:$ADDRESS
extendedKeyUsage = serverAuth,clientAuth
authorityKeyIdentifier = keyid
END
        openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$HOST" \
            -keyout "$work/host.key" -out "$work/host.csr" 2>/dev/null
        openssl x509 -req -in "$work/host.csr" -CA "$work/authority.crt" -CAkey "$work/authority.key" \
            -days 3650 -set_serial "0x$(openssl rand -hex 16)" -out "$work/host.crt" \
            -extfile "$work/host.cnf"
        place() { install -m "$1" -g "$group" "$work/$2" "$3"; }  # MODE FILE PATH
        place 0644 authority.crt /etc/pki/qemu/ca-cert.pem
        for side in server client; do
            place 0644 host.crt "/etc/pki/libvirt/${side}cert.pem"
            place 0640 host.key "/etc/pki/libvirt/private/${side}key.pem"
            place 0644 host.crt "/etc/pki/qemu/$side-cert.pem"
            place 0640 host.key "/etc/pki/qemu/$side-key.pem"
        done
        place 0644 authority.crt "$placed"
        ! command -v restorecon >/dev/null || restorecon -R /etc/pki
        # Who served with others; guests stay.
        for door in virtproxyd.service libvirtd.service; do
            ! has_unit "$door" || systemctl try-restart "$door"
        done
    fi
fi
