"""Systems that carry a leftover: what to plant for each row of the seal table, and a clean one."""

import os
from collections.abc import Mapping
from pathlib import Path

HEX = "0123456789abcdef0123456789abcdef\n"

CLEAN: Mapping[str, str] = {
    "etc/os-release": 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
    "etc/machine-id": "",
    "etc/hostname": "localhost\n",
    "etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "etc/passwd": "root:x:0:0::/root:/bin/sh\nops:x:1000:1000::/home/ops:/bin/sh\n",
    "etc/shadow": "root:!:20000:0:99999:7:::\nops:*:20000:0:99999:7:::\n",
    "etc/fstab": "# device folder type options\n",
    "etc/resolv.conf": "# made by the network's own service\n",
    "etc/apt/sources.list": "deb http://mirror.example.org/debian bookworm main\n",
    "etc/ssh/sshd_config": "PermitRootLogin prohibit-password\n",
    "etc/udev/rules.d/70-ours.rules": 'SUBSYSTEM=="net", ACTION=="add", RUN+="/bin/true"\n',
    "etc/sysconfig/network-scripts/ifcfg-eth0": "DEVICE=eth0\nBOOTPROTO=dhcp\n",
    "etc/netplan/60-ours.yaml": "network:\n  version: 2\n",
    "etc/iscsi/initiatorname.iscsi": "GenerateName=yes\n",
    "usr/lib/systemd/libsystemd-shared-252.so": "",
    "var/lib/dpkg/status": "",
    "var/log/wtmp": "",
    "var/log/apt/history.log": "",
    "var/log/README": "logs are in the journal\n",
    "var/spool/cron/atjobs/.SEQ": "00000\n",
    "var/cache/apt/archives/lock": "",
    "home/ops/.profile": "",
    "root/.profile": "",
    "tmp/": "",
    "var/tmp/": "",
}
"""A sealed system; a name that ends with a slash is a folder, `-> x` makes a link."""

PLANTS: Mapping[str, Mapping[str, str]] = {
    "ssh-host-keys": {"etc/ssh/ssh_host_ed25519_key": "x"},
    "machine-id": {"etc/machine-id": HEX},
    "dbus-machine-id": {"var/lib/dbus/machine-id": ""},
    "random-seed": {"var/lib/systemd/random-seed": "x" * 512},
    "credential-secret": {"var/lib/systemd/credential.secret": "x"},
    "hostname": {"etc/hostname": "build7\n"},
    "cloud-init-state": {"var/lib/cloud/instances/i-1/user-data.txt": "x"},
    "subscription-ids": {"etc/pki/consumer/key.pem": "x"},
    "repository-ids": {"var/lib/yum/uuid": "x"},
    "agent-ids": {"var/lib/puppet/ssl/private_keys/build7.pem": "x"},
    "engine-ids": {"etc/openvswitch/system-id.conf": "x"},
    "udev-net-rules": {
        "etc/udev/rules.d/75-net.rules": 'ATTR{address}=="52:54:00:12:34:56", NAME="eth0"\n'
    },
    "ifcfg-addresses": {
        "etc/sysconfig/network-scripts/ifcfg-eth0": "DEVICE=eth0\nHWADDR=52:54:00:12:34:56\n"
    },
    "networkmanager-state": {"var/lib/NetworkManager/secret_key": "x"},
    "netplan-addresses": {
        "etc/netplan/60-ours.yaml": "network:\n  ethernets:\n    a:\n      match:\n"
        "        macaddress: 52:54:00:12:34:56\n"
    },
    "networkd-addresses": {
        "etc/systemd/network/10-lan.network": "[Match]\nMACAddress=52:54:00:12:34:56\n"
    },
    "ifupdown-addresses": {
        "etc/network/interfaces": "iface eth0 inet dhcp\n    hwaddress ether 52:54:00:12:34:56\n"
    },
    "dhcp-leases": {"var/lib/dhcp/dhclient.eth0.leases": "lease {}\n"},
    "resolv-conf": {"etc/resolv.conf": "nameserver 192.0.2.53\n"},
    "builder-proxy": {"etc/apt/apt.conf.d/99proxy": 'Acquire::http::Proxy "http://192.0.2.1";\n'},
    "iscsi-initiator": {
        "etc/iscsi/initiatorname.iscsi": "InitiatorName=iqn.1993-08.org.debian:01:abcdef\n"
    },
    "nvme-host": {"etc/nvme/hostnqn": "nqn.2014-08.org.nvmexpress:uuid:x\n"},
    "multipath-bindings": {"etc/multipath/bindings": "mpatha 3600\n"},
    "lvm-devices": {"etc/lvm/devices/system.devices": "IDTYPE=sys_wwid\n"},
    "raid-arrays": {"etc/mdadm/mdadm.conf": "ARRAY /dev/md0 UUID=1:2:3:4\n"},
    "blkid-cache": {"etc/blkid.tab": "<device/>\n"},
    "swap": {"swapfile": "x"},
    "file-systems": {"etc/fstab": "UUID=4f68bce3-e8cd-4db1-96e7-fbcaf984b709 / ext4 rw 0 1\n"},
    "passwords": {"etc/shadow": "root:$6$salt$hash:20000:0:99999:7:::\nops:*:20000::::::\n"},
    "ssh-user-keys": {"home/ops/.ssh/authorized_keys": "ssh-ed25519 AAAA ops\n"},
    "user-credentials": {"root/.netrc": "machine x password y\n"},
    "histories": {"root/.bash_history": "mysql -psecret\n"},
    "tls-keys": {"etc/ssl/private/ssl-cert-snakeoil.key": "x"},
    "module-signing-keys": {"var/lib/dkms/mok.key": "x"},
    "vpn-keys": {"etc/wireguard/wg0.conf": "PrivateKey = x\n"},
    "kerberos": {"etc/krb5.keytab": "x"},
    "sssd": {"var/lib/sss/db/cache_example.org.ldb": "x"},
    "samba": {"var/lib/samba/private/secrets.tdb": "x"},
    "mail-server-data": {"var/lib/dovecot/instances": "x"},
    "repository-credentials": {
        "etc/apt/sources.list": "deb https://me:secret@mirror.example.org/debian bookworm main\n"
    },
    "package-caches": {"var/cache/apt/archives/hello_2.10_amd64.deb": "x"},
    "rpm-db-regions": {"var/lib/rpm/__db.001": "x"},
    "bootstrap-repositories": {"etc/yum.repos.d/boot.repo": "[boot]\nbaseurl=file:///srv/repo\n"},
    "replaced-configuration": {"etc/default/grub.dpkg-old": "x"},
    "package-backups": {"var/lib/dpkg/status-old": "x"},
    "build-shortcuts": {"etc/dpkg/dpkg.cfg.d/02unsafe": "force-unsafe-io\n"},
    "logs": {"var/log/dpkg.log": "x", "var/log/btmp": "x"},
    "journals": {f"var/log/journal/{HEX.strip()}/": ""},
    "login-records": {"var/lib/AccountsService/users/ops": "x"},
    "mail-spools": {"var/mail/root": "From build7\n"},
    "job-spools": {"var/spool/cron/crontabs/ops": "@daily true\n"},
    "crash-dumps": {"var/lib/systemd/coredump/core.sshd.0": "x"},
    "temporary-files": {"tmp/.hidden/x": "x"},
    "editor-backups": {"etc/ssh/sshd_config~": "x"},
    "account-backups": {"etc/shadow-": "root:$6$salt$hash:20000::::::\n"},
    "caches": {"var/cache/ldconfig/aux-cache": "x"},
    "builder-records": {"etc/dib-manifests/dib_environment": "HOME=/home/me\n"},
}
"""What carries the leftover of each row and of no other."""

IN_THE_DISK = frozenset({"snapshots", "deleted-keys"})
"""Rows about the file around the tree."""


def make(folder: Path, files: Mapping[str, str]) -> Path:
    """Write files below `folder`; later ones replace earlier ones."""
    for name, content in files.items():
        path = folder / name
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if content.startswith("-> "):
            path.symlink_to(content[3:])
        else:
            path.write_text(content)
    return folder


def snapshot(folder: Path) -> dict[str, str]:
    """Every name below `folder` with its content."""
    found = {}
    for parent, folders, names in os.walk(folder):
        here = Path(parent)
        found |= {str((here / name).relative_to(folder)) + "/": "" for name in folders}
        for name in names:
            path = here / name
            text = f"-> {path.readlink()}" if path.is_symlink() else path.read_text()
            found[str(path.relative_to(folder))] = text
    return found
