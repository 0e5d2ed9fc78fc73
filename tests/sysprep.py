"""What virt-sysprep removes from a system, by its operations.

The paths are those that the program of guestfs-tools 1.48 names, and the devices file of LVM that
its later manual has. What it edits line by line is in `tests.unsealed_lines`.
"""

from collections.abc import Mapping, Sequence

_LOGS = [
    "*.log*",
    "BackupPC/LOG",
    "ConsoleKit/*",
    "anaconda.syslog",
    "anaconda/*",
    "apache2/*_log",
    "apache2/*_log-*",
    "apt/*",
    "aptitude*",
    "audit/*",
    "btmp*",
    "ceph/*.log",
    "chrony/*.log",
    "cron*",
    "cups/*_log*",
    "debug*",
    "dmesg*",
    "dump/*",
    "exim4/*",
    "faillog*",
    "firewalld*",
    "gdm/*",
    "glusterfs/*glusterd.vol.log",
    "glusterfs/glusterfs.log",
    "grubby*",
    "httpd/*log",
    "installer/*",
    "jetty/jetty-console.log",
    "journal/*",
    "lastlog*",
    "libvirt/libvirtd.log",
    "libvirt/libxl/*.log",
    "libvirt/lxc/*.log",
    "libvirt/qemu/*.log",
    "libvirt/uml/*.log",
    "lightdm/*",
    "mail/*",
    "maillog*",
    "messages*",
    "ntp",
    "ntpstats/*",
    "ppp/connect-errors",
    "rhsm/*",
    "sa/*",
    "secure*",
    "setroubleshoot/*.log",
    "spooler*",
    "squid/*.log",
    "syslog*",
    "tallylog*",
    "tuned/tuned.log",
    "wtmp*",
    "xferlog*",
]

REMOVED: Mapping[str, Sequence[str]] = {
    "abrt-data": ["var/spool/abrt/*"],
    "backup-files": [
        f"{folder}/deep/{name}"
        for folder in ("etc", "root", "srv", "tmp", "var")
        for name in ("*.bak", "*~")
    ],
    "bash-history": ["root/.bash_history", "home/*/.bash_history"],
    "blkid-tab": [
        f"{place}/{name}"
        for place in ("var/run", "etc", "etc/blkid", "dev/.")
        for name in ("blkid.tab", "blkid.tab.old")
    ],
    "ca-certificates": [
        "etc/pki/CA/certs/*.crt",
        "etc/pki/CA/crl/*.crt",
        "etc/pki/CA/newcerts/*.crt",
        "etc/pki/CA/private/*.key",
        "etc/pki/tls/private/*.key",
        "etc/pki/tls/certs/*.crt",
    ],
    "crash-data": ["var/crash/*", "var/log/dump/*"],
    "cron-spool": [
        "var/spool/cron/*",
        "var/spool/at/*",
        "var/spool/atjobs/*",
        "var/spool/atspool/*",
    ],
    "dhcp-client-state": ["var/lib/dhclient/*", "var/lib/dhcp/*"],
    "dhcp-server-state": ["var/lib/dhcpd/*"],
    "dovecot-data": ["var/lib/dovecot/*"],
    "ipa-client": [
        "etc/ipa/ca.crt",
        "etc/ipa/default.conf",
        "etc/pki/ca-trust/source/anchors/ipa-ca.crt",
        "etc/pki/ca-trust/source/ipa.p11-kit",
        "usr/local/share/ca-certificates/ipa-ca.crt",
        "var/lib/ipa-client/pki/*",
        "var/lib/ipa-client/sysrestore/*",
    ],
    "kerberos-data": ["var/kerberos/krb5kdc/*"],
    "kerberos-hostkeytab": ["etc/krb5.keytab"],
    "logfiles": [
        *(f"var/log/{name}" for name in _LOGS),
        *(f"etc/Pegasus/*.{end}" for end in ("cnf", "crt", "csr", "pem", "srl")),
        *("root/anaconda-ks.cfg", "root/anaconda-post.log", "root/initial-setup-ks.cfg"),
        *("root/install.log", "root/install.log.syslog", "root/original-ks.cfg"),
        *("var/cache/fontconfig/*", "var/cache/gdm/*", "var/cache/man/*"),
        *("var/lib/fprint/*", "var/lib/logrotate.status", "var/named/data/named.run"),
    ],
    "lvm-system-devices": ["etc/lvm/devices/system.devices"],
    "machine-id": ["etc/machine-id", "var/lib/dbus/machine-id"],
    "mail-spool": ["var/mail/*", "var/spool/mail/*"],
    "net-hostname": ["etc/HOSTNAME", "etc/hostname", "etc/machine-info"],
    "net-nmconn": ["etc/NetworkManager/system-connections/*.nmconnection"],
    "pacct-log": ["var/account/pacct*", "var/log/account/pacct*"],
    "package-manager-cache": [
        "var/cache/apt/archives/*",
        "var/cache/dnf/*",
        "var/cache/yum/*",
        "var/cache/zypp/*",
    ],
    "pam-data": ["var/run/console/*", "var/run/faillock/*", "var/run/sepermit/*"],
    "passwd-backups": [
        f"etc/{name}-" for name in ("group", "gshadow", "passwd", "shadow", "subgid", "subuid")
    ],
    "puppet-data-log": [
        "var/lib/puppet/*/*",
        "var/lib/puppet/*/deep/*",
        "var/log/puppet/*",
    ],
    "random-seed": [
        "etc/random-seed",
        *(f"var/lib/{name}random-seed" for name in ("", "misc/", "systemd/", "urandom/")),
    ],
    "rh-subscription-manager": ["etc/pki/consumer/*", "etc/pki/entitlement/*"],
    "rhn-systemid": ["etc/sysconfig/rhn/osad-auth.conf", "etc/sysconfig/rhn/systemid"],
    "rpm-db": ["var/lib/rpm/__db.*"],
    "samba-db-log": ["var/lib/samba/*", "var/lib/samba/deep/*", "var/log/samba/*"],
    "smolt-uuid": ["etc/smolt/hw-uuid", "etc/smolt/uuid", "etc/sysconfig/hw-uuid"],
    "ssh-hostkeys": ["etc/ssh/*_host_*"],
    "ssh-userdir": ["root/.ssh/*", "home/*/.ssh/*"],
    "sssd-db-log": ["var/lib/sss/db/*", "var/log/sssd/*"],
    "tmp-files": ["tmp/*", "var/tmp/*"],
    "udev-persistent-net": ["etc/udev/rules.d/70-persistent-net.rules"],
    "utmp": ["var/run/utmp"],
    "yum-uuid": ["var/lib/yum/uuid"],
}

LEFT: Mapping[str, str] = {
    "etc/pki/tls/certs/x.crt": "public halves of keys that are removed, and what people trust",
    "etc/machine-info": "only its PRETTY_HOSTNAME is of one machine",
    "var/lib/samba/x": "only its databases are of one machine; packages bring the rest",
    "var/lib/samba/deep/x": "the same",
}
"""What it removes and we do not, and why."""
