"""A PostgreSQL server of the tests' own: an unprivileged user, a unix socket, fsync on."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import psycopg

from tests.tools import missing

_numbers = count(1)


def find_binaries() -> Path:
    """The folder of `initdb`, `pg_ctl` and `postgres`, of the newest installed version."""
    versions = Path("/usr/lib/postgresql")
    folders = sorted(versions.glob("*/bin"), key=lambda path: float(path.parent.name), reverse=True)
    if found := shutil.which("initdb"):
        folders.append(Path(found).resolve().parent)
    for folder in folders:
        if all((folder / name).exists() for name in ("initdb", "pg_ctl", "postgres")):
            return folder
    return missing("PostgreSQL's server is not installed; it is in the package postgresql")


@dataclass(frozen=True, slots=True)
class Postgresql:
    """A running server."""

    binaries: Path
    folder: Path
    """Holds the data and the socket."""
    user: str | None
    """Whom the server runs as when we are root; None: as ourselves."""

    @property
    def superuser(self) -> str:
        """The database's own administrator."""
        return "tester"

    def make_database(self) -> str:
        """A new, empty database; returns its SQLAlchemy URL."""
        name = f"t{next(_numbers)}"
        with psycopg.connect(
            host=str(self.folder), user=self.superuser, dbname="postgres", autocommit=True
        ) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return f"postgresql://{self.superuser}@/{name}?host={self.folder}"

    def run(self, program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs as the unprivileged user."""
        log = self.folder / "output"
        with log.open("ab") as output:
            done = subprocess.run(
                [str(self.binaries / program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                user=self.user,
                group=pwd.getpwnam(self.user).pw_gid if self.user else None,
                extra_groups=[] if self.user else None,
                env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
                check=False,
                timeout=60,
            )
        assert done.returncode == 0, log.read_text()

    def start(self) -> None:
        """Start the server and wait until it takes connections."""
        # No TCP: what the tests start must not be reachable from elsewhere.
        options = f"-c listen_addresses= -c unix_socket_directories={self.folder} -c fsync=on"
        data = str(self.folder / "data")
        self.run("pg_ctl", "-D", data, "-l", "log", "-w", "-o", options, "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop the server; mode `immediate` is a crash: no checkpoint, recovery at start."""
        self.run("pg_ctl", "-D", str(self.folder / "data"), "-w", "-m", mode, "stop")


@contextmanager
def postgresql() -> Iterator[Postgresql]:
    """A server that lives as long as the block, and nothing of it afterwards."""
    binaries = find_binaries()
    user = None
    if os.geteuid() == 0:
        names = {entry.pw_name for entry in pwd.getpwall()}
        user = "postgres" if "postgres" in names else "nobody"
    # Not pytest's own folder: a socket's path has 107 characters at most, and root's are closed.
    with tempfile.TemporaryDirectory(prefix="rackseed-pg-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        if user:
            shutil.chown(folder, user)
        server = Postgresql(binaries, folder, user)
        server.run(
            "initdb",
            "-D",
            str(folder / "data"),
            "-U",
            server.superuser,
            "-A",
            "trust",
            "-E",
            "UTF8",
        )
        server.start()
        try:
            yield server
        finally:
            server.stop("immediate")
