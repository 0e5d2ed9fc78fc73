"""A rack with its boot server: our own program serves, the machines do what installers do.

    server: wire0 10.9.0.1 ==+== br0 ==+== ctl01: eth0 10.9.0.11
                                       +== cmp01: eth0 10.9.0.12

A third one with GPUs is in the inventory alone: the controller is to know of them.

Anaconda itself does not run. What it does around our scripts is done here: packages of %packages
are installed, the administrator is made, every %post runs in the new root, and the kickstart is
left where it leaves it.
"""

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from kickstarts.validate import read
from provision.run import run, start
from rpmspecs.repo import Change, publish, write_release
from rpmspecs.running import Programs
from rpmspecs.signing import make_key, open_key
from tests.cloud.machine import Machine
from tests.fixture_distribution import packages
from tests.fixture_distribution.root import Root
from tests.lab import Lab, Namespace
from tests.tools import require_tool

CACHE = packages.folder().with_name("fixture-serve")
"""The boot server's own, which takes a while to fill."""
PROGRAMS = Programs(run, start)
SYSTEM = "fedora-43"
"""Whose kickstart is rendered: its cloud is of our own packages alone, as the fixture's is."""
ADDRESSES = {"ctl01": "10.9.0.11", "cmp01": "10.9.0.12"}
MACS = {"ctl01": "52:54:00:09:00:11", "cmp01": "52:54:00:09:00:12"}
SERVER = "http://10.9.0.1"
PACKAGES = f"{SERVER}/rpm/{SYSTEM}"

PASSWORD_HASH = "$6$saltsalt$" + "A" * 86

INVENTORY = f"""\
network: {{interface: wire0, subnet: 10.9.0.0/24}}
cloud: {{domain: cloud.example.org, controller: ctl01}}
administrators:
  ada: {{ssh_keys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBHAaD0y3vMjwUX2h8GnZ1rGv7W0hGgJmJzBqkEeuA3q]}}
  grace: {{password: "{PASSWORD_HASH}"}}
secrets: secrets.yaml
store: sqlite:///rack.db
systems: {{{SYSTEM}: {{kernel: vmlinuz, initrd: initrd.img, packages: rpm}}}}
roles:
  controller: {{install: kickstart, os: {SYSTEM}, metapackage: node-full}}
  gpu: {{extends: compute, metapackage: node-gpu, gpu_passthrough: [{{alias: K20m, vendor: 10de, product: "1028"}}]}}
  compute: {{install: kickstart, os: {SYSTEM}, metapackage: node-compute, options: {{virt_type: qemu}}}}
racks:
  r1:
    ctl01: {{mac: "{MACS["ctl01"]}", address: {ADDRESSES["ctl01"]}, role: controller}}
    cmp01: {{mac: "{MACS["cmp01"]}", address: {ADDRESSES["cmp01"]}, role: compute}}
    gpu01: {{mac: 52:54:00:09:00:13, address: 10.9.0.13, role: gpu}}
"""  # noqa: E501

OF_THE_CORE = ("dbus", "dnf", "policycoreutils", "sudo")
"""What Fedora's group `core` has and the fixture's has not."""
NOT_OF_FEDORA = (
    "systemd-firstboot.service",
    "systemd-networkd.service",
    "systemd-networkd.socket",
    "systemd-networkd-wait-online.service",
)
"""What Debian's systemd starts and Fedora's does not; the network is there before it begins."""
CLOCK_OF_THE_FIXTURE = """\
[Service]
# The clock is the kernel's, which other machines share.
ExecStart=
ExecStart=/usr/sbin/chronyd -n -x -f /etc/chrony.conf -u chrony
"""


class Rack:
    """A boot server that serves, and the machines of its inventory."""

    def __init__(self, lab: Lab, folder: Path, mirrors: Mapping[str, Path]) -> None:
        self.folder = folder
        self.mirrors = mirrors
        """What stands for the mirrors of the distribution."""
        self.server = lab.namespace("server")
        self.hosts: dict[str, Namespace] = {}
        switch = lab.namespace("switch")
        switch.bridge("br0")
        lab.plug(self.server, "wire0", switch, "br0")
        self.server.address("wire0", "10.9.0.1/24")
        for name, address in ADDRESSES.items():
            self.hosts[name] = lab.namespace(name)
            lab.plug(self.hosts[name], "eth0", switch, "br0")
            self.hosts[name].address("eth0", f"{address}/24")
        (folder / "artifacts").mkdir(parents=True)
        (folder / "rack.yaml").write_text(INVENTORY)
        (folder / "secrets.yaml").touch(0o600)
        self.rackseed("secrets", "init")

    def rackseed(self, *words: str) -> str:
        """The output of a command of ours."""
        code = "from provision.cli.main import main; main()"
        argv = [sys.executable, "-c", code, *words, "-i", str(self.folder / "rack.yaml")]
        return self.server.run(argv, timeout=120)

    def publish(self, packages: Sequence[Path], build: Callable[[Path], Path]) -> None:
        """Publish packages, and the one that names their repository to hosts."""
        key = make_key("Fixture <fixture@example.org>", self.folder / "gnupg", PROGRAMS)
        with open_key(key.fingerprint, [key.home], PROGRAMS) as signer:
            release = self.folder / "rackseed-release"
            write_release(release, PACKAGES, signer.public_key(), datetime.now(UTC))
            add = (*packages, build(release))
            publish(Change(add, url=PACKAGES), self.folder / "rpm", signer, PROGRAMS)

    def serve(self) -> None:
        """Start the boot server."""
        argv = [sys.executable, "-c", "from provision.cli.main import main; main()", "serve"]
        argv += ["-i", str(self.folder / "rack.yaml"), "--cache", str(CACHE)]
        self.server.start(argv, log="serve").wait_for("serving 10.9.0.1", timeout=240)

    @property
    def secrets(self) -> dict[str, str]:
        """What the cloud's services know each other by."""
        lines = (self.folder / "secrets.yaml").read_text().splitlines()
        return dict(line.split(": ") for line in lines)

    def state(self, host: str) -> str:
        """The host's state as the boot server has it."""
        listed = json.loads(self.rackseed("status", host, "--json"))
        return str(listed[0]["state"])

    def fetch_kickstart(self, host: str) -> str:
        """Arm the host and fetch its kickstart as its firmware and its installer would."""
        self.rackseed("arm", host)
        curl = [require_tool("curl"), "--silent", "--show-error", "--fail"]
        script = self.hosts[host].run([*curl, f"{SERVER}/ipxe/{MACS[host]}.ipxe"])
        found = re.search(r"inst\.ks=(\S+)", script)
        assert found, script
        return self.hosts[host].run([*curl, found[1]])

    def install(self, host: str) -> Machine:
        """Do what Anaconda does with the host's kickstart; the machine was not started yet."""
        kickstart = self.fetch_kickstart(host)
        machine = Machine(
            f"{host}.cloud.example.org",
            self.hosts[host],
            [self._packages(packages_of(kickstart))],
            self.folder / host,
        )
        reading = read(kickstart, f"F{SYSTEM.rpartition('-')[2]}")
        assert reading.findings == ()
        prepare(machine.upper, machine.name)
        for user in ("ada", "grace"):
            machine.chroot("useradd", "--create-home", "--groups", "sudo", user)
        sections = [script for script in reading.scripts if script.section == "%post"]
        for number, script in enumerate(sections):
            file = machine.upper / f"tmp/ks-script-{number}"
            file.parent.mkdir(exist_ok=True)
            file.write_text(script.text)
            binds = {folder: f"/srv/{name}" for name, folder in self.mirrors.items()}
            log = machine.chroot(script.interpreter, f"/tmp/{file.name}", binds=binds)
            file.unlink()
            (machine.upper / f"root/rackseed-post-{number}.log").write_text(log)
        leave_traces(machine.upper, kickstart)
        return machine

    def _packages(self, listed: Sequence[str]) -> Path:
        """A root with the packages of a kickstart, made once for all hosts that list the same."""
        folder = self.folder / "packages"
        if not folder.exists():
            root = Root(folder, self.mirrors)
            root.install(*listed, *OF_THE_CORE)
            for name in self.mirrors:
                file = root.path / f"etc/yum.repos.d/{name}.repo"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(f"[{name}]\nname={name}\nbaseurl=file:///srv/{name}\ngpgcheck=0\n")
            (root.path / "listed").write_text("\n".join(listed))
        assert (folder / "root/listed").read_text().split() == list(listed)
        return folder / "root"


def packages_of(kickstart: str) -> list[str]:
    """What %packages lists."""
    (section,) = re.findall(r"^%packages\n(.*?)^%end", kickstart, re.MULTILINE | re.DOTALL)
    return section.split()


def prepare(upper: Path, name: str) -> None:
    """What Anaconda writes of the kickstart's commands, and what the fixture lacks of a kernel."""
    units = upper / "etc/systemd/system"
    (units / "chronyd.service.d").mkdir(parents=True)
    (units / "chronyd.service.d/fixture.conf").write_text(CLOCK_OF_THE_FIXTURE)
    for unit in NOT_OF_FEDORA:
        (units / unit).symlink_to("/dev/null")
    (upper / "etc/hostname").write_text(f"{name}\n")
    (upper / "etc/machine-id").write_text("uninitialized\n")
    (upper / "root").mkdir(mode=0o700)


def leave_traces(upper: Path, kickstart: str) -> None:
    """Where Anaconda keeps the kickstart, and its logs what they saw of it."""
    for name in ("anaconda-ks.cfg", "original-ks.cfg"):
        (upper / "root" / name).write_text(kickstart)
    (upper / "var/log/anaconda").mkdir(parents=True)
    (upper / "var/log/anaconda/anaconda.log").write_text(kickstart)
    (upper / "root/.bash_history").write_text("export OS_PASSWORD=typed-by-hand\n")


def operators_own(machine: Machine, text: str) -> None:
    """A file of Nova's beside ours, as an operator may have."""
    folder = machine.upper / "etc/nova/nova.conf.d"
    folder.mkdir(parents=True)
    (folder / "operator.conf").write_text(text)
