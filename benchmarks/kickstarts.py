"""How fast kickstarts are made and checked: `python -m benchmarks.kickstarts [--hosts N]`.

Aims, on two cores: 2,000 hosts rendered per second by one process, and `rackseed check` of 10,000
hosts in under 60 s. All that the command checks is checked: the file, boot scripts of every host in
every state, every host's plan; one answer of each kind is read by pykickstart and shellcheck.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from pathlib import Path
from tempfile import TemporaryDirectory

from provision import deploy, verify_answers
from provision.cli.check import find_problems
from provision.inventory.load import load
from provision.inventory.model import Inventory
from provision.plan import MASKED_PIN

HEAD = """\
network: {interface: br-prov, subnet: 10.0.0.0/8, gateway: 10.255.0.1, server: 10.255.0.3}
cloud: {domain: cloud.example.org, controller: ctl01}
administrators: {ada: {ssh_keys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBHAaD0y3vMjwUX2h8GnZ1r]}}
systems: {rocky-9: {kernel: k, initrd: k}, fedora-43: {kernel: k, initrd: k}}
roles:
  controller: {install: kickstart, os: rocky-9, metapackage: node-full}
  compute: {install: kickstart, os: fedora-43, metapackage: node-compute}
racks:
  r1:
    ctl01: {mac: "52:54:00:aa:00:01", address: 10.255.0.11, role: controller}
"""
FIRST = int(IPv4Address("10.1.0.0"))
BASE = "http://10.255.0.3"
SECRETS = deploy.SecretsServer("https://10.255.0.3:443", MASKED_PIN)
ABOUT_ANSWERS = "answer", "kickstart", "boot script"


def inventory(folder: Path, hosts: int) -> Inventory:
    """A controller and that many compute nodes, half of them with UEFI."""
    firmware = "bios", "uefi"
    lines = (
        f'    c{n:05d}: {{mac: "52:54:01:{n >> 16:02x}:{n >> 8 & 255:02x}:{n & 255:02x}", '
        f"address: {IPv4Address(FIRST + n)}, role: compute, firmware: {firmware[n % 2]}}}\n"
        for n in range(1, hosts)
    )
    path = folder / "rack.yaml"
    path.write_text(HEAD + "".join(lines), encoding="utf-8")
    (folder / "artifacts").mkdir()
    (folder / "artifacts" / "k").write_bytes(b"kernel")
    return load(path)


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Print how long something took, and how long processors worked on it for us."""
    wall, own = time.perf_counter(), _processors()
    yield
    wall, own = time.perf_counter() - wall, _processors() - own
    print(f"{what}: {wall:.1f} s, {own:.1f} s of one core")


def _processors() -> float:
    """Seconds that processors have worked for us and for the programs that we started."""
    return sum(os.times()[:4])


def render_all(rack: Inventory) -> None:
    """Every host's answer, as it would be handed out."""
    report, secrets = f"{BASE}/report/x", SECRETS.source("x")
    for host in rack.hosts.values():
        deploy.own_answer(rack, host, BASE, report=report, secrets=secrets, masked=False)


def main() -> None:
    """Print both figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=10_000)
    wanted = parser.parse_args().hosts
    with TemporaryDirectory() as folder:
        with timed(f"{wanted} hosts read"):
            rack = inventory(Path(folder), wanted)
        with timed(f"{wanted} hosts checked"):
            problems = find_problems(rack)
        with timed("of these, answers"):
            wrong = verify_answers.verify_answers(rack, None)
        # Secrets and repositories are not this benchmark's, nor what this machine has installed.
        problems = [p for p in problems if any(word in p.message for word in ABOUT_ANSWERS)]
        if found := [*problems, *wrong]:
            sys.exit(str(found[0]))
        begun = time.process_time()
        render_all(rack)
        spent = time.process_time() - begun
    print(f"rendered: {wanted / spent:,.0f} hosts per second of one core")


if __name__ == "__main__":
    main()
