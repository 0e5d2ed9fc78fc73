"""Files with lines that an image must not carry, and what is to be left of each: by hand.

Nothing here is made from the seal table, so a wrong expression in it cannot pass.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Leftover:
    """A file that is wrong in several ways."""

    row: str
    path: str
    wrong: tuple[str, ...]
    """Lines, each of them enough to be found."""
    keep: str = ""
    """Lines that look alike and are right."""
    mended: tuple[str, ...] = ()
    """What becomes of the wrong lines where they do not go."""
    goes: bool = False
    """The file goes as a whole."""

    def __str__(self) -> str:
        return f"{self.row}:{self.path}"


_IFCFG = ("HOSTNAME=build7", "DHCP_HOSTNAME=build7")
_ADDRESSES = (
    "HWADDR=52:54:00:12:34:56",
    'UUID="5fb06bd0-0bb0-7ffb-45f1-d6edd65f3e03"',
    "  MACADDR=52:54:00:12:34:56",
)
_NETWORKD = ("MACAddress=52:54:00:12:34:56", "PermanentMACAddress=52:54:00:12:34:56")
_MAC = ("    hwaddress ether 52:54:00:12:34:56", "hwaddr\tether 52:54:00:12:34:56")
_APT_PROXY = (
    'Acquire::http::Proxy "http://192.0.2.1:3128";',
    'Acquire::https::proxy "http://192.0.2.1:3128";',
    "  Acquire { ftp::Proxy http://192.0.2.1; };",
)
_PROXY = ("proxy=http://192.0.2.1:3128", "  proxy = http://192.0.2.1:3128")
_PROXIES = (
    "http_proxy=http://192.0.2.1",
    "export https_proxy=http://192.0.2.1",
    "  ftp_proxy = http://192.0.2.1",
    "all_proxy=socks5://192.0.2.1",
    "no_proxy=localhost",
    "export HTTP_PROXY=http://192.0.2.1",
    "HTTPS_PROXY=http://192.0.2.1",
    "FTP_PROXY=http://192.0.2.1",
    "ALL_PROXY=http://192.0.2.1",
    "\texport\tNO_PROXY=.example.org",
)
_LOGIN = (
    "username=me",
    "password = secret",
    "  proxy_username=me",
    "proxy_password=secret",
)
_LOCAL = (
    "file:///srv/repo",
    "copy:/srv/repo",
    "cdrom:/media",
    "http://localhost:8080/repo",
    "http://127.0.0.1/repo",
    "http://[::1]/repo",
)
_URLS = ("https://me:secret@mirror.example.org/x", "https://token@mirror.example.org/x")
_CLEAN_URL = "https://mirror.example.org/x"
_APT_LOCAL = (
    *(f"deb {place} ./" for place in _LOCAL),
    "deb-src file:///srv/repo ./",
    "deb\t[trusted=yes] file:///srv/repo ./",
    "  deb file:///srv/repo ./",
)
_APT_KEEP = "deb http://mirror.example.org/debian bookworm main\n# deb file:///srv/repo ./\n"
_PIP = (
    "root/.config/pip/pip.conf",
    "root/.pip/pip.conf",
    "home/ops/.config/pip/pip.conf",
    "home/ops/.pip/pip.conf",
)
FOREIGN = "4f68bce3-e8cd-4db1-96e7-fbcaf984b709"

LINES: tuple[Leftover, ...] = (
    Leftover(
        "hostname",
        "etc/hosts",
        ("127.0.1.1 build7.example.org build7", "127.0.1.1\tbuild7"),
        "127.0.0.1 localhost\n127.0.1.10 other\n",
    ),
    Leftover("hostname", "etc/machine-info", ("PRETTY_HOSTNAME=Build",), "CHASSIS=server\n"),
    Leftover("hostname", "etc/sysconfig/network", _IFCFG, "NETWORKING=yes\n"),
    Leftover("hostname", "etc/sysconfig/network-scripts/ifcfg-eth1", _IFCFG, "DEVICE=eth1\n"),
    Leftover("hostname", "etc/hostname", ("build7", "build7.example.org"), goes=True),
    Leftover(
        "repository-ids",
        "etc/popularity-contest.conf",
        ('MY_HOSTID="0123456789abcdef"',),
        'PARTICIPATE="no"\n',
    ),
    Leftover(
        "udev-net-rules",
        "etc/udev/rules.d/80-net.rules",
        (
            'SUBSYSTEM=="net", ATTR{address}=="52:54:00:12:34:56", NAME="eth0"',
            'ACTION=="add", ATTRS{address}=="52:54:00:AB:CD:EF", NAME="eth1"',
        ),
        'ATTR{address}!="", NAME="eth0"\n',
    ),
    *(
        Leftover("ifcfg-addresses", path, _ADDRESSES, "DEVICE=eth2\nBOOTPROTO=dhcp\n")
        for path in ("etc/sysconfig/network-scripts/ifcfg-eth2", "etc/sysconfig/network/ifcfg-eth2")
    ),
    Leftover(
        "netplan-addresses",
        "etc/netplan/70-lan.yaml",
        ("        macaddress: 52:54:00:12:34:56",),
        "network:\n  version: 2\n",
        goes=True,
    ),
    *(
        Leftover("networkd-addresses", f"etc/systemd/network/10-x.{kind}", _NETWORKD, goes=True)
        for kind in ("network", "link", "netdev")
    ),
    *(
        Leftover("ifupdown-addresses", path, _MAC, "iface eth0 inet dhcp\n")
        for path in ("etc/network/interfaces", "etc/network/interfaces.d/eth0")
    ),
    Leftover(
        "resolv-conf",
        "etc/resolv.conf",
        (
            "nameserver 192.0.2.53",
            "search example.org",
            "domain example.org",
            "  options edns0",
            "sortlist 192.0.2.0",
        ),
        "# made by the network's own service\n",
    ),
    *(
        Leftover("builder-proxy", path, _APT_PROXY, '# Acquire::http::Proxy "";\nAPT::X "1";\n')
        for path in ("etc/apt/apt.conf", "etc/apt/apt.conf.d/90lan")
    ),
    *(
        Leftover("builder-proxy", path, _PROXY, "#proxy=\nkeepcache=0\n")
        for path in ("etc/dnf/dnf.conf", "etc/yum.conf", "etc/yum.repos.d/a.repo")
    ),
    *(
        Leftover("builder-proxy", path, _PROXIES, "# http_proxy=\nLANG=C\n")
        for path in ("etc/environment", "etc/profile.d/lan.sh", "etc/wgetrc")
    ),
    Leftover(
        "iscsi-initiator",
        "etc/iscsi/initiatorname.iscsi",
        ("InitiatorName=iqn.1993-08.org.debian:01:a", "  InitiatorName = iqn.2026-01.x:y"),
        mended=("GenerateName=yes",),
    ),
    Leftover(
        "lvm-devices",
        "etc/lvm/lvmlocal.conf",
        ('    system_id = "build7"', 'system_id="build7"'),
        "local {\n# system_id is unset\n}\n",
    ),
    *(
        Leftover("raid-arrays", path, ("ARRAY /dev/md0 UUID=1:2:3:4",), "HOMEHOST <system>\n")
        for path in ("etc/mdadm/mdadm.conf", "etc/mdadm.conf")
    ),
    Leftover(
        "passwords",
        "etc/shadow",
        ("root:$6$s$h:20000:0:99999:7:::", "guest::20000::::::", "old:!$6$s$h:20000::::::"),
        "sshd:!:20000::::::\nops:*:20000::::::\nnew:!!:20000::::::\nown:!*:20000::::::\n",
        mended=("root:*:20000:0:99999:7:::", "guest:*:20000::::::", "old:*:20000::::::"),
    ),
    *(
        Leftover("repository-credentials", path, _LOGIN, "# username=\nname=Paid\n")
        for path in ("etc/yum.repos.d/paid.repo", "etc/dnf/dnf.conf", "etc/yum.conf")
    ),
    *(
        Leftover(
            "repository-credentials",
            path,
            tuple(f"{word}{url}" for url in _URLS),
            f"{word}{_CLEAN_URL}\n",
            mended=tuple(f"{word}{_CLEAN_URL}" for _ in _URLS),
        )
        for path, word in (
            ("etc/apt/sources.list", "deb "),
            ("etc/apt/sources.list.d/a.list", "deb "),
            ("etc/apt/sources.list.d/a.sources", "URIs: "),
            ("etc/yum.repos.d/a.repo", "baseurl="),
            ("etc/pip.conf", "index-url = "),
            *((path, "index-url = ") for path in _PIP),
        )
    ),
    Leftover(
        "bootstrap-repositories",
        "etc/yum.repos.d/boot.repo",
        (*(f"baseurl={place}" for place in _LOCAL), "  mirrorlist = file:///srv/list"),
        "[boot]\n#baseurl=file:///srv/repo\n",
        goes=True,
    ),
    *(
        Leftover("bootstrap-repositories", path, _APT_LOCAL, _APT_KEEP)
        for path in ("etc/apt/sources.list", "etc/apt/sources.list.d/boot.list")
    ),
    Leftover(
        "bootstrap-repositories",
        "etc/apt/sources.list.d/boot.sources",
        tuple(f"URIs: {place}" for place in _LOCAL),
        "Types: deb\n",
        goes=True,
    ),
    Leftover(
        "build-shortcuts", "etc/dpkg/dpkg.cfg.d/x", ("force-unsafe-io",), "no-debsig\n", goes=True
    ),
    Leftover(
        "build-shortcuts",
        "etc/apt/apt.conf.d/95x",
        ('Dpkg::Pre {"eatmydata";};', 'Acquire::AllowInsecureRepositories "1";'),
        'APT::Sandbox::User "root";\n',
        goes=True,
    ),
    Leftover("build-shortcuts", "etc/ld.so.preload", ("libeatmydata.so",), "/lib/other.so\n"),
)
"""What the script mends."""

BY_HAND: tuple[Leftover, ...] = (
    Leftover(
        "file-systems",
        "etc/fstab",
        (
            f"UUID={FOREIGN} / ext4 rw 0 1",
            "PARTUUID=1234abcd-02 /srv ext4 rw 0 1",
            "LABEL=builder /srv ext4 rw 0 1",
            "PARTLABEL=builder /srv ext4 rw 0 1",
        ),
        "LABEL=maybe /srv ext4 nofail 0 1\n/dev/vdb /data ext4 rw 0 1\n",
    ),
    *(
        Leftover(
            "file-systems",
            path,
            tuple(
                f"linux /vmlinuz root={kind}={FOREIGN} ro"
                for kind in ("UUID", "PARTUUID", "LABEL", "PARTLABEL")
            ),
            "linux /vmlinuz root=/dev/vda1 ro\n",
        )
        for path in (
            "boot/grub/grub.cfg",
            "boot/grub2/grub.cfg",
            "boot/loader/entries/a.conf",
            "etc/kernel/cmdline",
        )
    ),
)
"""What a person mends."""
