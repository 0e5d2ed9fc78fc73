"""The laboratory itself: what others build on must be cleaned up, also after a failure."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pyroute2 import netns

from tests.lab import Lab, remove_abandoned, wait_until
from tests.tools import require_root, require_tool


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie that nobody waits for does not."""
    try:
        return ") Z " not in Path("/proc", str(pid), "stat").read_text()
    except FileNotFoundError:
        return False


def test_machines_on_a_bridge_reach_each_other_at_once():
    ping = require_tool("busybox", package="busybox-static")
    with Lab() as lab:
        server, client, switch = (lab.namespace(name) for name in ("server", "client", "switch"))
        switch.bridge("br0")
        lab.plug(server, "wire0", switch, "br0", mac="02:00:00:00:00:01")
        lab.plug(client, "eth0", switch, "br0")
        server.address("wire0", "10.9.0.1/24")
        client.address("eth0", "10.9.0.2/24")
        assert "1 packets received" in client.run([ping, "ping", "-c1", "-W2", "10.9.0.1"])
        assert server.mac("wire0") == "02:00:00:00:00:01"


def test_nothing_is_left_after_a_failure():
    lab = Lab()
    started = []

    def fail() -> None:
        with lab:
            machine = lab.namespace("machine")
            daemon = machine.start(["sh", "-c", "setsid sleep 1000 & echo $!; sleep 1000"])
            started.extend((machine.name, daemon, int(daemon.wait_for(r"(\d+)\n")[1])))
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        fail()
    name, daemon, escaped = started
    assert not daemon.running
    wait_until(lambda: not is_alive(escaped), "the program has ended")
    assert name not in netns.listnetns()
    assert not lab.folder.exists()


def test_a_killed_test_run_is_cleaned_up_by_the_next():
    require_root()
    program = (
        "import os, signal; from tests.lab import Lab\n"
        "with Lab() as lab:\n"
        "    machine = lab.namespace('machine')\n"
        "    print(machine.name, machine.start(['sleep', '1000']).pid, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE, text=True, check=False, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    name, pid = killed.stdout.split()
    assert name in netns.listnetns()
    remove_abandoned()
    assert name not in netns.listnetns()
    wait_until(lambda: not is_alive(int(pid)), "the program has ended")


def test_a_missing_tool_fails_in_ci_and_skips_elsewhere(monkeypatch):
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="package nothing-such"):
        require_tool("no-such-tool", package="nothing-such")
    monkeypatch.delenv("CI")
    with pytest.raises(pytest.skip.Exception, match="package nothing-such"):
        require_tool("no-such-tool", package="nothing-such")
    assert os.access(require_tool("sh"), os.X_OK)
