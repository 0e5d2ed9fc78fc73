"""How fast kickstarts are made and checked: `python -m benchmarks.kickstarts [--hosts N]`.

Aims, on two cores: 2,000 hosts rendered per second by one process, and the checks of 10,000 hosts'
kickstarts in under 60 s. Every plan is made and checked; one rendering of each kind is read by
pykickstart and, where it is installed, shellcheck. Each host has its own name and address.
"""

import argparse
import shutil
import time
from ipaddress import IPv4Address
from pathlib import Path
from tempfile import TemporaryDirectory

from provision import deploy, verify_answers
from provision.inventory.load import load
from provision.inventory.model import Inventory
from provision.run import run

HEAD = """\
network: {interface: br-prov, subnet: 10.0.0.0/8, gateway: 10.255.0.1, server: 10.255.0.3}
cloud: {domain: cloud.example.org, controller: ctl01}
administrators: {ada: {ssh_keys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBHAaD0y3vMjwUX2h8GnZ1r]}}
systems: {rocky-9: {kernel: k, initrd: i}, fedora-43: {kernel: k, initrd: i}}
roles:
  controller: {install: kickstart, os: rocky-9, metapackage: node-full}
  compute: {install: kickstart, os: fedora-43, metapackage: node-compute}
racks:
  r1:
    ctl01: {mac: "52:54:00:aa:00:01", address: 10.255.0.11, role: controller}
"""
FIRST = int(IPv4Address("10.1.0.0"))


def inventory(folder: Path, hosts: int) -> Inventory:
    """A controller and that many compute nodes."""
    lines = (
        f'    c{n:05d}: {{mac: "52:54:01:{n >> 16:02x}:{n >> 8 & 255:02x}:{n & 255:02x}", '
        f"address: {IPv4Address(FIRST + n)}, role: compute, firmware: uefi}}\n"
        for n in range(1, hosts)
    )
    path = folder / "rack.yaml"
    path.write_text(HEAD + "".join(lines), encoding="utf-8")
    return load(path)


def main() -> None:
    """Print both figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=10_000)
    wanted = parser.parse_args().hosts
    with TemporaryDirectory() as folder:
        begin = time.perf_counter()
        rack = inventory(Path(folder), wanted)
        loaded = time.perf_counter()
        problems = verify_answers.verify_answers(
            rack, run if shutil.which(verify_answers.SHELLCHECK) else None
        )
        checked = time.perf_counter()
        assert not problems, problems[0]
        base = "http://10.255.0.3"
        begun = time.process_time()
        for host in rack.hosts.values():
            deploy.own_answer(
                rack, host, base, report=f"{base}/report/x", secrets=f"{base}/answer/x",
                masked=False,
            )  # fmt: skip
        spent = time.process_time() - begun
    print(f"{wanted} hosts: read in {loaded - begin:.1f} s, checked in {checked - loaded:.1f} s")
    print(f"rendered: {wanted / spent:,.0f} hosts per second of one core")


if __name__ == "__main__":
    main()
