"""Rows: keys, passwords and what people typed."""

from imagebuild.seal.freespace import NoDeletedKeys
from imagebuild.seal.row import Row, Severity
from imagebuild.seal.rules import Absent, Hollow, Lines, Nowhere

_HOMES = ("root", "home/*")


def _in_homes(*names: str) -> tuple[str, ...]:
    return tuple(f"{home}/{name}" for home in _HOMES for name in names)


ROWS = (
    Row(
        "passwords",
        Severity.SECRET,
        "accounts with a password, be it locked, or with an empty one",
        "The same password opens every machine; access comes from cloud-init.",
        "shadow(5)",
        (Lines(("etc/shadow",), r"^([^:]+):([!*]*[^!*:][^:]*)?:", r"\1:*:"),),
    ),
    Row(
        "ssh-user-keys",
        Severity.SECRET,
        "users' SSH keys, authorized and known hosts",
        "Somebody's key opens every machine, and hosts that the builder talked to become known.",
        "sshd(8), AUTHORIZED_KEYS; virt-sysprep(1) ssh-userdir",
        (
            Hollow(*_in_homes(".ssh"), "var/lib/*/.ssh", "etc/ssh/authorized_keys.d"),
            Absent("etc/ssh/ssh_known_hosts", "etc/ssh/authorized_keys"),
        ),
    ),
    Row(
        "user-credentials",
        Severity.SECRET,
        "credentials of users and tools",
        "Tokens of the builder.",
        "netrc(5), clouds.yaml, docker login, git-credential-store(1)",
        (
            Absent(
                *_in_homes(
                    ".netrc",
                    ".git-credentials",
                    ".pgpass",
                    ".my.cnf",
                    ".pypirc",
                    ".aws",
                    ".kube",
                    ".vault-token",
                    ".docker/config.json",
                    ".config/openstack",
                    ".config/gh",
                    ".gnupg",
                ),
                "etc/openstack/clouds.yaml",
                "etc/openstack/secure.yaml",
            ),
        ),
    ),
    Row(
        "histories",
        Severity.SECRET,
        "histories of shells and other programs",
        "They tell what the builder did, passwords on command lines too.",
        "bash(1) HISTFILE; virt-sysprep(1) bash-history, zsh-history",
        (
            Absent(
                *_in_homes(
                    ".*_history", ".*-history", ".zhistory", ".histfile", ".lesshst", ".viminfo"
                ),
                *_in_homes(".wget-hsts", ".local/share/*/*_history"),
            ),
        ),
    ),
    Row(
        "tls-keys",
        Severity.SECRET,
        "private TLS keys",
        "Keys that packages make when they are installed are then known to all who have the image; "
        "Debian's snakeoil pair comes back with `make-ssl-cert generate-default-snakeoil`.",
        "ssl-cert(8), virt-sysprep(1) ca-certificates, logfiles (/etc/Pegasus)",
        (
            Hollow("etc/ssl/private", "etc/pki/tls/private", "etc/pki/CA/private"),
            Absent("etc/ssl/certs/ssl-cert-snakeoil.pem"),
            Absent(*(f"etc/Pegasus/*.{kind}" for kind in ("pem", "crt", "srl", "csr", "cnf"))),
            Hollow("etc/letsencrypt/accounts", "etc/letsencrypt/archive"),
            Nowhere(("etc/pki/CA",), ("*.crt",)),
        ),
    ),
    Row(
        "module-signing-keys",
        Severity.SECRET,
        "private keys that sign kernel modules",
        "Who has it can load any module on machines that enrolled its certificate.",
        "dkms(8), Secure Boot; update-secureboot-policy(8)",
        (
            Absent(
                "var/lib/dkms/mok.key",
                "var/lib/shim-signed/mok/MOK.priv",
                "etc/pki/akmods/private/*",
                "root/module-signing.key",
            ),
        ),
    ),
    Row(
        "vpn-keys",
        Severity.SECRET,
        "keys of tunnels",
        "Whoever has the image is in the network behind.",
        "wg-quick(8), openvpn(8), ipsec.secrets(5)",
        (
            Absent(
                "etc/wireguard/*.conf",
                "etc/wireguard/*.key",
                "etc/openvpn/*.key",
                "etc/openvpn/*/*.key",
                "etc/ipsec.d/private/*",
                "etc/swanctl/private/*",
            ),
        ),
    ),
    Row(
        "kerberos",
        Severity.SECRET,
        "Kerberos keytabs and databases",
        "A keytab is the machine's password in the realm.",
        "krb5.conf(5); virt-sysprep(1) kerberos-data, kerberos-hostkeytab",
        (
            Absent("etc/krb5.keytab", "etc/*.keytab", "var/lib/krb5/*.keytab"),
            Hollow("var/kerberos/krb5kdc", keep=("kadm5.acl", "kdc.conf")),
            Hollow("var/kerberos/krb5/user", "var/lib/krb5kdc"),
        ),
    ),
    Row(
        "sssd",
        Severity.SECRET,
        "caches and secrets of sssd",
        "Cached users may log in without their directory, with hashes to guess.",
        "sssd.conf(5); virt-sysprep(1) sssd-db-log",
        (
            Hollow(
                "var/lib/sss/db",
                "var/lib/sss/mc",
                "var/lib/sss/secrets",
                "var/lib/sss/gpo_cache",
                "var/lib/sss/deskprofile",
                "var/lib/sss/keytabs",
            ),
        ),
    ),
    Row(
        "samba",
        Severity.SECRET,
        "databases of samba",
        "The machine's SID and its account in the domain.",
        "samba(7), tdb files; virt-sysprep(1) samba-db-log",
        (Nowhere(("var/lib/samba", "etc/samba"), ("*.tdb", "*.ldb", "*.keytab")),),
    ),
    Row(
        "mail-server-data",
        Severity.SECRET,
        "data of mail servers",
        "TLS parameters and instance id of dovecot.",
        "virt-sysprep(1) dovecot-data",
        (Hollow("var/lib/dovecot", "var/lib/postfix"),),
    ),
    Row(
        "repository-credentials",
        Severity.SECRET,
        "user names and passwords of repositories",
        "Whoever has the image has the builder's access to paid or private packages.",
        "apt_auth.conf(5), dnf.conf(5)",
        (
            Absent("etc/apt/auth.conf", "etc/apt/auth.conf.d/*"),
            Lines(
                ("etc/yum.repos.d/*.repo", "etc/dnf/dnf.conf", "etc/yum.conf"),
                r"^[[:space:]]*(username|password|proxy_username|proxy_password)[[:space:]]*=",
            ),
            Lines(
                (
                    "etc/apt/sources.list",
                    "etc/apt/sources.list.d/*",
                    "etc/yum.repos.d/*.repo",
                    "etc/pip.conf",
                    *_in_homes(".config/pip/pip.conf", ".pip/pip.conf"),
                ),
                r"://[^/@[:space:]]+@",
                "://",
            ),
        ),
    ),
    Row(
        "deleted-keys",
        Severity.SECRET,
        "private keys in free space",
        "A deleted file stays on the disk until its blocks are discarded or written over, and "
        "whoever has the image can read it.",
        "fstrim(8); RFC 7468, Textual Encodings of PKIX",
        (NoDeletedKeys(),),
        mend="Trim the file systems after the last deletion (fstrim), or virt-sparsify the image.",
    ),
)
