# libvirt, and how guests move between hosts.
# shellcheck shell=bash
install -d /etc/libvirt
# One daemon for all, or one for each kind of thing: EL9 and later and Fedora have the latter, and a
# proxy of its own for those who come over the network.
daemon=virtqemud door=virtproxyd
has_unit virtqemud.socket || daemon=libvirtd door=libvirtd

write "/etc/libvirt/$daemon.conf" root:root 0644 <<END
# Nova is in this group; nobody else needs the socket.
unix_sock_group = "nova"
unix_sock_rw_perms = "0770"
auth_unix_rw = "none"
$([ "$daemon$MIGRATION" != libvirtdtcp ] || echo 'auth_tcp = "none"')
END
sockets=()
if [ "$daemon" = virtqemud ]; then
    # The socket is systemd's, which does not read the above.
    install -d /etc/systemd/system/virtqemud.socket.d
    write /etc/systemd/system/virtqemud.socket.d/rackseed.conf root:root 0644 <<END
[Socket]
SocketGroup=nova
SocketMode=0660
END
    sockets+=(virtqemud.socket virtnodedevd.socket virtnwfilterd.socket virtsecretd.socket virtstoraged.socket)
    # For programs that know one socket for all; a package of its own.
    ! has_unit virtproxyd.socket || sockets+=(virtproxyd.socket)
else
    sockets+=(libvirtd.socket)
fi

case "$MIGRATION" in
    tls)
        # Who has a certificate of our authority may do anything here, and nobody else anything: the
        # step before made it.
        has_unit "$door-tls.socket" || fail "$door-tls.socket is missing: install libvirt-daemon-proxy"
        sockets+=("$door-tls.socket")
        ;;
    tcp)
        echo 'WARNING: migration by TCP without authentication: who reaches port 16509 owns the guests'
        if [ "$door" = virtproxyd ]; then
            write /etc/libvirt/virtproxyd.conf root:root 0644 <<END
auth_tcp = "none"
END
        fi
        sockets+=("$door-tcp.socket")
        ;;
esac
systemctl daemon-reload
# A way that was chosen before is closed, and with it what it let in.
for way in tls tcp; do
    if [ "$MIGRATION" != "$way" ] && systemctl is-enabled --quiet "$door-$way.socket" 2>/dev/null; then
        systemctl disable --quiet --now "$door-$way.socket"
        touch "$STATE/$STEP.restart"
    fi
done
# A socket is not started while its service runs. Guests stay when that is stopped.
for socket in "${sockets[@]}"; do
    if [ -e "$STATE/$STEP.restart" ] || ! systemctl is-active --quiet "$socket"; then
        for service in "$daemon.service" "$door.service"; do
            ! has_unit "$service" || systemctl stop "$service"
        done
        break
    fi
done
serve "${sockets[@]}"
[ "$daemon" = virtqemud ] || bring_up libvirtd.service
