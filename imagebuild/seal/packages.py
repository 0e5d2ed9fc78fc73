"""Rows: what package managers leave behind."""

from imagebuild.seal.row import Row, Severity
from imagebuild.seal.rules import Absent, AbsentWith, Hollow, Lines, Nowhere

_ASIDE = (
    *("*.dpkg-old", "*.dpkg-new", "*.dpkg-dist", "*.dpkg-tmp", "*.ucf-old", "*.ucf-dist"),
    *("*.rpmnew", "*.rpmsave", "*.rpmorig"),
)
_LOCAL = r"(file:|copy:|cdrom:|//localhost|//127\.|//\[::1\])"

ROWS = (
    Row(
        "package-caches",
        Severity.LEFTOVER,
        "caches of package managers",
        "They are large and old on the day of the first boot.",
        "apt-get(8) clean, dnf(8) clean; virt-sysprep(1) package-manager-cache",
        (
            Hollow("var/cache/apt/archives", keep=("lock",)),
            Absent("var/cache/apt/*.bin"),
            Hollow(
                "var/lib/apt/lists",
                "var/cache/dnf",
                "var/cache/yum",
                "var/cache/libdnf5",
                "var/cache/PackageKit",
                "var/cache/zypp",
                keep=("lock", "auxfiles"),
            ),
        ),
    ),
    Row(
        "rpm-db-regions",
        Severity.LEFTOVER,
        "shared regions of rpm's database",
        "Another machine's rpm may hang or fail on locks that nobody holds.",
        "rpm documentation, Recovering the database; virt-sysprep(1) rpm-db",
        (Absent("var/lib/rpm/__db*", "usr/lib/sysimage/rpm/__db*", "var/lib/rpm/.dbenv.lock"),),
    ),
    Row(
        "bootstrap-repositories",
        Severity.LEFTOVER,
        "repositories that only the builder can reach",
        "Every update fails, or asks a server that answers on that name in another network.",
        "sources.list(5), dnf.conf(5)",
        (
            AbsentWith(
                ("etc/yum.repos.d/*.repo",), rf"^[[:space:]]*(baseurl|mirrorlist).*{_LOCAL}"
            ),
            Lines(
                ("etc/apt/sources.list", "etc/apt/sources.list.d/*.list"),
                rf"^[[:space:]]*deb(-src)?[[:space:]].*{_LOCAL}",
            ),
            AbsentWith(("etc/apt/sources.list.d/*.sources",), rf"^URIs:.*{_LOCAL}"),
        ),
    ),
    Row(
        "replaced-configuration",
        Severity.LEFTOVER,
        "files that an update put aside",
        "They belong to the build's order of steps, and may hold what was meant to be replaced.",
        "dpkg(1) --force-confnew, rpm(8) CONFIGURATION",
        (
            Nowhere(
                ("etc",),
                _ASIDE,
            ),
        ),
    ),
    Row(
        "package-backups",
        Severity.LEFTOVER,
        "older states of package databases",
        "Room, and the order in which the image was made.",
        "dpkg(1), debconf(7)",
        (
            Absent(
                "var/lib/dpkg/*-old",
                "var/lib/dpkg/updates/*",
                "var/cache/debconf/*-old",
                "var/backups/*",
            ),
        ),
    ),
    Row(
        "build-shortcuts",
        Severity.LEFTOVER,
        "settings that make a build fast or quiet",
        "Packages written without fsync are lost with the power; services do not start.",
        "dpkg(1) --force-unsafe-io; invoke-rc.d(8), policy-rc.d; eatmydata(1)",
        (
            AbsentWith(("etc/dpkg/dpkg.cfg.d/*",), r"^[[:space:]]*force-unsafe-io"),
            AbsentWith(("etc/apt/apt.conf.d/*",), r"(eatmydata|AllowInsecureRepositories)"),
            Lines(("etc/ld.so.preload",), r"eatmydata"),
            Absent("usr/sbin/policy-rc.d", "usr/bin/qemu-*-static", "usr/sbin/*.REAL"),
        ),
    ),
)
