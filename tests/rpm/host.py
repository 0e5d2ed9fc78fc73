"""A sandbox around an installed root, in which commands and units of packages run."""

import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template

import pytest

PATIENCE = 120.0
"""Seconds that one service has to be ready, on a machine that does other things, too."""


class Host:
    """One host with a network of its own; needs root, leaves no process."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._units: list[subprocess.Popen[bytes]] = []
        (root / "notify").mkdir(mode=0o755)
        read, write = os.pipe()
        self._sandbox = subprocess.Popen(
            [
                *("bwrap", "--bind", str(root), "/", "--dev", "/dev", "--proc", "/proc"),
                *("--perms", "1777", "--tmpfs", "/tmp", "--perms", "1777", "--tmpfs", "/dev/shm"),
                *("--tmpfs", "/run", "--unshare-pid", "--unshare-net"),
                *("--die-with-parent", "--info-fd", str(write), "sleep", "infinity"),
            ],
            pass_fds=[write],
            env={"PATH": "/usr/bin:/usr/sbin"},
        )
        os.close(write)
        with os.fdopen(read) as told:
            pid = json.load(told)["child-pid"]
        end = time.monotonic() + PATIENCE
        while not Path(f"/proc/{pid}/root/notify").exists():
            assert time.monotonic() < end, "the sandbox did not begin"
            time.sleep(0.05)
        self._enter = ["nsenter", f"--target={pid}", "--mount", "--net", "--pid"]
        self._enter += ["--root", "--"]

    def close(self) -> None:
        self._sandbox.kill()
        for process in [*self._units, self._sandbox]:
            process.wait(30)

    def run(self, *argv: str, user: str = "root", env: Mapping[str, str] | None = None) -> str:
        """The standard output of a command that must succeed."""
        done = subprocess.run(
            self._command(user, env or {}, argv), check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{argv}\n{done.stdout}\n{done.stderr}\n{self.logs()}"
        return done.stdout

    def start(self, unit: str, port: int | None = None) -> None:
        """Starts a unit as systemd would, and waits until it says that it is ready."""
        lines = (self.root / "usr/lib/systemd/system" / unit).read_text("utf-8").splitlines()
        said = dict(line.split("=", 1) for line in lines if re.match(r"[A-Z]\w+=", line))
        address = f"/notify/{unit}"
        env = self._environment(said)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
            ready.bind(str(self.root) + address)
            (self.root / f"notify/{unit}").chmod(0o777)
            argv = self._command(
                said.get("User", "root"),
                {**env, "NOTIFY_SOCKET": address},
                Template(said["ExecStart"]).safe_substitute(env).split(),
                said.get("SupplementaryGroups"),
            )
            with (self.root / "notify" / f"{unit}.log").open("wb") as log:
                process = subprocess.Popen(argv, stdout=log, stderr=log)
            self._units.append(process)
            if said.get("Type") == "notify":
                ready.settimeout(PATIENCE)
                try:
                    while b"READY=1" not in ready.recv(4096):
                        pass
                except TimeoutError:
                    pytest.fail(f"{unit} did not say that it is ready\n{self.logs()}")
        if port:
            self._wait_for(port, unit)
        assert process.poll() is None, f"{unit} ended\n{self.logs()}"

    def _environment(self, said: Mapping[str, str]) -> Mapping[str, str]:
        lines = [said["Environment"]] if "Environment" in said else []
        file = self.root / said.get("EnvironmentFile", "-").lstrip("-/")
        if file.is_file():
            lines += file.read_text("utf-8").splitlines()
        return {name: value.strip('"') for name, value in (line.split("=", 1) for line in lines)}

    def _wait_for(self, port: int, unit: str) -> None:
        probe = f"import socket; socket.create_connection(('127.0.0.1', {port}), 1).close()"
        end = time.monotonic() + PATIENCE
        argv = self._command("root", {}, ("python3", "-c", probe))
        while subprocess.run(argv, check=False, capture_output=True).returncode:
            assert time.monotonic() < end, f"{unit} does not listen on {port}\n{self.logs()}"
            time.sleep(0.2)

    def _command(
        self,
        user: str,
        env: Mapping[str, str],
        argv: Sequence[str],
        groups: str | None = None,
    ) -> list[str]:
        home = "/root" if user == "root" else f"/var/lib/{user}"
        words = {"PATH": "/usr/bin:/usr/sbin", "HOME": home, "LC_ALL": "C.UTF-8", **env}
        return [
            *self._enter,
            *("setpriv", f"--reuid={user}", f"--regid={user}"),
            f"--groups={groups}" if groups else "--init-groups",
            *("env", "--chdir=/", "-i", *(f"{name}={value}" for name, value in words.items())),
            *argv,
        ]

    def logs(self) -> str:
        """The ends of all logs."""
        found = [*self.root.glob("var/log/*/*.log"), *self.root.glob("notify/*.log")]
        return "\n".join(f"== {f.name}\n" + f.read_text("utf-8", "replace")[-1500:] for f in found)
