"""A root folder that dnf installs the fixture distribution into, and programs run inside it."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

MOUNTED = ("/dev", "/proc", "/run", "/tmp")


class Root:
    """An installed root at `folder`, with the caches beside it; needs root, leaves no mount."""

    def __init__(self, folder: Path, repositories: Mapping[str, Path]) -> None:
        self.path = folder / "root"
        self._home = folder / "home"
        self._repositories = repositories
        self.path.mkdir(parents=True)
        (self._home / "log").mkdir(parents=True)
        (self._home / "dnf.conf").write_text("[main]\n", encoding="utf-8")
        # Debian's own place for the database is the user's home.
        (self._home / ".rpmmacros").write_text("%_dbpath /var/lib/rpm\n", encoding="utf-8")

    def dnf(self, *words: str) -> subprocess.CompletedProcess[str]:
        """dnf of the host on this root; its status and output."""
        argv = ["dnf", "--quiet", "--assumeyes", "--noplugins", "--releasever=1"]
        argv += [f"--installroot={self.path}", f"--config={self._home / 'dnf.conf'}"]
        for setting in (
            "install_weak_deps=False",
            "gpgcheck=False",
            "tsflags=nodocs",
            f"reposdir={self._home / 'none'}",
            f"cachedir={self._home / 'cache'}",
            f"logdir={self._home / 'log'}",
            f"persistdir={self._home / 'persist'}",
        ):
            argv.append(f"--setopt={setting}")
        for name, folder in self._repositories.items():
            argv.append(f"--repofrompath={name},{folder.as_uri()}")
        env = {**os.environ, "HOME": str(self._home), "LC_ALL": "C.UTF-8"}
        return subprocess.run([*argv, *words], env=env, check=False, capture_output=True, text=True)

    def own_dnf(self, *words: str) -> subprocess.CompletedProcess[str]:
        """The same by the repository file and the variables that the root itself has.

        dnf runs on this machine, so that the key's path, which is one of the root, is told again.
        """
        done = self.dnf(
            f"--setopt=reposdir={self.path}/etc/yum.repos.d",
            f"--setopt=varsdir={self.path}/etc/dnf/vars",
            f"--setopt=rackseed.gpgkey=file://{self.path}/etc/pki/rpm-gpg/RPM-GPG-KEY-rackseed",
            "--refresh",
            *words,
        )
        for keys in self._home.glob("cache/*/pubring"):  # dnf leaves their agents running
            subprocess.run(["gpgconf", "--homedir", keys, "--kill", "gpg-agent"], check=True)
        return done

    def install(self, *packages: str) -> None:
        """Install packages or `@groups`."""
        done = self.dnf("install", *packages)
        assert done.returncode == 0, done.stderr
        assert "scriptlet failed" not in done.stdout + done.stderr, done.stdout + done.stderr

    def run(
        self, *argv: str, env: Mapping[str, str] | None = None, network: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """One program inside the root, in namespaces of its own."""
        sandbox: Sequence[str] = (
            "bwrap",
            *("--bind", str(self.path), "/"),
            *("--dev", "/dev", "--proc", "/proc", "--tmpfs", "/run"),
            *("--perms", "1777", "--tmpfs", "/tmp"),
            "--unshare-pid",
            "--unshare-ipc",
            *("--unshare-uts", "--hostname", "localhost"),
            "--die-with-parent",
            *(() if network else ("--unshare-net",)),
        )
        inside = {"PATH": "/usr/bin:/usr/sbin", "HOME": "/root", "LC_ALL": "C.UTF-8", **(env or {})}
        return subprocess.run(
            [*sandbox, *argv], env=inside, check=False, capture_output=True, text=True
        )

    def altered(self) -> list[str]:
        """What `rpm --verify` finds, but for folders that the sandbox mounts over."""
        found = self.run("rpm", "--verify", "--all", "--nomtime").stdout.splitlines()
        return [line for line in found if line.split()[-1] not in MOUNTED]

    def check(self, *argv: str) -> str:
        """The standard output of a program that must succeed."""
        done = self.run(*argv)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout
