"""What is beyond the base: services of a cloud's hosts, real ones and names alone."""

from collections.abc import Mapping

from tests.fixture_distribution.names import words

EXTRA = words(
    "apache2 chrony crudini dbus dnf dnsmasq etcd-server libapache2-mod-wsgi-py3 mariadb-server"
    " memcached openssh-client openvswitch-switch ovn-central ovn-host python3-libvirt"
    " python3-memcache python3-pymysql qemu-utils rabbitmq-server rsync xorriso"
)
"""Debian packages that the repository `fixture-extra` is grown from, beside the base's."""

ESSENTIAL = words("coreutils findutils gawk grep hostname sed util-linux")
"""What Debian's packages use without saying so, and these services do."""

FOLDERS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "chrony": (("/var/lib/chrony", "chrony"), ("/var/log/chrony", "chrony")),
    "dnsmasq": (("/etc/dnsmasq.d", "root"), ("/var/lib/dnsmasq", "dnsmasq")),
    "etcd": (("/etc/etcd", "root"), ("/var/lib/etcd", "etcd")),
    "httpd": (
        ("/etc/httpd/conf.d", "root"),
        ("/etc/httpd/conf.modules.d", "root"),
        ("/usr/share/httpd", "root"),
        ("/var/log/httpd", "root"),
        ("/var/www/cgi-bin", "root"),
        ("/var/www/html", "root"),
    ),
    "mariadb-server": (
        ("/etc/my.cnf.d", "root"),
        ("/var/lib/mysql", "mysql"),
        ("/var/log/mariadb", "mysql"),
    ),
    "memcached": (("/etc/sysconfig", "root"),),
    "mod_ssl": (("/etc/pki/tls/certs", "root"), ("/etc/pki/tls/private", "root")),
    "openvswitch": (("/etc/openvswitch", "root"), ("/var/log/openvswitch", "root")),
    "ovn": (("/etc/ovn", "root"), ("/var/lib/ovn", "root"), ("/var/log/ovn", "root")),
    "rabbitmq-server": (
        ("/etc/rabbitmq", "root"),
        ("/var/lib/rabbitmq", "rabbitmq"),
        ("/var/lib/rabbitmq/mnesia", "rabbitmq"),
        ("/var/log/rabbitmq", "rabbitmq"),
    ),
}
"""Folders with their owners that these packages have on Fedora."""

USERS: Mapping[str, tuple[str, str]] = {
    "chrony": ("chrony", "/var/lib/chrony"),
    "dbus": ("messagebus", "/run/dbus"),
    "dnsmasq": ("dnsmasq", "/var/lib/dnsmasq"),
    "erlang": ("epmd", "/run/epmd"),
    "etcd": ("etcd", "/var/lib/etcd"),
    "httpd": ("apache", "/usr/share/httpd"),
    "mariadb-server": ("mysql", "/var/lib/mysql"),
    "memcached": ("memcached", "/run/memcached"),
    "rabbitmq-server": ("rabbitmq", "/var/lib/rabbitmq"),
}
"""The user that a package makes before it is installed, and its home."""

STAND_INS = words(
    "conntrack-tools cryptsetup dnsmasq-utils driverctl edk2-ovmf firewalld grubby haproxy ipset"
    " iptables iscsi-initiator-utils keepalived libvirt libvirt-client libvirt-daemon"
    " libvirt-daemon-config-network libvirt-daemon-driver-interface libvirt-daemon-driver-network"
    " libvirt-daemon-driver-storage libvirt-daemon-kvm lvm2 qemu-kvm qemu-kvm-core"
    " swtpm swtpm-tools tuned tuned-profiles-cpu-partitioning"
)
"""Packages without any file: a name that can be required, in `fixture-extra`."""

OPENSTACK = words(
    "openstack-cinder openstack-dashboard openstack-glance openstack-heat-api"
    " openstack-heat-api-cfn openstack-heat-engine openstack-keystone openstack-neutron"
    " openstack-neutron-ml2 openstack-neutron-openvswitch openstack-neutron-ovn-agent"
    " openstack-neutron-ovn-metadata-agent openstack-nova-api openstack-nova-compute"
    " openstack-nova-conductor openstack-nova-novncproxy openstack-nova-scheduler"
    " openstack-placement-api openstack-selinux python3-openstackclient"
)
"""The same for RDO's names, in `fixture-openstack`: beside our own packages it would hide that
one of those is missing, so it is a repository of its own."""


def user_script(user: str, home: str) -> str:
    """What makes a system user in a package's `%pre`."""
    make = f"useradd --system --no-create-home --home-dir {home} --shell /usr/sbin/nologin {user}"
    return f"getent passwd {user} >/dev/null || {make}"
