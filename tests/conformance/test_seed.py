"""The seed of an image's first boot in the hands of cloud-init itself."""

import subprocess
from dataclasses import replace
from ipaddress import IPv4Interface
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import yaml

from provision import cloudinit
from provision.inventory import views
from provision.inventory.model import Administrator, Bond, Host, Inventory, MoreAddress
from pxe.addresses import MacAddress
from tests.tools import require_tool
from tests.unit.provision.racks import inventory

SECOND, THIRD = (MacAddress.parse(f"52:54:00:bb:00:0{n}") for n in (2, 3))
PEOPLE = (
    Administrator("ada", ("ssh-ed25519 AAAA ada",)),
    Administrator("bob", password="$6$salt$hash"),
)
MANY: dict[str, Any] = {
    "vlan": 20,
    "addresses": (
        MoreAddress(IPv4Interface("10.30.0.5/24"), THIRD),
        MoreAddress(IPv4Interface("10.40.0.5/24"), None, 40),
    ),
}
"""A VLAN on the port that boots or its bond, another on it, and a port of its own."""


def rack(folder: Path, *, bonded: bool = False, **changes: Any) -> tuple[Inventory, Host]:
    made = inventory(folder)
    host = replace(made.hosts["img"], **changes)
    if bonded:
        host = replace(host, bond=Bond((host.mac, SECOND), "802.3ad", "bond0"))
    hosts = MappingProxyType({**made.hosts, "img": host})
    return replace(made, hosts=hosts, administrators=PEOPLE), host


def cloud_init(*words: object) -> str:
    tool = require_tool("cloud-init")
    done = subprocess.run([tool, *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def converted(folder: Path, made: Inventory, host: Host, renderer: str, system: str) -> str:
    """All files that the installed system would get for its network."""
    config = folder / "network-config"
    document = cloudinit.network_config(views.network_settings(host, made), made)
    config.write_text(yaml.safe_dump(document))
    output = folder / "out"
    words = ("devel", "net-convert", "--network-data", config, "--kind", "yaml")
    cloud_init(*words, "-D", system, "-O", renderer, "-d", output)
    files = sorted(path for path in output.rglob("*") if path.is_file())
    return "\n".join(f"{path.name}\n{path.read_text()}" for path in files)


def test_the_user_data_fits_cloud_inits_schema(tmp_path: Path) -> None:
    made, host = rack(tmp_path)
    document = cloudinit.user_data(host, made, "http://10.20.0.1/report/abc")
    path = tmp_path / "user-data"
    path.write_text("#cloud-config\n" + yaml.safe_dump(document))
    assert "Valid" in cloud_init("schema", "--config-file", path)


@pytest.mark.parametrize(
    ("renderer", "system", "expected"),
    [
        ("eni", "debian", ["address 10.20.0.11/22", "gateway 10.20.0.1", "port1"]),
        ("netplan", "ubuntu", ["10.20.0.11/22", "gateway4: 10.20.0.1", "set-name: port1"]),
        ("networkd", "debian", ["Address=10.20.0.11/22", "Gateway=10.20.0.1", "DNS=10.20.0.2"]),
        ("sysconfig", "centos", ["IPADDR=10.20.0.11", "GATEWAY=10.20.0.1", "DEVICE=port1"]),
    ],
)
def test_every_renderer_gives_the_port_its_address(
    tmp_path: Path, renderer: str, system: str, expected: list[str]
) -> None:
    made, host = rack(tmp_path)
    told = converted(tmp_path, made, host, renderer, system)
    for word in (*expected, str(host.mac)):
        assert word in told


@pytest.mark.parametrize(
    ("renderer", "system", "expected"),
    [
        ("eni", "debian", ["bond-master bond0", "vlan-raw-device bond0", "vlan_id 40"]),
        ("netplan", "ubuntu", ["mode: 802.3ad", "link: bond0", "id: 40"]),
        ("sysconfig", "centos", ["MASTER=bond0", "mode=802.3ad", "PHYSDEV=bond0"]),
    ],
)
def test_bonds_and_vlans_arrive(
    tmp_path: Path, renderer: str, system: str, expected: list[str]
) -> None:
    made, host = rack(tmp_path, bonded=True, **MANY)
    told = converted(tmp_path, made, host, renderer, system)
    for word in (*expected, "10.20.0.11", "10.30.0.5", "10.40.0.5", str(SECOND), str(THIRD)):
        assert word in told
