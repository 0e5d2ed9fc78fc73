"""A network laboratory for tests: namespaces, cables and bridges that vanish with the `with`.

    with Lab() as lab:                         namespace "server"        namespace "client"
        server = lab.namespace("server")      +------------------+      +------------------+
        client = lab.namespace("client")      | wire0            |      | eth0             |
        lab.cable(server, "wire0",            | 10.9.0.1/24  o===|======|===o  (no address)|
                  client, "eth0")             |                  | veth |                  |
        server.address("wire0",               | start([...])     |      | run([...])       |
                       "10.9.0.1/24")         +------------------+      +------------------+

More machines hang on a bridge, itself in any namespace:

        switch = lab.namespace("switch")            server     client     relay
        switch.bridge("br0")                           |          |         |
        lab.plug(server, "wire0", switch, "br0")       |          |         |
        lab.plug(client, "eth0", switch, "br0")        +-------- br0 -------+    in "switch"

Each namespace has one thread of this process inside it. `call` runs a function there, so sockets
and netlink of the test itself work in any namespace, also while an asyncio loop runs; programs are
children of that thread and therefore inside too. All netlink goes through pyroute2.
"""

import ctypes
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from pyroute2 import IPRoute, netns

from tests.tools import require_root

T = TypeVar("T")

NAMESPACE_NAME = re.compile(r"rackseed-lab-(?P<pid>\d+)-\d+-\w+")
CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def setns(file: int) -> None:
    """Move the calling thread into a network namespace (os.setns comes with Python 3.12)."""
    if _libc.setns(file, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns failed")


class Process:
    """A program that runs in a namespace until it is stopped; its output is in a file."""

    def __init__(self, argv: Sequence[str], popen: subprocess.Popen[bytes], log: Path) -> None:
        self.argv = tuple(argv)
        self.popen = popen
        self.log = log

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def output(self) -> str:
        """Everything that it wrote so far, both streams."""
        return self.log.read_text(errors="replace")

    @property
    def running(self) -> bool:
        return self.popen.poll() is None

    def wait_for(self, pattern: str, timeout: float = 10) -> re.Match[str]:
        """Wait until its output matches; AssertionError with the output when it does not."""
        end = time.monotonic() + timeout
        while True:
            ended = not self.running
            if match := re.search(pattern, self.output):
                return match
            if ended or time.monotonic() > end:
                state = f"ended with {self.popen.returncode}" if ended else "still runs"
                raise AssertionError(
                    f"{shlex.join(self.argv)} {state} and never wrote {pattern!r}:\n{self.output}"
                )
            time.sleep(0.02)

    def wait(self, timeout: float = 10) -> int:
        """Wait until it ends by itself; returns its exit status."""
        return self.popen.wait(timeout)

    def signal(self, name: str) -> None:
        """Send it a signal: `SIGUSR1`."""
        self.popen.send_signal(signal.Signals[name])

    def stop(self, timeout: float = 5) -> int:
        """Ask it to end, and kill it with all that it started when it does not."""
        if self.running:
            self.popen.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.popen.wait(timeout)
        self.kill()
        return self.popen.returncode

    def kill(self) -> None:
        """Kill it and all that it started in its session."""
        with suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait(5)


class Namespace:
    """One network namespace with a thread of ours in it."""

    def __init__(self, label: str, name: str, folder: Path) -> None:
        self.label = label
        self.name = name
        self.folder = folder
        """Private scratch space."""
        self.path = Path(netns.NETNS_RUN_DIR) / name
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._processes: list[Process] = []
        folder.mkdir()
        netns.create(name)
        try:
            self._thread.submit(self._enter).result()
        except BaseException:
            netns.remove(name)
            raise
        self.up("lo")

    def _enter(self) -> None:
        file = os.open(self.path, os.O_RDONLY)
        try:
            setns(file)
        finally:
            os.close(file)
        self._netlink = IPRoute()

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run a function in this namespace; sockets that it makes stay there."""
        return self._thread.submit(function, *arguments).result()

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Have the calling thread in this namespace for a while."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(self.path, os.O_RDONLY)
        try:
            setns(there)
            try:
                yield
            finally:
                setns(home)
        finally:
            os.close(there)
            os.close(home)

    def index(self, interface: str) -> int:
        """The interface's number; LookupError when there is none of that name."""
        if found := self.call(lambda: list(self._netlink.link_lookup(ifname=interface))):
            return int(found[0])
        raise LookupError(f"{self.label} has no interface {interface}")

    def link(self, verb: str, **facts: Any) -> None:
        """Any `link` request of pyroute2."""
        self.call(lambda: self._netlink.link(verb, **facts))

    def up(self, interface: str) -> None:
        self.link("set", index=self.index(interface), state="up")

    def down(self, interface: str) -> None:
        self.link("set", index=self.index(interface), state="down")

    def delete(self, interface: str) -> None:
        self.link("del", index=self.index(interface))

    def mac(self, interface: str) -> str:
        """The hardware address, lower case with colons."""
        index = self.index(interface)
        (link,) = self.call(lambda: list(self._netlink.get_links(index)))
        return str(link.get("address"))

    def bridge(self, name: str, *ports: str) -> None:
        """A bridge that forwards at once: no spanning tree, no forward delay."""
        self.link("add", ifname=name, kind="bridge", br_stp_state=0, br_forward_delay=0)
        self.up(name)
        for port in ports:
            self.link("set", index=self.index(port), master=self.index(name), state="up")

    def address(self, interface: str, address: str, verb: str = "add") -> None:
        """Add (or with `del` remove) an address with its prefix length: `10.9.0.1/24`."""
        index, wanted = self.index(interface), ip_interface(address)
        facts: dict[str, Any] = {}
        if wanted.version == 4 and verb == "add":
            facts["broadcast"] = str(wanted.network.broadcast_address)
        self.call(
            lambda: self._netlink.addr(
                verb, index=index, address=str(wanted.ip), prefixlen=wanted.network.prefixlen,
                **facts,
            )
        )  # fmt: skip

    def addresses(self, interface: str, version: int = 4) -> set[IPv4Interface | IPv6Interface]:
        """All addresses of one IP version that the interface has."""
        index = self.index(interface)
        family = {4: 2, 6: 10}[version]
        return {
            ip_interface(f"{found.get('address')}/{found['prefixlen']}")
            for found in self.call(lambda: list(self._netlink.get_addr(family=family, index=index)))
        }

    def route(self, gateway: str, network: str = "default") -> None:
        self.call(lambda: self._netlink.route("add", dst=network, gateway=gateway))

    def default_gateways(self, version: int = 4) -> set[str]:
        """Where packets for the rest of the world would go."""
        family = {4: 2, 6: 10}[version]
        routes = self.call(lambda: list(self._netlink.get_default_routes(family=family)))
        return {str(route.get("gateway")) for route in routes}

    def sysctl(self, name: str, value: int | str) -> None:
        """Set a kernel setting of this namespace: `net.ipv4.ip_forward`."""
        file = Path("/proc/sys", *name.split("."))
        self.call(file.write_text, f"{value}\n")

    def start(
        self,
        argv: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        binds: Mapping[str | Path, str | Path] | None = None,
        log: str | None = None,
    ) -> Process:
        """Start a program that is killed at the end, whatever happens, also to this process.

        `binds` maps targets to sources that lie over them, in a mount namespace of its own;
        an existing file or folder is needed on both sides. `env` is added to ours.
        """
        words = [str(word) for word in argv]
        file = self.folder / f"{len(self._processes):02}-{log or Path(words[0]).name}.log"
        whole = ["setpriv", "--pdeathsig", "KILL", "--", *_under_mounts(words, binds or {})]
        with file.open("wb") as output:
            popen: subprocess.Popen[bytes] = self.call(
                lambda: subprocess.Popen(
                    whole, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                    env={**os.environ, **(env or {})}, cwd=self.folder, start_new_session=True,
                )
            )  # fmt: skip
        process = Process(words, popen, file)
        self._processes.append(process)
        return process

    def run(
        self,
        argv: Sequence[str | Path],
        *,
        timeout: float = 20,
        status: int | None = 0,
        env: Mapping[str, str] | None = None,
        binds: Mapping[str | Path, str | Path] | None = None,
    ) -> str:
        """Run a program to its end; returns what it wrote.

        AssertionError when it takes longer than `timeout` seconds or, unless `status` is None,
        ends with another exit status.
        """
        process = self.start(argv, env=env, binds=binds)
        try:
            found = process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"{shlex.join(process.argv)} did not end in {timeout} s:\n{process.output}"
            ) from None
        finally:
            process.kill()
        if status is not None and found != status:
            raise AssertionError(
                f"{shlex.join(process.argv)} ended with {found}, not {status}:\n{process.output}"
            )
        return process.output

    def close(self) -> None:
        """Kill what runs inside and remove the namespace with its interfaces."""
        for process in reversed(self._processes):
            process.kill()
        for pid in netns.ns_pids().get(self.name, []):
            if pid != os.getpid():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        with suppress(AttributeError):
            self.call(self._netlink.close)
        self._thread.shutdown()
        netns.remove(self.name)


def _under_mounts(argv: list[str], binds: Mapping[str | Path, str | Path]) -> list[str]:
    if not binds:
        return argv
    mounts = "".join(
        f"mount --bind {shlex.quote(str(source))} {shlex.quote(str(target))} && "
        for target, source in binds.items()
    )
    return ["unshare", "--mount", "--propagation", "private", "--",
            "sh", "-c", f"{mounts}exec {shlex.join(argv)}"]  # fmt: skip


class Lab:
    """Makes namespaces and cables, and takes all of them away at the end of its `with`."""

    def __init__(self) -> None:
        self._number = 0
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        require_root()
        remove_abandoned()
        self.folder = Path(tempfile.mkdtemp(prefix=f"rackseed-lab-{os.getpid()}-"))
        self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def namespace(self, label: str) -> Namespace:
        """A new namespace with nothing but a loopback interface; `label` is a word."""
        self._number += 1
        name = f"rackseed-lab-{os.getpid()}-{_next_number()}-{label}"
        made = Namespace(label, name, self.folder / f"{self._number}-{label}")
        self._stack.callback(made.close)
        return made

    def cable(
        self,
        left: Namespace,
        left_interface: str,
        right: Namespace,
        right_interface: str,
        *,
        left_mac: str | None = None,
        right_mac: str | None = None,
    ) -> None:
        """Join two namespaces by a veth pair; both ends are up."""
        facts = {"address": left_mac} if left_mac else {}
        peer = {"ifname": right_interface, "net_ns_fd": str(right.path)}
        if right_mac:
            peer["address"] = right_mac
        left.link("add", ifname=left_interface, kind="veth", peer=peer, **facts)
        left.up(left_interface)
        right.up(right_interface)

    def plug(
        self,
        machine: Namespace,
        interface: str,
        switch: Namespace,
        bridge: str,
        *,
        mac: str | None = None,
    ) -> str:
        """Join a machine to a bridge; returns the name of the bridge's port."""
        port = f"port{_next_number()}"
        self.cable(machine, interface, switch, port, left_mac=mac)
        switch.link("set", index=switch.index(port), master=switch.index(bridge))
        return port


_numbers = iter(range(1, 1 << 31))


def _next_number() -> int:
    return next(_numbers)


def remove_abandoned() -> None:
    """Remove namespaces and folders of test processes that were killed before they could."""
    for folder in Path(tempfile.gettempdir()).glob("rackseed-lab-*-*"):
        if not Path("/proc", folder.name.split("-")[2]).exists():
            shutil.rmtree(folder, ignore_errors=True)
    for name in netns.listnetns():
        match = NAMESPACE_NAME.fullmatch(name)
        if match and not Path("/proc", match["pid"]).exists():
            for pid in netns.ns_pids().get(name, []):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            with suppress(OSError):
                netns.remove(name)


def wait_until(condition: Callable[[], bool], what: str, timeout: float = 10) -> None:
    """Wait for something that cannot be awaited; AssertionError naming `what` when it fails."""
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout} s: {what}")
        time.sleep(0.02)
