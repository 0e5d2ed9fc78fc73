#!/bin/sh
# Removes from a system what only one machine may have, and what its making left behind.
#
# Made from the seal table (imagebuild/seal/table.py), do not edit: `pytest --update-golden`.
# Runs within the system (chroot), so that its links mean its own files. With an argument it
# works on another root, whose links must not point out of it.
set -u
root=${1:-}
cd "${root:-/}" || exit 1

if [ -d var/lib/dpkg ]; then
    family=deb
elif [ -d var/lib/rpm ] || [ -d usr/lib/sysimage/rpm ]; then
    family=rpm
else
    family=other
fi

# kept KEEP PATH: whether one of the patterns in KEEP means it
kept() {
    for keep in $1; do
        # shellcheck disable=SC2254  # it is a pattern
        case $2 in $keep) return 0 ;; esac
    done
    return 1
}

# each PATTERN: the paths that it means, hidden ones too, one in a line
each() {
    pattern=$1
    # shellcheck disable=SC2086  # it is a pattern
    for path in $pattern; do
        if [ -e "$path" ] || [ -L "$path" ]; then printf '%s\n' "$path"; fi
    done
    case $pattern in
    */\*)
        for path in "${pattern%\*}".[!.]* "${pattern%\*}"..?*; do
            if [ -e "$path" ] || [ -L "$path" ]; then printf '%s\n' "$path"; fi
        done
        ;;
    esac
}

absent() {
    each "$2" | while IFS= read -r path; do
        kept "$1" "$path" || rm -rf -- "$path"
    done
}

hollow() {
    each "$2" | while IFS= read -r folder; do
        [ -d "$folder" ] || continue
        find "$folder/" -xdev ! -type d | while IFS= read -r path; do
            kept "$1" "${path##*/}" || rm -f -- "$path"
        done
    done
}

nowhere() {
    if [ -d "$1" ]; then find "$1/" -xdev -type f -name "$2" -exec rm -f -- '{}' +; fi
}

emptied() {
    each "$1" | while IFS= read -r path; do
        if [ -f "$path" ]; then : > "$path"; fi
    done
}

# edited PATTERN EDIT: sed in place; the file keeps its inode, owner, mode and label
edited() {
    each "$1" | while IFS= read -r path; do
        [ -f "$path" ] || continue
        after=$(sed -E "$2" "$path"; printf .) || continue
        if [ "$after" != "$(cat "$path"; printf .)" ]; then printf '%s' "${after%.}" > "$path"; fi
    done
}

absent_with() {
    each "$1" | while IFS= read -r path; do
        if [ -f "$path" ] && grep -Eq -- "$2" "$path"; then rm -f -- "$path"; fi
    done
}

# Debian's own images have an empty file, Fedora's the word that makes a boot the first one.
machine_id() {
    [ -d etc ] || return 0
    version=0
    for path in usr/lib/systemd/libsystemd-shared-*.so lib/systemd/libsystemd-shared-*.so; do
        [ -e "$path" ] || continue
        version=${path##*libsystemd-shared-}
        version=${version%%[!0-9]*}
    done
    if [ "$family" = rpm ] && [ "$version" -ge 247 ]; then
        echo uninitialized > etc/machine-id
    elif [ -e etc/machine-id ] || [ -d usr/lib/systemd ] || [ -d lib/systemd ]; then
        : > etc/machine-id
    fi
}

dbus_machine_id() {
    if [ -e var/lib/dbus/machine-id ] || [ -L var/lib/dbus/machine-id ]; then
        rm -f var/lib/dbus/machine-id
        ln -s /etc/machine-id var/lib/dbus/machine-id
    fi
}

iscsi_initiator() {
    [ -e etc/iscsi/initiatorname.iscsi ] || return 0
    if [ "$family" = rpm ]; then
        rm -f etc/iscsi/initiatorname.iscsi
    else
        echo GenerateName=yes > etc/iscsi/initiatorname.iscsi
    fi
}


# ssh-host-keys: SSH host keys
absent '' 'etc/ssh/*_host_*'
absent '' 'etc/dropbear/dropbear_*_host_key'
absent '' etc/tinyssh/sshkeydir

# machine-id: the machine id of systemd
machine_id

# dbus-machine-id: D-Bus's copy of the machine id
dbus_machine_id

# random-seed: saved seeds of the random number generator
absent '' etc/random-seed
absent '' var/lib/systemd/random-seed
absent '' var/lib/random-seed
absent '' var/lib/misc/random-seed
absent '' var/lib/urandom/random-seed
absent '' boot/loader/random-seed
absent '' boot/efi/loader/random-seed
absent '' efi/loader/random-seed

# credential-secret: the host key of systemd's credentials
absent '' var/lib/systemd/credential.secret
hollow '' etc/credstore
hollow '' etc/credstore.encrypted

# hostname: a host's name
absent '' etc/hostname
absent '' etc/mailname
absent '' etc/HOSTNAME
edited etc/hosts '\~^127\.0\.1\.1[[:space:]]~d'
edited etc/machine-info '\~^PRETTY_HOSTNAME=~d'
edited etc/sysconfig/network '\~^(HOSTNAME|DHCP_HOSTNAME)=~d'
edited 'etc/sysconfig/network-scripts/ifcfg-*' '\~^(HOSTNAME|DHCP_HOSTNAME)=~d'

# cloud-init-state: what cloud-init remembers of an instance
absent '' var/lib/cloud/instance
absent '' 'var/lib/cloud/instances/*'
absent '' 'var/lib/cloud/data/*'
absent '' 'var/lib/cloud/sem/*'
absent '' 'var/lib/cloud/handlers/*'
absent '' run/cloud-init
absent '' etc/cloud/cloud-init.disabled

# subscription-ids: subscriptions and their certificates
absent '' 'etc/pki/consumer/*'
absent '' 'etc/pki/entitlement/*'
absent '' 'etc/sysconfig/rhn/systemid*'
absent '' etc/sysconfig/rhn/osad-auth.conf
absent '' 'var/lib/rhsm/facts/*'
absent '' 'var/lib/rhsm/cache/*'
absent '' 'var/lib/ubuntu-advantage/private/*'
absent '' var/lib/ubuntu-advantage/machine-token.json

# repository-ids: ids by which package managers count machines
absent '' var/lib/yum/uuid
absent '' 'var/lib/dnf/repos/*/countme'
absent '' 'var/lib/libdnf5/repos/*/countme'
absent '' etc/sysconfig/hw-uuid
absent '' etc/smolt/uuid
absent '' etc/smolt/hw-uuid
edited etc/popularity-contest.conf '\~^MY_HOSTID=~d'

# agent-ids: keys and ids of configuration agents
absent '' etc/salt/minion_id
absent '' 'etc/salt/pki/minion/*'
absent '' etc/chef/client.pem
absent '' etc/ipa/default.conf
absent '' etc/ipa/ca.crt
absent '' 'var/lib/ipa-client/sysrestore/*'
absent '' 'var/lib/ipa-client/pki/*'
absent '' usr/local/share/ca-certificates/ipa-ca.crt
absent '' etc/pki/ca-trust/source/ipa.p11-kit
absent '' etc/pki/ca-trust/source/anchors/ipa-ca.crt
hollow '' var/lib/puppet
hollow '' var/log/puppet
hollow '' etc/puppetlabs/puppet/ssl
hollow '' opt/puppetlabs/puppet/cache

# engine-ids: ids of container engines and virtual switches
absent '' etc/docker/key.json
absent '' var/lib/docker/engine-id
absent '' etc/openvswitch/system-id.conf
absent '' etc/openvswitch/conf.db
absent '' var/lib/openvswitch/conf.db

# udev-net-rules: udev rules that name an interface by its MAC address
absent '' 'etc/udev/rules.d/*-persistent-net.rules'
absent '' 'etc/udev/rules.d/*-persistent-cd.rules'
edited 'etc/udev/rules.d/*.rules' '\~ATTR[S]?\{address\}=="[[:xdigit:]:]+"~d'

# ifcfg-addresses: HWADDR and UUID in ifcfg files
edited 'etc/sysconfig/network-scripts/ifcfg-*' '\~^[[:space:]]*(HWADDR|UUID|MACADDR)=~d'
edited 'etc/sysconfig/network/ifcfg-*' '\~^[[:space:]]*(HWADDR|UUID|MACADDR)=~d'

# networkmanager-state: connections, secret key and leases of NetworkManager
absent '' 'etc/NetworkManager/system-connections/*'
hollow NetworkManager-intern.conf var/lib/NetworkManager

# netplan-addresses: netplan files of an installer, of cloud-init or with a MAC address
absent '' etc/netplan/50-cloud-init.yaml
absent '' 'etc/netplan/00-installer-config*.yaml'
absent '' 'etc/netplan/90-NM-*.yaml'
absent_with 'etc/netplan/*.yaml' '^[[:space:]]*macaddress:'

# networkd-addresses: systemd-networkd files with a MAC address
absent_with 'etc/systemd/network/*.network' '^[[:space:]]*(PermanentMACAddress|MACAddress)='
absent_with 'etc/systemd/network/*.link' '^[[:space:]]*(PermanentMACAddress|MACAddress)='
absent_with 'etc/systemd/network/*.netdev' '^[[:space:]]*(PermanentMACAddress|MACAddress)='

# ifupdown-addresses: interfaces files of cloud-init or with a MAC address
absent '' 'etc/network/interfaces.d/50-cloud-init*'
edited etc/network/interfaces '\~^[[:space:]]*(hwaddress|hwaddr)[[:space:]]~d'
edited 'etc/network/interfaces.d/*' '\~^[[:space:]]*(hwaddress|hwaddr)[[:space:]]~d'

# dhcp-leases: leases and client ids of DHCP
hollow dhcpcd.conf var/lib/dhcp
hollow dhcpcd.conf var/lib/dhclient
hollow dhcpcd.conf var/lib/dhcpcd
hollow dhcpcd.conf var/lib/dhcpcd5
hollow dhcpcd.conf var/lib/dhcpd
hollow dhcpcd.conf var/lib/systemd/network
absent '' etc/dhcpcd.duid
absent '' etc/dhcpcd.secret

# resolv-conf: the builder's name servers
edited etc/resolv.conf '\~^[[:space:]]*(nameserver|search|domain|options|sortlist)~d'
absent '' 'etc/resolv.conf.*'
absent '' etc/resolvconf/resolv.conf.d/original

# builder-proxy: the builder's proxies
edited etc/apt/apt.conf '\~^[^/#]*(http|https|ftp)::[Pp]roxy~d'
edited 'etc/apt/apt.conf.d/*' '\~^[^/#]*(http|https|ftp)::[Pp]roxy~d'
edited etc/dnf/dnf.conf '\~^[[:space:]]*proxy[[:space:]]*=~d'
edited etc/yum.conf '\~^[[:space:]]*proxy[[:space:]]*=~d'
edited 'etc/yum.repos.d/*.repo' '\~^[[:space:]]*proxy[[:space:]]*=~d'
edited etc/environment '\~^[[:space:]]*(export[[:space:]]+)?(http|https|ftp|all|no|HTTP|HTTPS|FTP|ALL|NO)_(proxy|PROXY)[[:space:]]*=~d'
edited 'etc/profile.d/*.sh' '\~^[[:space:]]*(export[[:space:]]+)?(http|https|ftp|all|no|HTTP|HTTPS|FTP|ALL|NO)_(proxy|PROXY)[[:space:]]*=~d'
edited etc/wgetrc '\~^[[:space:]]*(export[[:space:]]+)?(http|https|ftp|all|no|HTTP|HTTPS|FTP|ALL|NO)_(proxy|PROXY)[[:space:]]*=~d'

# iscsi-initiator: the name of the iSCSI initiator
iscsi_initiator

# nvme-host: NVMe host name and id
absent '' etc/nvme/hostnqn
absent '' etc/nvme/hostid

# multipath-bindings: names that multipath gave to disks
absent '' etc/multipath/bindings
absent '' etc/multipath/wwids
absent '' etc/multipath/prkeys
hollow '' var/lib/multipath

# lvm-devices: LVM's list of devices, archives and system id
absent '' 'etc/lvm/devices/*'
absent '' 'etc/lvm/archive/*'
absent '' 'etc/lvm/backup/*'
absent '' 'etc/lvm/cache/*'
absent '' etc/lvm/cache/.cache
absent '' 'run/lvm/*'
edited etc/lvm/lvmlocal.conf '\~^[[:space:]]*system_id[[:space:]]*=~d'

# raid-arrays: software RAID arrays of the builder
edited etc/mdadm/mdadm.conf '\~^ARRAY[[:space:]]~d'
edited etc/mdadm.conf '\~^ARRAY[[:space:]]~d'

# blkid-cache: the cache of blkid
absent '' 'etc/blkid.tab*'
absent '' 'etc/blkid/blkid.tab*'
absent '' 'run/blkid/blkid.tab*'
absent '' 'var/run/blkid.tab*'
absent '' 'dev/.blkid.tab*'

# swap: swap files and partitions
absent '' swapfile
absent '' swap.img
absent '' 'var/swap*'
absent '' 'swap/*'

# passwords: accounts with a password, be it locked, or with an empty one
edited etc/shadow 's~^([^:]+):([!*]*[^!*:][^:]*)?:~\1:*:~g'

# ssh-user-keys: users' SSH keys, authorized and known hosts
hollow '' root/.ssh
hollow '' 'home/*/.ssh'
hollow '' 'var/lib/*/.ssh'
hollow '' etc/ssh/authorized_keys.d
absent '' etc/ssh/ssh_known_hosts
absent '' etc/ssh/authorized_keys

# user-credentials: credentials of users and tools
absent '' root/.netrc
absent '' root/.git-credentials
absent '' root/.pgpass
absent '' root/.my.cnf
absent '' root/.pypirc
absent '' root/.aws
absent '' root/.kube
absent '' root/.vault-token
absent '' root/.docker/config.json
absent '' root/.config/openstack
absent '' root/.config/gh
absent '' root/.gnupg
absent '' 'home/*/.netrc'
absent '' 'home/*/.git-credentials'
absent '' 'home/*/.pgpass'
absent '' 'home/*/.my.cnf'
absent '' 'home/*/.pypirc'
absent '' 'home/*/.aws'
absent '' 'home/*/.kube'
absent '' 'home/*/.vault-token'
absent '' 'home/*/.docker/config.json'
absent '' 'home/*/.config/openstack'
absent '' 'home/*/.config/gh'
absent '' 'home/*/.gnupg'
absent '' etc/openstack/clouds.yaml
absent '' etc/openstack/secure.yaml

# histories: histories of shells and other programs
absent '' 'root/.*_history'
absent '' 'root/.*-history'
absent '' root/.zhistory
absent '' root/.histfile
absent '' root/.lesshst
absent '' root/.viminfo
absent '' 'home/*/.*_history'
absent '' 'home/*/.*-history'
absent '' 'home/*/.zhistory'
absent '' 'home/*/.histfile'
absent '' 'home/*/.lesshst'
absent '' 'home/*/.viminfo'
absent '' root/.wget-hsts
absent '' 'root/.local/share/*/*_history'
absent '' 'home/*/.wget-hsts'
absent '' 'home/*/.local/share/*/*_history'

# tls-keys: private TLS keys
hollow '' etc/ssl/private
hollow '' etc/pki/tls/private
hollow '' etc/pki/CA/private
absent '' etc/ssl/certs/ssl-cert-snakeoil.pem
absent '' 'etc/Pegasus/*.pem'
absent '' 'etc/Pegasus/*.crt'
absent '' 'etc/Pegasus/*.srl'
absent '' 'etc/Pegasus/*.csr'
absent '' 'etc/Pegasus/*.cnf'
hollow '' etc/letsencrypt/accounts
hollow '' etc/letsencrypt/archive
nowhere etc/pki/CA '*.crt'

# module-signing-keys: private keys that sign kernel modules
absent '' var/lib/dkms/mok.key
absent '' var/lib/shim-signed/mok/MOK.priv
absent '' 'etc/pki/akmods/private/*'
absent '' root/module-signing.key

# vpn-keys: keys of tunnels
absent '' 'etc/wireguard/*.conf'
absent '' 'etc/wireguard/*.key'
absent '' 'etc/openvpn/*.key'
absent '' 'etc/openvpn/*/*.key'
absent '' 'etc/ipsec.d/private/*'
absent '' 'etc/swanctl/private/*'

# kerberos: Kerberos keytabs and databases
absent '' etc/krb5.keytab
absent '' 'etc/*.keytab'
absent '' 'var/lib/krb5/*.keytab'
hollow 'kadm5.acl kdc.conf' var/kerberos/krb5kdc
hollow '' var/kerberos/krb5/user
hollow '' var/lib/krb5kdc

# sssd: caches and secrets of sssd
hollow '' var/lib/sss/db
hollow '' var/lib/sss/mc
hollow '' var/lib/sss/secrets
hollow '' var/lib/sss/gpo_cache
hollow '' var/lib/sss/deskprofile
hollow '' var/lib/sss/keytabs

# samba: databases of samba
nowhere var/lib/samba '*.tdb'
nowhere var/lib/samba '*.ldb'
nowhere var/lib/samba '*.keytab'
nowhere etc/samba '*.tdb'
nowhere etc/samba '*.ldb'
nowhere etc/samba '*.keytab'

# mail-server-data: data of mail servers
hollow '' var/lib/dovecot
hollow '' var/lib/postfix

# repository-credentials: user names and passwords of repositories
absent '' etc/apt/auth.conf
absent '' 'etc/apt/auth.conf.d/*'
edited 'etc/yum.repos.d/*.repo' '\~^[[:space:]]*(username|password|proxy_username|proxy_password)[[:space:]]*=~d'
edited etc/dnf/dnf.conf '\~^[[:space:]]*(username|password|proxy_username|proxy_password)[[:space:]]*=~d'
edited etc/yum.conf '\~^[[:space:]]*(username|password|proxy_username|proxy_password)[[:space:]]*=~d'
edited etc/apt/sources.list 's~://[^/@[:space:]]+@~://~g'
edited 'etc/apt/sources.list.d/*' 's~://[^/@[:space:]]+@~://~g'
edited 'etc/yum.repos.d/*.repo' 's~://[^/@[:space:]]+@~://~g'
edited etc/pip.conf 's~://[^/@[:space:]]+@~://~g'
edited root/.config/pip/pip.conf 's~://[^/@[:space:]]+@~://~g'
edited root/.pip/pip.conf 's~://[^/@[:space:]]+@~://~g'
edited 'home/*/.config/pip/pip.conf' 's~://[^/@[:space:]]+@~://~g'
edited 'home/*/.pip/pip.conf' 's~://[^/@[:space:]]+@~://~g'

# package-caches: caches of package managers
hollow lock var/cache/apt/archives
absent '' 'var/cache/apt/*.bin'
hollow 'lock auxfiles' var/lib/apt/lists
hollow 'lock auxfiles' var/cache/dnf
hollow 'lock auxfiles' var/cache/yum
hollow 'lock auxfiles' var/cache/libdnf5
hollow 'lock auxfiles' var/cache/PackageKit
hollow 'lock auxfiles' var/cache/zypp

# rpm-db-regions: shared regions of rpm's database
absent '' 'var/lib/rpm/__db*'
absent '' 'usr/lib/sysimage/rpm/__db*'
absent '' var/lib/rpm/.dbenv.lock

# bootstrap-repositories: repositories that only the builder can reach
absent_with 'etc/yum.repos.d/*.repo' '^[[:space:]]*(baseurl|mirrorlist).*(file:|copy:|cdrom:|//localhost|//127\.|//\[::1\])'
edited etc/apt/sources.list '\~^[[:space:]]*deb(-src)?[[:space:]].*(file:|copy:|cdrom:|//localhost|//127\.|//\[::1\])~d'
edited 'etc/apt/sources.list.d/*.list' '\~^[[:space:]]*deb(-src)?[[:space:]].*(file:|copy:|cdrom:|//localhost|//127\.|//\[::1\])~d'
absent_with 'etc/apt/sources.list.d/*.sources' '^URIs:.*(file:|copy:|cdrom:|//localhost|//127\.|//\[::1\])'

# replaced-configuration: files that an update put aside
nowhere etc '*.dpkg-old'
nowhere etc '*.dpkg-new'
nowhere etc '*.dpkg-dist'
nowhere etc '*.dpkg-tmp'
nowhere etc '*.ucf-old'
nowhere etc '*.ucf-dist'
nowhere etc '*.rpmnew'
nowhere etc '*.rpmsave'
nowhere etc '*.rpmorig'

# package-backups: older states of package databases
absent '' 'var/lib/dpkg/*-old'
absent '' 'var/lib/dpkg/updates/*'
absent '' 'var/cache/debconf/*-old'
absent '' 'var/backups/*'

# build-shortcuts: settings that make a build fast or quiet
absent_with 'etc/dpkg/dpkg.cfg.d/*' '^[[:space:]]*force-unsafe-io'
absent_with 'etc/apt/apt.conf.d/*' '(eatmydata|AllowInsecureRepositories)'
edited etc/ld.so.preload '\~eatmydata~d'
absent '' usr/sbin/policy-rc.d
absent '' 'usr/bin/qemu-*-static'
absent '' 'usr/sbin/*.REAL'

# logs: logs
emptied var/log/wtmp
emptied var/log/btmp
emptied var/log/lastlog
emptied var/log/faillog
emptied var/log/tallylog
hollow 'README wtmp btmp lastlog faillog tallylog' var/log
absent '' var/lib/logrotate.status
absent '' 'var/lib/logrotate/*'
absent '' 'root/install.log*'
absent '' 'root/anaconda-*'
absent '' 'root/*-ks.cfg'
hollow '' var/named/data
absent '' 'var/account/pacct*'

# journals: systemd's journals
absent '' 'var/log/journal/*'
absent '' run/log/journal

# login-records: records of logins
absent '' run/utmp
absent '' var/run/utmp
absent '' 'var/run/faillock/*'
absent '' 'var/run/sepermit/*'
absent '' 'var/run/console/*'
absent '' 'var/lib/faillock/*'
hollow '' var/lib/AccountsService/users
hollow '' var/lib/fprint
hollow '' var/lib/lastlog

# mail-spools: mail
hollow '' var/mail
hollow '' var/spool/mail
hollow '' var/spool/clientmqueue
hollow '' var/spool/mqueue

# job-spools: jobs of cron and at, time stamps of anacron
hollow .SEQ var/spool/cron
hollow .SEQ var/spool/at
hollow .SEQ var/spool/atjobs
hollow '' var/spool/atspool
emptied 'var/spool/anacron/*'
hollow '' var/lib/systemd/timers

# crash-dumps: dumps of crashed programs and kernels
hollow '' var/crash
hollow '' var/spool/abrt
hollow '' var/lib/systemd/coredump
hollow '' var/lib/kdump
absent '' core
absent '' 'core.[0-9]*'
absent '' root/core
absent '' 'root/core.[0-9]*'
absent '' 'var/core/*'

# temporary-files: temporary files
absent '' 'tmp/*'
absent '' 'var/tmp/*'
hollow '' run

# editor-backups: backup copies of editors
nowhere etc '*.bak'
nowhere etc '*~'
nowhere etc '.*.sw[op]'
nowhere root '*.bak'
nowhere root '*~'
nowhere root '.*.sw[op]'
nowhere srv '*.bak'
nowhere srv '*~'
nowhere srv '.*.sw[op]'
nowhere home '*.bak'
nowhere home '*~'
nowhere home '.*.sw[op]'
nowhere var '*.bak'
nowhere var '*~'
nowhere var '.*.sw[op]'

# account-backups: older copies of the account files
absent '' etc/passwd-
absent '' etc/shadow-
absent '' etc/group-
absent '' etc/gshadow-
absent '' etc/subuid-
absent '' etc/subgid-

# caches: caches that are made anew by themselves
hollow '' var/cache/man
hollow '' var/cache/fontconfig
hollow '' var/cache/gdm
absent '' var/cache/ldconfig/aux-cache
absent '' 'root/.cache/*'

# builder-records: records and tools of the program that built the image
absent '' etc/dib-manifests/dib_environment
absent '' etc/dib-manifests/dib_arguments
absent '' 'usr/local/bin/dib-*'
absent '' usr/local/bin/cache-url
absent '' usr/local/bin/extract-image
absent '' usr/local/bin/fix_shm
absent '' usr/local/bin/unfix_shm
absent '' usr/local/bin/install-packages
absent '' usr/local/bin/map-packages
absent '' usr/local/bin/map-services
absent '' 'usr/local/bin/package-installs*'
absent '' 'usr/local/bin/package-uninstalls*'
absent '' usr/local/bin/pkg-map
absent '' usr/local/bin/svc-map
absent '' usr/local/bin/select-boot-kernel-initrd
absent '' usr/local/bin/sysctl-set-value
absent '' usr/local/bin/sysctl-write-value
absent '' usr/share/pkg-map
absent '' usr/share/svc-map
absent '' opt/dib-python-virtualenv
absent '' 'etc/dib_*'
absent '' root/.rpmmacros

exit 0
