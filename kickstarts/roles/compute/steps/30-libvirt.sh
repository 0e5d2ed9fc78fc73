# libvirt, and how guests move between hosts.
# shellcheck shell=bash
install -d /etc/libvirt
# One daemon for all, or one for each kind of thing: EL9 and later and Fedora have the latter.
daemon=virtqemud
has_unit virtqemud.socket || daemon=libvirtd

write "/etc/libvirt/$daemon.conf" root:root 0644 <<END
# Nova is in this group; nobody else needs the socket.
unix_sock_group = "nova"
unix_sock_rw_perms = "0770"
auth_unix_rw = "none"
$([ "$daemon$MIGRATION" != libvirtdtcp ] || echo 'auth_tcp = "none"')
END
if [ "$daemon" = virtqemud ]; then
    # The socket is systemd's, which does not read the above.
    install -d /etc/systemd/system/virtqemud.socket.d
    write /etc/systemd/system/virtqemud.socket.d/rackseed.conf root:root 0644 <<END
[Socket]
SocketGroup=nova
SocketMode=0660
END
fi

case "$MIGRATION" in
    ssh)
        # All hosts make the same key of the same secret, so none has to be carried about: 32 bytes
        # are a private key on the curve P-256, here in the form of RFC 5915.
        home=/var/lib/nova/.ssh
        install -d -m 0700 -o nova -g nova "$home"
        if [ ! -s "$home/id_ecdsa" ]; then
            (
                umask 077
                private=$(printf '%s' "$MIGRATION_SECRET" | sha256sum | cut -d ' ' -f 1)
                printf '%b' "$(printf '%s' "30310201010420${private}a00a06082a8648ce3d030107" | sed 's/../\\x&/g')" |
                    openssl ec -inform DER -out "$home/id_ecdsa.new" 2>/dev/null
                ssh-keygen -y -f "$home/id_ecdsa.new" >"$home/authorized_keys"
                chown nova:nova "$home/id_ecdsa.new" "$home/authorized_keys"
                mv "$home/id_ecdsa.new" "$home/id_ecdsa"
            )
        fi
        write "$home/config" nova:nova 0600 <<END
Host *
    IdentityFile $home/id_ecdsa
    # Hosts are installed anew and then have new keys; the first one seen is kept.
    StrictHostKeyChecking accept-new
END
        ! command -v restorecon >/dev/null || restorecon -R "$home"
        # sshd lets nobody in whose shell is none.
        [ "$(getent passwd nova | cut -d : -f 7)" = /bin/bash ] || usermod --shell /bin/bash nova
        ;;
    tcp)
        echo 'WARNING: migration by TCP without authentication: who reaches port 16509 owns the guests'
        if [ "$daemon" = virtqemud ]; then
            write /etc/libvirt/virtproxyd.conf root:root 0644 <<END
auth_tcp = "none"
END
            serve virtproxyd-tcp.socket
        else
            serve libvirtd-tcp.socket
        fi
        ;;
esac
systemctl daemon-reload
if [ "$daemon" = virtqemud ]; then
    # A socket is not restarted while its service runs. Guests stay when that is stopped.
    [ ! -e "$STATE/$STEP.restart" ] || systemctl stop virtqemud.service
    sockets="virtqemud.socket virtnodedevd.socket virtnwfilterd.socket virtsecretd.socket virtstoraged.socket"
    # For programs that know one socket for all; a package of its own.
    ! has_unit virtproxyd.socket || sockets="$sockets virtproxyd.socket"
    # shellcheck disable=SC2086 # names
    serve $sockets
else
    serve libvirtd.service
fi
