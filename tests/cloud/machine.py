"""Machines of a test: an installed root over layers, started by its own systemd.

A machine has namespaces of its own for mounts, processes, names, control groups and network; it
shares the kernel with everything else. Its first process is the fixture distribution's systemd
(Debian's), so units run as they are written. What a kernel of its own would bring is missing:
the clock, kernel modules, SELinux.
"""

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tests.lab import Namespace, Process
from tests.tools import missing

ENTER = Path(__file__).with_name("enter.sh")
SYSTEMD = ("/usr/lib/systemd/systemd", "--system", "--unit=multi-user.target")
START_S = 60
"""Seconds that systemd has until it takes requests."""


class Machine:
    """A root of several layers, which runs programs or boots; nothing runs at the beginning."""

    def __init__(
        self, name: str, namespace: Namespace, layers: Sequence[Path], folder: Path
    ) -> None:
        self.name = name
        self.namespace = namespace
        self.layers = tuple(layers)
        """Below the machine's own, the topmost first."""
        self.folder = folder
        self.upper = folder / "upper"
        """What this machine wrote."""
        self._booted: Process | None = None
        self._group: Path | None = None
        self._started = 0
        folder.mkdir(parents=True, exist_ok=True)

    def chroot(
        self, *argv: str, binds: Mapping[Path, str] | None = None, timeout: float = 600
    ) -> str:
        """Run a program in the root as an installer does, with no systemd about.

        Its output; AssertionError with it when the program fails.
        """
        assert self._booted is None, f"{self.name} runs"
        process = self._enter(binds or {}, argv)
        try:
            status = process.wait(timeout)
        finally:
            process.kill()
            self._forget_group()
        assert status == 0, f"{argv} ended with {status}:\n{process.output}"
        return process.output

    def boot(self, binds: Mapping[Path, str] | None = None) -> None:
        """Start it; returns when its systemd takes requests, before the units have started."""
        assert self._booted is None, f"{self.name} runs already"
        self._booted = self._enter(binds or {}, ("--volatile", *SYSTEMD))
        ask = ("systemctl", "show", "--property=Version")
        self.wait_for(lambda: self.try_run(*ask).returncode == 0)

    def kill(self) -> None:
        """End every process at once. The kernel's caches stay: a cut of power takes more."""
        assert self._booted is not None, f"{self.name} does not run"
        self._booted.kill()
        self._booted = None
        self._forget_group()

    def close(self) -> None:
        if self._booted is not None:
            self.kill()

    @property
    def root(self) -> Path:
        """The running machine's files, as it sees them."""
        return Path(f"/proc/{self._first_process()}/root")

    def try_run(
        self, *argv: str, env: Mapping[str, str] | None = None, text: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """A program in the running machine, as root, with `text` for its standard input."""
        words = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin", "HOME": "/root"}
        words |= {"LC_ALL": "C.UTF-8", **(env or {})}
        enter = ["nsenter", f"--target={self._first_process()}", "--root", "--wdns=/"]
        enter += ["--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup", "--"]
        inside = ["env", "-i", *(f"{name}={value}" for name, value in words.items()), *argv]
        return subprocess.run(
            [*enter, *inside], input=text or "", check=False, capture_output=True, text=True
        )

    def run(self, *argv: str, env: Mapping[str, str] | None = None, text: str | None = None) -> str:
        """The standard output of a program that must succeed."""
        done = self.try_run(*argv, env=env, text=text)
        assert done.returncode == 0, f"{self.name}: {argv}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def wait_for(self, done: Callable[[], bool], seconds: float = START_S) -> None:
        """Until it is so; AssertionError with the machine's last words when it does not come."""
        end = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < end, f"{self.name} is not ready\n{self.last_words()}"
            time.sleep(0.2)

    def last_words(self) -> str:
        """The ends of its journal and of the steps' log."""
        if self._booted is None or not self._booted.running:
            return self._booted.output[-3000:] if self._booted else "it does not run"
        journal = self.try_run("journalctl", "--no-pager", "--lines=60").stdout
        return journal + self.try_run("tail", "-n", "60", "/var/log/rackseed-steps.log").stdout

    def _enter(self, binds: Mapping[Path, str], argv: Sequence[str]) -> Process:
        self._started += 1
        self._group = control_group() / f"rackseed-{os.getpid()}-{self.name}-{self._started}"
        self._group.mkdir()
        work = self.folder / "work"
        layers = ":".join(map(str, self.layers))
        words = [str(ENTER), layers, str(self.upper), str(work), self.name]
        for source, target in binds.items():
            words += ["--bind", str(source), target]
        unshare = "unshare --mount --pid --uts --ipc --cgroup --fork --kill-child"
        script = f'echo $$ >"$0/cgroup.procs"; exec {unshare} --propagation private sh "$@"'
        return self.namespace.start(
            ["sh", "-eu", "-c", script, str(self._group), *words, *argv], log=self.name
        )

    def _first_process(self) -> int:
        assert self._booted is not None, f"{self.name} does not run"
        outside = self._booted.pid
        for _ in range(100):
            assert self._booted.running, f"{self.name} ended:\n{self._booted.output}"
            with suppress(OSError):
                children = Path(f"/proc/{outside}/task/{outside}/children").read_text().split()
                # The script that mounts comes before systemd under the same number.
                if children and "systemd" in str(Path(f"/proc/{children[0]}/exe").readlink()):
                    return int(children[0])
            time.sleep(0.1)
        raise AssertionError(f"{self.name} did not begin:\n{self._booted.output}")

    def _forget_group(self) -> None:
        """Remove the control groups that systemd made; they empty a moment after the kill."""
        if self._group is None:
            return
        for _ in range(100):
            remove_group(self._group)
            if not self._group.exists():
                break
            time.sleep(0.05)
        assert not self._group.exists(), f"{self._group} is not empty"
        self._group = None


def remove_group(group: Path) -> None:
    """Remove a control group and those in it, as far as no process is left there."""
    folders = [path for path in group.rglob("*") if path.is_dir()]
    for folder in sorted([*folders, group], reverse=True):
        with suppress(OSError):
            folder.rmdir()


def remove_abandoned() -> None:
    """Remove the groups of tests that were killed; their machines ended with them."""
    for group in control_group().glob("rackseed-*-*"):
        if not Path("/proc", group.name.split("-")[1]).exists():
            remove_group(group)


def control_group() -> Path:
    """This process's own group in the one hierarchy that systemd takes."""
    mounts = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    found = [Path(words[1]) for words in mounts if words[2] == "cgroup2"]
    if not found:
        missing("no cgroup2 hierarchy is mounted: systemd cannot run")
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    (own,) = (line.removeprefix("0::/") for line in lines if line.startswith("0::/"))
    return found[0] / own
