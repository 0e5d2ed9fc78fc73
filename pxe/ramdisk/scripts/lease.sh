#!/bin/sh
# What udhcpc calls at each event of a lease; it gives us interface, ip, mask, router and dns.
# shellcheck disable=SC2154
case "$1" in
deconfig)
    ip address flush dev "$interface"
    ip link set "$interface" up
    ;;
bound | renew)
    ip address flush dev "$interface"
    ip address add "$ip/${mask:-24}" dev "$interface"
    for gateway in $router; do
        ip route replace default via "$gateway" dev "$interface"
        break
    done
    for server in $dns; do echo "nameserver $server"; done >/etc/resolv.conf
    echo "$ip" >/run/address
    ;;
esac
