"""Hosts of guests with a real libvirt and QEMU: this machine's own programs, under their systemd.

The fixture distribution has no hypervisor. These machines have this machine's /usr, and of its
configuration nothing but what programs need to start; guests are software.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import kickstarts
from kickstarts.render import steps_of
from kickstarts.roles import roles
from kickstarts.roles.base import Cloud
from tests.cloud.machine import Machine
from tests.lab import Lab
from tests.tools import require_tool

STEPS = Path(kickstarts.__file__).parent / "templates/steps"
CLOUD = Cloud(
    full_name="cmp01.example.org",
    address=IPv4Address("10.9.1.11"),
    controller="ctl01.example.org",
    controller_address=IPv4Address("10.9.1.10"),
    subnet=IPv4Network("10.9.1.0/24"),
)
PARTS = ("28-trust", "30-libvirt")
"""The steps that are run; nothing of the others is needed."""
OWN = ("alternatives", "ld.so.cache", "login.defs", "pam.d", "security", "ssl")
"""Of this machine's /etc."""
FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/bash\nsshd:x:105:65534::/run/sshd:/usr/sbin/nologin\n"
    "messagebus:x:104:104::/nonexistent:/usr/sbin/nologin\n"
    "libvirt-qemu:x:103:103::/var/lib/libvirt:/usr/sbin/nologin\n"
    "nova:x:162:162::/var/lib/nova:/usr/sbin/nologin\n",
    "etc/group": "root:x:0:\ntty:x:5:\nkvm:x:102:\nlibvirt-qemu:x:103:\nmessagebus:x:104:\n"
    "libvirt:x:107:\nnova:x:162:\nnogroup:x:65534:\n",
    "etc/shadow": "root:*:20000::::::\nnova:*:20000::::::\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files\n",
    "etc/hosts": "127.0.0.1 localhost\n",
    "etc/ssh/sshd_config": "Include /etc/ssh/sshd_config.d/*.conf\nUsePAM yes\n",
    "etc/ssh/ssh_config": "Include /etc/ssh/ssh_config.d/*.conf\n",
    # What a machine of software in a container lacks.
    "etc/libvirt/qemu.conf": 'user = "root"\ngroup = "root"\nsecurity_driver = "none"\n'
    "namespaces = []\nremember_owner = 0\ncgroup_controllers = []\n",
    "etc/systemd/system-preset/00-none.preset": "disable *\n",
}
GUEST = """\
<domain type='qemu'><name>guest</name><memory unit='MiB'>32</memory>
<os><type arch='x86_64' machine='pc'>hvm</type></os></domain>
"""


def base(folder: Path) -> Path:
    """A root in which this machine's /usr can lie."""
    for name in ("libvirtd", "virsh", "sshd", "qemu-system-x86_64"):
        require_tool(name, "libvirt-daemon-system libvirt-clients openssh-server qemu-system-x86")
    for name in (
        "usr",
        "var/lib/nova",
        "var/log",
        "root",
        "tmp",
        "run",
        "proc",
        "sys",
        "dev",
        "mnt",
    ):
        (folder / name).mkdir(parents=True)
    (folder / "var/run").symlink_to("../run")
    for link in Path("/").glob("*"):
        if link.is_symlink() and str(link.readlink()).startswith("usr/"):
            (folder / link.name).symlink_to(link.readlink())
    for name in OWN:
        source, copy = Path("/etc", name), folder / "etc" / name
        copy.parent.mkdir(exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, copy, symlinks=True, ignore=shutil.ignore_patterns("private"))
        else:
            shutil.copy(source, copy)
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    units = folder / "etc/systemd/system"
    units.mkdir()
    (units / "getty.target").symlink_to("/dev/null")
    (units / "sshd.service").symlink_to("/usr/lib/systemd/system/ssh.service")
    return folder


class Hypervisors:
    """Such hosts on one segment."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self._lab = lab
        self._folder = folder
        self._base = base(folder / "base")
        self._switch = lab.namespace("segment")
        self._switch.bridge("br0")

    def start(self, name: str, number: int, options: Sequence[tuple[str, str]]) -> Machine:
        """A host after its first start, before its steps."""
        namespace = self._lab.namespace(name)
        self._lab.plug(namespace, "eth0", self._switch, "br0")
        namespace.address("eth0", f"10.9.1.{number}/24")
        host = f"{name}.example.org"
        cloud = replace(CLOUD, full_name=host, address=IPv4Address(f"10.9.1.{number}"),
                        options=tuple(options))  # fmt: skip
        machine = Machine(host, namespace, [self._base], self._folder / name)
        write_steps(machine.upper / "opt", roles()["compute"].of(cloud).settings)
        (machine.upper / "etc").mkdir()
        (machine.upper / "etc/hostname").write_text(f"{host}\n")
        binds = {Path("/usr"): "usr"}
        machine.chroot("ssh-keygen", "-A", binds=binds)
        machine.boot(binds)
        machine.try_run("systemctl", "is-system-running", "--wait")
        machine.run("systemctl", "start", "sshd.service")
        return machine


def write_steps(root: Path, settings: Mapping[str, str]) -> None:
    """What %post leaves on a host, of the steps that are wanted here."""
    library = root / "usr/local/lib/rackseed"
    (library / "steps").mkdir(parents=True)
    shutil.copy(STEPS / "functions.sh", library)
    shutil.copy(STEPS / "run.sh", root)
    for name, text in steps_of(roles()["compute"]).items():
        if name in PARTS:
            (library / "steps" / name).write_text(text)
    (root / "etc/rackseed").mkdir(parents=True)
    (root / "var/log").mkdir(parents=True)
    lines = (f"{name}='{value}'\n" for name, value in settings.items())
    (root / "etc/rackseed/settings").write_text("".join(lines))


def run_steps(machine: Machine, secret: str) -> str:
    """Run the steps of a host; what they logged. AssertionError when one fails."""
    (machine.root / "opt/etc/rackseed/secrets").write_text(f"MIGRATION_SECRET={secret}\n")
    words = {"ROOT": "/opt", "ATTEMPTS": "1"}
    done = machine.try_run("bash", "/opt/run.sh", "--again", env=words)
    log = (machine.root / "opt/var/log/rackseed-steps.log").read_text()
    assert done.returncode == 0, log + machine.try_run("journalctl", "-n", "40").stdout
    return log
