# An authority of the cloud's own and the controller's certificate, for all that is asked from
# elsewhere, and what renews it. Replace both by certificates of yours under the same names.
# shellcheck shell=bash
program=/usr/local/libexec/rackseed-certificates
write "$program" root:root 0755 <"$LIBRARY/helpers/certificates.sh"
"$program"
write /etc/systemd/system/rackseed-certificates.service root:root 0644 <<END
[Unit]
Description=Renew the controller's certificate before it ends

[Service]
Type=oneshot
ExecStart=$program
END
write /etc/systemd/system/rackseed-certificates.timer root:root 0644 <<'END'
[Unit]
Description=Look every week whether the controller's certificate ends soon

[Timer]
OnCalendar=weekly
RandomizedDelaySec=1d
Persistent=true

[Install]
WantedBy=timers.target
END
systemctl daemon-reload
serve rackseed-certificates.timer
