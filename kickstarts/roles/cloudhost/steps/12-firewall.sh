# What hosts of the cloud ask of one another is open to their segment alone: some of it, as the
# cache and OVN's databases, asks nobody who he is.
# shellcheck shell=bash
if systemctl is-active --quiet firewalld.service; then
    changed=
    for port in $INNER_PORTS; do
        rule="rule family=\"ipv4\" source address=\"$SUBNET\" port port=\"${port%/*}\" protocol=\"${port#*/}\" accept"
        if ! firewall-cmd --permanent --query-rich-rule="$rule" >/dev/null 2>&1; then
            firewall-cmd --permanent --add-rich-rule="$rule"
            changed=yes
        fi
    done
    [ -z "$changed" ] || firewall-cmd --reload
else
    echo 'firewalld does not run here: nothing keeps others out'
fi
