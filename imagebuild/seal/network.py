"""Rows: what ties an image to the network it was made in."""

from imagebuild.seal.row import Row, Severity
from imagebuild.seal.rules import Absent, AbsentWith, Hollow, Lines

ROWS = (
    Row(
        "udev-net-rules",
        Severity.IDENTITY,
        "udev rules that name an interface by its MAC address",
        "The first interface of the next machine gets the second name and no configuration.",
        "udev(7); virt-sysprep(1) udev-persistent-net",
        (
            Absent(
                "etc/udev/rules.d/*-persistent-net.rules",
                "etc/udev/rules.d/*-persistent-cd.rules",
            ),
            Lines(("etc/udev/rules.d/*.rules",), r'ATTR[S]?\{address\}=="[[:xdigit:]:]+"'),
        ),
    ),
    Row(
        "ifcfg-addresses",
        Severity.IDENTITY,
        "HWADDR and UUID in ifcfg files",
        "An interface with another address is not brought up.",
        "/usr/share/doc/initscripts/sysconfig.txt; virt-sysprep(1) net-hwaddr",
        (
            Lines(
                ("etc/sysconfig/network-scripts/ifcfg-*", "etc/sysconfig/network/ifcfg-*"),
                r"^[[:space:]]*(HWADDR|UUID|MACADDR)=",
            ),
        ),
    ),
    Row(
        "networkmanager-state",
        Severity.SECRET,
        "connections, secret key and leases of NetworkManager",
        "Connections carry UUIDs and passwords; one secret key gives one DHCP client id to all.",
        "NetworkManager.conf(5), nm-settings(5) stable-id; virt-sysprep(1) net-nmconn",
        (
            Absent("etc/NetworkManager/system-connections/*"),
            Hollow("var/lib/NetworkManager", keep=("NetworkManager-intern.conf",)),
        ),
    ),
    Row(
        "netplan-addresses",
        Severity.IDENTITY,
        "netplan files of an installer, of cloud-init or with a MAC address",
        "They win over what cloud-init writes, or match no interface.",
        "netplan documentation, Properties for physical device types: match",
        (
            Absent(
                "etc/netplan/50-cloud-init.yaml",
                "etc/netplan/00-installer-config*.yaml",
                "etc/netplan/90-NM-*.yaml",
            ),
            AbsentWith(("etc/netplan/*.yaml",), r"^[[:space:]]*macaddress:"),
        ),
    ),
    Row(
        "networkd-addresses",
        Severity.IDENTITY,
        "systemd-networkd files with a MAC address",
        "They match no interface of another machine.",
        "systemd.network(5), systemd.link(5): MACAddress=",
        (
            AbsentWith(
                (
                    "etc/systemd/network/*.network",
                    "etc/systemd/network/*.link",
                    "etc/systemd/network/*.netdev",
                ),
                r"^[[:space:]]*(PermanentMACAddress|MACAddress)=",
            ),
        ),
    ),
    Row(
        "ifupdown-addresses",
        Severity.IDENTITY,
        "interfaces files of cloud-init or with a MAC address",
        "As with netplan.",
        "interfaces(5)",
        (
            Absent("etc/network/interfaces.d/50-cloud-init*"),
            Lines(
                ("etc/network/interfaces", "etc/network/interfaces.d/*"),
                r"^[[:space:]]*(hwaddress|hwaddr)[[:space:]]",
            ),
        ),
    ),
    Row(
        "dhcp-leases",
        Severity.IDENTITY,
        "leases and client ids of DHCP",
        "Machines ask for the builder's address, and servers take them for one client.",
        "dhclient(8), dhcpcd(8); virt-sysprep(1) dhcp-client-state, dhcp-server-state",
        (
            Hollow(
                "var/lib/dhcp",
                "var/lib/dhclient",
                "var/lib/dhcpcd",
                "var/lib/dhcpcd5",
                "var/lib/dhcpd",
                "var/lib/systemd/network",
                keep=("dhcpcd.conf",),
            ),
            Absent("etc/dhcpcd.duid", "etc/dhcpcd.secret"),
        ),
    ),
    Row(
        "resolv-conf",
        Severity.LEFTOVER,
        "the builder's name servers",
        "A machine without DHCP asks servers of another network, and their names become known.",
        "resolv.conf(5)",
        (
            Lines(
                ("etc/resolv.conf",), r"^[[:space:]]*(nameserver|search|domain|options|sortlist)"
            ),
            Absent("etc/resolv.conf.*", "etc/resolvconf/resolv.conf.d/original"),
        ),
    ),
    Row(
        "builder-proxy",
        Severity.LEFTOVER,
        "the builder's proxies",
        "Packages cannot be installed where the proxy is not.",
        "apt-transport-http(1), dnf.conf(5), environment(5)",
        (
            Lines(
                ("etc/apt/apt.conf", "etc/apt/apt.conf.d/*"), r"^[^/#]*(http|https|ftp)::[Pp]roxy"
            ),
            Lines(
                ("etc/dnf/dnf.conf", "etc/yum.conf", "etc/yum.repos.d/*.repo"),
                r"^[[:space:]]*proxy[[:space:]]*=",
            ),
            Lines(
                ("etc/environment", "etc/profile.d/*.sh", "etc/wgetrc"),
                r"^[[:space:]]*(export[[:space:]]+)?"
                r"(http|https|ftp|all|no|HTTP|HTTPS|FTP|ALL|NO)_(proxy|PROXY)[[:space:]]*=",
            ),
        ),
    ),
)
