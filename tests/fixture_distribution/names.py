"""What is cut from which Debian packages, and under which of Fedora's names."""

from collections.abc import Mapping


def words(text: str) -> tuple[str, ...]:
    """What reads better in lines than as a list of strings."""
    return tuple(text.split())


BASE = words(
    "base-passwd bash bzip2 ca-certificates coreutils cpio curl debugedit diffutils file findutils"
    " gawk gcc grep gzip hostname info iproute2 kmod libc6-dev libpq5 libxslt1.1 login logrotate"
    " make openssl passwd patch pciutils procps python3 python3-dev python3-pip python3-setuptools"
    " python3-venv python3-wheel rpm sed sudo systemd tar unzip util-linux xz-utils zstd"
)
"""Debian packages that the base repository is grown from."""

LEFT_OUT = words(
    "adduser apt debconf debian-archive-keyring dpkg gcc-12-base gpgv init-system-helpers"
    " install-info libapt-pkg6.0 libdebconfclient0 libjs-jquery libjs-sphinxdoc libjs-underscore"
    " libasan8 libitm1 liblsan0 libquadmath0 libtsan2 libubsan1"
    " cron cron-daemon-common lsb-release mawk netbase runit-helper sensible-utils"
    " locales lsb-base readline-common sysvinit-utils ucf usrmerge"
)
"""Debian's own machinery, and what is big and unused: neither shipped nor required."""

MERGED: Mapping[str, str] = {
    "NetworkManager": "network-manager",
    "NetworkManager-libnm": "libnm0",
    "apr": "libapr1",
    "apr-util": "libaprutil1 libaprutil1-dbd-sqlite3 libaprutil1-ldap",
    "bash": "bash dash",
    "binutils": "binutils binutils-common binutils-x86-64-linux-gnu binutils-aarch64-linux-gnu"
    " libbinutils libctf0 libctf-nobfd0 libgprofng0",
    "bzip2-libs": "libbz2-1.0",
    "cloud-utils-growpart": "cloud-guest-utils",
    "cpp": "cpp cpp-12",
    "device-mapper": "dmsetup libdevmapper1.02.1",
    "dbus": "dbus dbus-bin dbus-daemon dbus-session-bus-common dbus-system-bus-common",
    "dhcp-client": "isc-dhcp-client",
    "dnf": "dnf dnf-data python3-dnf",
    "dnsmasq": "dnsmasq dnsmasq-base",
    "dracut": "dracut-core",
    "elfutils-libelf": "libelf1",
    "elfutils-libs": "libdw1",
    "erlang": "erlang-base erlang-asn1 erlang-crypto erlang-eldap erlang-ftp erlang-inets"
    " erlang-mnesia erlang-os-mon erlang-parsetools erlang-public-key erlang-runtime-tools"
    " erlang-snmp erlang-ssl erlang-syntax-tools erlang-tftp erlang-tools erlang-xmerl",
    "etcd": "etcd-server",
    "file-libs": "libmagic1 libmagic-mgc",
    "filesystem": "base-files",
    "gcc": "gcc gcc-12 libgcc-12-dev libcc1-0 libatomic1",
    "glibc": "libc6",
    "glibc-common": "libc-bin",
    "glibc-devel": "libc6-dev libc-dev-bin libnsl-dev libtirpc-dev rpcsvc-proto",
    "glib2": "libglib2.0-0",
    "grub2-efi-x64-modules": "grub-efi-amd64-bin",
    "grub2-pc-modules": "grub-pc-bin",
    "grub2-tools": "grub-common grub2-common",
    "httpd": "apache2 apache2-bin apache2-data apache2-utils",
    "iproute": "iproute2",
    "kernel-headers": "linux-libc-dev",
    "kmod-libs": "libkmod2",
    "krb5-libs": "libgssapi-krb5-2 libk5crypto3 libkrb5-3 libkrb5support0",
    "libacl": "libacl1",
    "libattr": "libattr1",
    "libblkid": "libblkid1",
    "libcap": "libcap2 libcap2-bin",
    "libcurl": "libcurl4",
    "libffi": "libffi8",
    "libgcc": "libgcc-s1",
    "libgomp": "libgomp1",
    "libmount": "libmount1",
    "libmpc": "libmpc3",
    "libpq": "libpq5",
    "libselinux": "libselinux1",
    "libstdc++": "libstdc++6",
    "libuuid": "libuuid1",
    "libvirt-libs": "libvirt0",
    "libxcrypt": "libcrypt1",
    "libxcrypt-devel": "libcrypt-dev",
    "libxml2": "libxml2",
    "libxslt": "libxslt1.1",
    "mariadb": "mariadb-client mariadb-client-core",
    "mariadb-common": "mariadb-common mysql-common",
    "mariadb-connector-c": "libmariadb3",
    "mariadb-server": "mariadb-server mariadb-server-core",
    "ncurses-libs": "libtinfo6 libncursesw6",
    "openssh-clients": "openssh-client",
    "openssl-libs": "libssl3",
    "openvswitch": "openvswitch-switch openvswitch-common",
    "ovn": "ovn-common",
    "pam": "libpam-runtime libpam0g libpam-modules libpam-modules-bin",
    "perl-interpreter": "perl-base perl",
    "perl-libs": "perl-modules-5.36 libperl5.36 libfile-find-rule-perl libnumber-compare-perl"
    " libtext-glob-perl libgdbm-compat4",
    "procps-ng": "procps libproc2-0",
    "python-pip-wheel": "python3-pip-whl",
    "python-setuptools-wheel": "python3-setuptools-whl",
    "python3": "python3 python3-minimal python3.11 python3.11-minimal python3-venv python3.11-venv",
    "python3-devel": "python3-dev python3.11-dev libpython3-dev libpython3.11-dev",
    "python3-libs": "libpython3.11-stdlib libpython3-stdlib libpython3.11 libpython3.11-minimal"
    " python3-distutils python3-lib2to3 media-types",
    "python3-PyMySQL": "python3-pymysql",
    "python3-memcached": "python3-memcache",
    "python3-mod_wsgi": "libapache2-mod-wsgi-py3",
    "python3-pip": "python3-pip",
    "python3-pyyaml": "python3-yaml",
    "python3-setuptools": "python3-setuptools python3-pkg-resources",
    "qemu-img": "qemu-utils",
    "rpm": "rpm rpm-common rpm2cpio",
    "rpm-build": "librpmbuild9",
    "rpm-libs": "librpm9 librpmio9",
    "rpm-sign": "librpmsign9",
    "setup": "base-passwd",
    "shadow-utils": "passwd login libsemanage2 libsemanage-common",
    "shim-x64": "shim-signed shim-signed-common shim-unsigned shim-helpers-amd64-signed",
    "sqlite-libs": "libsqlite3-0",
    "systemd": "systemd libsystemd-shared",
    "systemd-libs": "libsystemd0 libudev1",
    "systemd-udev": "udev",
    "util-linux": "util-linux bsdutils mount util-linux-extra libfdisk1 libsmartcols1",
    "which": "debianutils",
    "xz": "xz-utils",
    "xz-libs": "liblzma5",
    "zlib": "zlib1g",
}
"""RPM name to Debian packages, the one that gives the version first.

A Debian package that is nowhere here becomes an RPM of its own name.
"""

MOVED: Mapping[str, str] = {
    "/usr/bin/gendiff": "rpm-build",
    "/usr/bin/rpmbuild": "rpm-build",
    "/usr/bin/rpmspec": "rpm-build",
    "/usr/bin/rpmsign": "rpm-sign",
    "/usr/lib/apache2/modules/mod_ssl.so": "mod_ssl",
}
"""Files that Fedora has in another package."""

PROVIDES: Mapping[str, tuple[str, ...]] = {
    "bash": ("/bin/sh", "/usr/bin/sh"),
    "filesystem": ("filesystem-fixture",),
    "glibc": ("rtld(GNU_HASH)", "glibc-minimal-langpack", "glibc-langpack", "glibc-langpack-en"),
    "glibc-devel": ("glibc-headers",),
    "krb5-libs": ("krb5",),
    "openssl-libs": ("openssl-fips-provider",),
    "procps-ng": ("procps",),
    "python3": ("python(abi) = 3.11", "python3.11", "/usr/libexec/platform-python"),
    "python3-devel": ("python3.11-devel",),
    "python3-libs": ("python3.11-libs",),
    "python3-pip": ("python3.11-pip",),
    "python3-setuptools": ("python3.11-setuptools",),
    "setup": (),
    "shadow-utils": ("passwd", "/usr/sbin/useradd", "/usr/sbin/groupadd"),
    "util-linux": ("util-linux-core", "util-linux-fixture"),
}
"""Beside the package's own name and what its ELF files and `/bin/...` spellings say."""

REQUIRES: Mapping[str, str] = {
    "gcc": "binutils cpp glibc-devel",
    "python3": "python3-libs",
    "python3-libs": "python-pip-wheel python-setuptools-wheel",
    "rpm-build": "rpm bash bzip2 coreutils cpio debugedit diffutils file findutils gawk grep gzip"
    " patch sed tar unzip xz zstd",
    "rpm-sign": "rpm",
    "shadow-utils": "setup",
}
"""Beside those that Debian's Depends say."""

NOT_REQUIRED: Mapping[str, str] = {
    "binutils": "perl-interpreter",
    "filesystem": "gawk",
    "rpm": "perl-interpreter perl-libs debugedit rpm-build rpm-sign binutils",
    "setup": "glibc libselinux",
}
"""What Debian asks for and Fedora's package of that name does without."""

CLAIMED: Mapping[str, str] = {
    "/etc/ssl/certs/": "ca-certificates",
    "/etc/ca-certificates.conf": "ca-certificates",
    "/etc/pam.d/": "pam",
    "/etc/security/": "pam",
    "/etc/systemd/": "systemd",
    "/var/lib/systemd/": "systemd",
    "/usr/local/lib/python3.11": "python3-libs",
    "/etc/python3": "python3",
    "/var/lib/python": "python3",
}
"""Who owns what maintainer scripts made, by prefix; links go to the owner of their target."""

SETUP_OWNS = words(
    "/etc/environment /etc/fstab /etc/group /etc/gshadow /etc/inputrc /etc/localtime /etc/motd"
    " /etc/mtab /etc/nsswitch.conf /etc/passwd /etc/profile /etc/shadow /etc/shells /etc/subgid"
    " /etc/subuid /etc/timezone /root/.bashrc /root/.profile"
)
"""What is left of the maintainer scripts' files and that a system needs."""

ACCOUNTS = words("/etc/group /etc/gshadow /etc/passwd /etc/shadow")
"""Files of `setup` that other packages add to."""

GROUPS: Mapping[str, str] = {
    "buildsys-build": "bash bzip2 coreutils cpio diffutils file findutils fixture-release gawk"
    " glibc-minimal-langpack grep gzip info patch redhat-rpm-config rpm-build sed shadow-utils tar"
    " unzip util-linux which xz",
    "build": "bash bzip2 coreutils cpio diffutils findutils fixture-release gawk gcc grep gzip info"
    " make patch redhat-rpm-config rpm-build sed shadow-utils tar unzip util-linux which xz",
    "srpm-build": "bash fixture-release redhat-rpm-config rpm-build shadow-utils tar",
    "core": "bash coreutils filesystem fixture-release glibc hostname iproute procps-ng rpm"
    " setup shadow-utils systemd util-linux",
}
"""Groups of comps.xml, all members mandatory."""


USERS: Mapping[str, str] = {
    "_chrony": "chrony",
    "memcache": "memcached",
    "www-data": "apache",
}
"""Users and groups of Debian that are called otherwise."""


def rpm_names() -> dict[str, str]:
    """Debian package to RPM."""
    return {old: new for new, merged in MERGED.items() for old in merged.split()}
