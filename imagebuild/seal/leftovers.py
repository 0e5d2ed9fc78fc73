"""Rows: traces of the time before the image was finished."""

from imagebuild.seal.row import Row, Severity
from imagebuild.seal.rules import Absent, Emptied, Hollow, Nowhere

_RECORDS = ("wtmp", "btmp", "lastlog", "faillog", "tallylog")
"""They must exist with the right owner, or nothing is recorded (login(1), pam_lastlog(8))."""

_BUILDER_TOOLS = (
    *("dib-*", "cache-url", "extract-image", "fix_shm", "unfix_shm", "install-packages"),
    *("map-packages", "map-services", "package-installs*", "package-uninstalls*", "pkg-map"),
    *("svc-map", "select-boot-kernel-initrd", "sysctl-set-value", "sysctl-write-value"),
)
"""What diskimage-builder's elements have in their `bin`; it is copied into the image."""

ROWS = (
    Row(
        "logs",
        Severity.LEFTOVER,
        "logs",
        "They name the builder, its network and its mistakes.",
        "virt-sysprep(1) logfiles, pacct-log, sssd-db-log; systemd.io/BUILDING_IMAGES",
        (
            Emptied(*(f"var/log/{name}" for name in _RECORDS)),
            Hollow("var/log", keep=("README", *_RECORDS), empty=True),
            Absent("var/lib/logrotate.status", "var/lib/logrotate/*"),
            Absent("root/install.log*", "root/anaconda-*", "root/*-ks.cfg"),
            Hollow("var/named/data"),
            Absent("var/account/pacct*"),
        ),
    ),
    Row(
        "journals",
        Severity.LEFTOVER,
        "systemd's journals",
        "Their folder is named by the builder's machine id.",
        "systemd-journald.service(8)",
        (Absent("var/log/journal/*", "run/log/journal"),),
    ),
    Row(
        "login-records",
        Severity.LEFTOVER,
        "records of logins",
        "Who was logged in on the builder, and accounts locked there.",
        "utmp(5), faillock(8); virt-sysprep(1) utmp, pam-data",
        (
            Absent("run/utmp", "var/run/utmp", "var/run/faillock/*", "var/run/sepermit/*"),
            Absent("var/run/console/*", "var/lib/faillock/*"),
            Hollow("var/lib/AccountsService/users", "var/lib/fprint", "var/lib/lastlog"),
        ),
    ),
    Row(
        "mail-spools",
        Severity.LEFTOVER,
        "mail",
        "Somebody's letters.",
        "virt-sysprep(1) mail-spool",
        (Hollow("var/mail", "var/spool/mail", "var/spool/clientmqueue", "var/spool/mqueue"),),
    ),
    Row(
        "job-spools",
        Severity.LEFTOVER,
        "jobs of cron and at, time stamps of anacron",
        "Jobs of the builder run everywhere, and the first daily jobs do not.",
        "crontab(1), at(1), anacron(8); virt-sysprep(1) cron-spool",
        (
            Hollow("var/spool/cron", "var/spool/at", "var/spool/atjobs", keep=(".SEQ",)),
            Hollow("var/spool/atspool"),
            Emptied("var/spool/anacron/*"),
            Hollow("var/lib/systemd/timers"),
        ),
    ),
    Row(
        "crash-dumps",
        Severity.SECRET,
        "dumps of crashed programs and kernels",
        "Memory of the builder.",
        "core(5), systemd-coredump(8), kdump.conf(5); virt-sysprep(1) abrt-data, crash-data",
        (
            Hollow("var/crash", "var/spool/abrt", "var/lib/systemd/coredump", "var/lib/kdump"),
            Absent("core", "core.[0-9]*", "root/core", "root/core.[0-9]*", "var/core/*"),
        ),
    ),
    Row(
        "temporary-files",
        Severity.LEFTOVER,
        "temporary files",
        "Whatever steps of the build left.",
        "systemd-tmpfiles(8); virt-sysprep(1) tmp-files",
        (Absent("tmp/*", "var/tmp/*"), Hollow("run")),
    ),
    Row(
        "editor-backups",
        Severity.LEFTOVER,
        "backup copies of editors",
        "They hold what somebody changed, secrets too.",
        "virt-sysprep(1) backup-files",
        (Nowhere(("etc", "root", "srv", "home", "var"), ("*.bak", "*~", ".*.sw[op]")),),
    ),
    Row(
        "account-backups",
        Severity.SECRET,
        "older copies of the account files",
        "They keep password hashes that were taken out of the files themselves.",
        "passwd(5), shadow(5); virt-sysprep(1) passwd-backups",
        (
            Absent(
                "etc/passwd-",
                "etc/shadow-",
                "etc/group-",
                "etc/gshadow-",
                "etc/subuid-",
                "etc/subgid-",
            ),
        ),
    ),
    Row(
        "caches",
        Severity.LEFTOVER,
        "caches that are made anew by themselves",
        "They differ from build to build.",
        "ldconfig(8), mandb(8), fc-cache(1); virt-sysprep(1) logfiles",
        (
            Hollow("var/cache/man", "var/cache/fontconfig", "var/cache/gdm"),
            Absent("var/cache/ldconfig/aux-cache", "root/.cache/*"),
        ),
    ),
    Row(
        "builder-records",
        Severity.LEFTOVER,
        "records and tools of the program that built the image",
        "Its environment names paths, users and sometimes secrets; its tools shadow the system's.",
        "diskimage-builder: elements manifests, base and package-installs; found in its images",
        (
            Absent(
                "etc/dib-manifests/dib_environment",
                "etc/dib-manifests/dib_arguments",
                *(f"usr/local/bin/{name}" for name in _BUILDER_TOOLS),
                "usr/share/pkg-map",
                "usr/share/svc-map",
                "opt/dib-python-virtualenv",
                "etc/dib_*",
                "root/.rpmmacros",
            ),
        ),
    ),
)
