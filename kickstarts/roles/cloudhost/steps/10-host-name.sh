# The host's name is known, and means this host and no loopback: RabbitMQ names its node by it,
# Nova and Neutron know the host by it, and none of them can be told another name later.
# shellcheck shell=bash
is=$(hostname)
[ "$is" = "$HOST" ] || hostnamectl set-hostname "$HOST"
for name in "$HOST" "${HOST%%.*}"; do
    found=$(getent ahostsv4 "$name" | awk 'NR == 1 {print $1}')
    [ "$found" = "$ADDRESS" ] ||
        fail "the name $name means '${found:-nothing}', expected $ADDRESS: mend /etc/hosts or the name server, then: systemctl start rackseed-steps"
done
