"""One installation as the wire sees it: `rackseed serve`, and a machine with an installer's words.

server: br-prov 10.20.0.3/22  ====veth====  eth0 52:54:00:aa:00:01 :host

The machine asks for its address as iPXE does, follows the script that it is sent to, fetches the
kickstart that `inst.ks=` names, and runs what that kickstart says: its own `report`, its own fetch
of the secrets. Nothing of it is written for the test but the disks that it finds.
"""

import json
import re
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kickstarts.validate import read
from tests.lab import Lab, Namespace, wait_until
from tests.tools import require_root, require_tool

MAC = "52:54:00:aa:00:01"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBHAaD0y3vMjwUX2h8GnZ1rGv7W0hGgJmJzBqkEeuA3q"
RACK = f"""\
network: {{interface: br-prov, subnet: 10.20.0.0/22, server: 10.20.0.3}}
cloud: {{domain: cloud.example.org}}
administrators: {{ada: {{ssh_keys: ["{KEY}"]}}}}
secrets: secrets.yaml
store: sqlite:///store.db
systems: {{rocky-9: {{kernel: vmlinuz, initrd: initrd.img}}}}
roles: {{controller: {{install: kickstart, os: rocky-9, metapackage: node-full}}}}
racks: {{r1: {{ctl01: {{mac: "{MAC}", address: 10.20.0.11, role: controller}}}}}}
"""
WRONG_KEY = 90
"""CURLE_SSL_PINNEDPUBKEYNOTMATCH (libcurl-errors(3))."""
HOOK = """\
#!/bin/sh
# What the lease says goes to a file, and the address to the port.
[ "$1" = bound ] || exit 0
ip address replace "$ip/$mask" dev "$interface"
echo "$boot_file" >lease
"""
LSBLK = """\
#!/bin/sh
case "$*" in
    *NAME,SIZE*) echo 'vda 21474836480 0 0 disk' ;;
    *) echo S1 ;;
esac
"""


@dataclass
class Rack:
    """A server, and a machine beside it."""

    folder: Path
    host: Namespace

    def rackseed(self, *words: str) -> str:
        """One of our commands, on the server's inventory."""
        return run([Path(sys.executable).with_name("rackseed"), *words, "-i", "rack.yaml"],
                   self.folder)  # fmt: skip

    def state(self) -> tuple[str, int]:
        """Where the host stands, and its alarms."""
        (facts,) = json.loads(self.rackseed("status", "--json"))
        return facts["state"], facts["alarms"]

    def curl(self, url: str, *options: str, ends: int = 0) -> tuple[int, str]:
        """Status and body; `ends` is curl's own exit status."""
        curl = [require_tool("curl"), "--silent", "--write-out", r"\n%{http_code}", *options, url]
        said = self.host.run(curl, status=ends)
        body, _, status = said.rpartition("\n")
        return int(status), body


def run(argv: list[str | Path], folder: Path) -> str:
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def rack(tmp_path: Path) -> Iterator[Rack]:
    require_root()
    (tmp_path / "rack.yaml").write_text(RACK)
    (tmp_path / "secrets.yaml").touch(0o600)
    (tmp_path / "artifacts").mkdir()
    for name in ("vmlinuz", "initrd.img"):
        (tmp_path / "artifacts" / name).write_bytes(name.encode())
    with Lab() as lab:
        server, host = lab.namespace("server"), lab.namespace("host")
        lab.cable(server, "br-prov", host, "eth0", right_mac=MAC)
        server.address("br-prov", "10.20.0.3/22")
        made = Rack(tmp_path, host)
        made.rackseed("secrets", "init")
        made.rackseed("arm", "ctl01")
        rackseed = Path(sys.executable).with_name("rackseed")
        serve = [rackseed, "serve", "-i", tmp_path / "rack.yaml", "--cache", tmp_path / "cache"]
        server.start([*serve, "--http-workers", "1"]).wait_for("serving 10.20.0.3", timeout=120)
        yield made


def ask_for_an_address(rack: Rack) -> str:
    """What DHCP sends iPXE to."""
    udhcpc = require_tool("udhcpc", package="udhcpc")
    hook = rack.host.folder / "hook"
    hook.write_text(HOOK)
    hook.chmod(0o755)
    ipxe = ["-x", "0x4d:69505845", "-V", "PXEClient:Arch:00000:UNDI:002001", "-x", "0x5d:0000"]
    rack.host.run([udhcpc, "-n", "-q", "-f", "-i", "eth0", "-s", hook, "-O", "bootfile", *ipxe])
    return (rack.host.folder / "lease").read_text().strip()


def run_section(rack: Rack, text: str, programs: dict[str, str]) -> int:
    """A section of the kickstart on the machine, where some programs are these."""
    folder = rack.host.folder / "bin"
    folder.mkdir(exist_ok=True)
    for name, body in programs.items():
        (folder / name).write_text(body)
        (folder / name).chmod(0o755)
    text = text.replace("/dev/console", "/dev/null").replace("/tmp/", f"{rack.host.folder}/")
    script = rack.host.folder / "section"
    script.write_text(f"PATH={folder}:$PATH\n{text}")
    bash = require_tool("bash")
    with rack.host.inside():
        done = subprocess.run([bash, script], capture_output=True, text=True, check=False)
    return done.returncode


@pytest.mark.timeout(240)
def test_a_kickstart_and_its_secrets_are_fetched_once_and_reports_move_the_host_on(rack: Rack):
    script = ask_for_an_address(rack)
    assert script == f"http://10.20.0.3/ipxe/{MAC}.ipxe"
    status, text = rack.curl(script)
    assert status == 200
    (url,) = re.findall(r"inst\.ks=(\S+)", text)
    assert rack.state() == ("armed", 0)

    status, kickstart = rack.curl(url)
    assert status == 200
    wait_until(lambda: rack.state() == ("deploying", 0), "the arming is used up")
    reading = read(kickstart, "RHEL9")
    assert reading.findings == ()

    # Somebody else, or the same machine once more: refused, and a person is told.
    status, refusal = rack.curl(url)
    assert status in (403, 404, 410)
    assert "%packages" not in refusal
    assert rack.state() == ("deploying", 1)
    assert "the answer was already delivered" in rack.rackseed("events", "ctl01")
    # A machine that starts over finds its own disk, not the installer.
    assert "inst.ks=" not in rack.curl(script)[1]

    # The installer's own words.
    before = reading.scripts[0].text
    assert run_section(rack, before, {"lsblk": LSBLK, "udevadm": "#!/bin/sh\n"}) == 0
    assert "ignoredisk --only-use=vda" in (rack.host.folder / "rackseed-disks.ks").read_text()
    told = rack.rackseed("events", "ctl01")
    assert "looking for the disk" in told
    assert "installing on vda" in told
    assert rack.state() == ("deploying", 1)

    # The secrets, by what %post says of them: from the server that has the key, and no other.
    (secrets,) = re.findall(rf"'({re.escape('https://10.20.0.3')}\S*/answer/\S+)'", kickstart)
    (pin,) = re.findall(r"--pinnedpubkey '(\S+)'", kickstart)
    other = f"sha256//{b64encode(bytes(32)).decode()}"
    assert rack.curl(secrets, "--insecure", "--pinnedpubkey", other, ends=WRONG_KEY) == (0, "")
    in_the_clear = re.sub(r"^https://10\.20\.0\.3(:\d+)?/", "http://10.20.0.3/", secrets)
    assert rack.curl(in_the_clear)[0] == 403
    wait_until(lambda: rack.state() == ("deploying", 2), "the alarm of plain HTTP")
    trusted = ("--insecure", "--pinnedpubkey", pin)
    status, lines = rack.curl(secrets, *trusted)
    assert status == 200
    assert re.search("^ADMIN_PASSWORD=[A-Za-z0-9_-]{12,}$", lines, re.MULTILINE)
    assert rack.curl(secrets, *trusted)[0] in (403, 404, 410)
    wait_until(lambda: rack.state() == ("deploying", 3), "the alarm of the secrets")

    report = re.search(r"report\(\) \{.*?^\}\n", before, re.MULTILINE | re.DOTALL)
    assert report is not None
    assert run_section(rack, f"{report[0]}report installed 'all steps are done'\n", {}) == 0
    assert rack.state() == ("active", 3)
    # The session is over: nothing that came with it opens anything now.
    assert run_section(rack, f"{report[0]}report failed 'too late'\n", {}) == 0
    assert rack.state()[0] == "active"
    assert rack.rackseed("plan", "ctl01", "--diff").startswith("ctl01 would be served what it was")


@pytest.mark.timeout(240)
def test_a_disk_that_is_not_there_is_the_installers_own_report_of_failure(rack: Rack):
    _, text = rack.curl(ask_for_an_address(rack))
    (url,) = re.findall(r"inst\.ks=(\S+)", text)
    _, kickstart = rack.curl(url)
    before = read(kickstart, "RHEL9").scripts[0].text
    assert run_section(rack, before, {"lsblk": "#!/bin/sh\n", "udevadm": "#!/bin/sh\n"}) == 1
    assert rack.state() == ("failed", 0)
    assert "found 0 disks to write to, expected 1" in rack.rackseed("events", "ctl01")
