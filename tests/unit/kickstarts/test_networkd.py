"""A host's network with several links, in networkd's and in netplan's words."""

import json
import subprocess
from dataclasses import replace
from ipaddress import IPv4Interface

import pytest
import yaml

from kickstarts.autoinstall import netplan
from kickstarts.errors import BadValue
from kickstarts.networkd import network_files
from kickstarts.plan import BOND_MODES, Address, Bond
from tests.tools import require_tool
from tests.unit.kickstarts.plans_deb import NETWORK

OTHER = "52:54:00:aa:00:31"
MORE = (
    Address(IPv4Interface("10.20.1.21/22")),
    Address(IPv4Interface("10.30.0.21/24"), vlan=30),
    Address(IPv4Interface("192.0.2.21/24"), OTHER),
    Address(IPv4Interface("10.40.0.21/24"), OTHER, 40),
)
BOND = Bond("bond0", (NETWORK.mac, "52:54:00:aa:00:08"))


def test_each_link_has_its_own_addresses_and_only_the_first_leads_out():
    files = network_files(replace(NETWORK, more=MORE), "example.org")
    named = {path.rpartition("/")[2]: text for path, text in files.items()}
    assert named["10-port.network"] == (
        f"[Match]\nPermanentMACAddress={NETWORK.mac}\n[Network]\nVLAN=vlan30\n"
        "Address=10.20.0.21/22\nAddress=10.20.1.21/22\n"
        "Gateway=10.20.0.1\nDNS=10.20.0.2\nDomains=example.org\n"
    )
    assert named["35-more1.network"] == (
        f"[Match]\nPermanentMACAddress={OTHER}\n[Network]\nVLAN=vlan40\nAddress=192.0.2.21/24\n"
    )
    assert named["50-vlan40.network"] == "[Match]\nName=vlan40\n[Network]\nAddress=10.40.0.21/24\n"
    assert named["40-vlan30.netdev"].endswith("[VLAN]\nId=30\n")
    assert len(named) == 6


def test_a_port_that_only_carries_a_vlan_has_no_address_itself():
    more = (Address(IPv4Interface("10.40.0.21/24"), OTHER, 40),)
    files = network_files(replace(NETWORK, bond=BOND, vlan=120, more=more), None)
    assert files["/etc/systemd/network/35-more1.network"].endswith(
        "[Network]\nVLAN=vlan40\nLinkLocalAddressing=no\n"
    )
    assert files["/etc/systemd/network/30-bond.network"].endswith(
        "[Network]\nVLAN=vlan120\nLinkLocalAddressing=no\n"
    )


def test_netplan_has_the_same_links():
    made = netplan(replace(NETWORK, bond=BOND, more=MORE), None)
    assert made["ethernets"] == {
        "port1": {"match": {"macaddress": NETWORK.mac}},
        "port2": {"match": {"macaddress": "52:54:00:aa:00:08"}},
        "more1": {"match": {"macaddress": OTHER}, "addresses": ["192.0.2.21/24"]},
    }
    assert made["vlans"] == {
        "vlan30": {"id": 30, "link": "bond0", "addresses": ["10.30.0.21/24"]},
        "vlan40": {"id": 40, "link": "more1", "addresses": ["10.40.0.21/24"]},
    }


@pytest.mark.parametrize("network", [
    replace(NETWORK, more=MORE),
    replace(NETWORK, bond=BOND, vlan=120, more=MORE),
    *(replace(NETWORK, bond=Bond("bond0", BOND.ports, mode)) for mode in BOND_MODES),
])  # fmt: skip
def test_netplan_itself_takes_it(network, tmp_path):
    require_tool("netplan", package="netplan.io")
    folder = tmp_path / "etc" / "netplan"
    folder.mkdir(parents=True)
    path = folder / "host.yaml"
    text = yaml.safe_dump({"network": json.loads(json.dumps(netplan(network, "example.org")))})
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    done = subprocess.run(
        ["netplan", "generate", "--root-dir", str(tmp_path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ((Address(NETWORK.address),), "addresses: expected each address once"),
        ((Address(IPv4Interface("10.9.0.1/24"), NETWORK.mac),), "addresses.mac: expected a port"),
        (
            (Address(IPv4Interface("10.9.0.1/24"), vlan=7),
             Address(IPv4Interface("10.8.0.1/24"), OTHER, 7)),
            "addresses.vlan: expected a VLAN on one port",
        ),
    ],
)  # fmt: skip
def test_addresses_that_could_not_be_told_apart_are_refused(more, why):
    with pytest.raises(BadValue, match=why):
        replace(NETWORK, more=more)


def test_values_of_a_link_are_checked():
    for make in (
        lambda: Address(IPv4Interface("10.9.0.1/24"), "52:54:00:aa:00:31\n"),
        lambda: Address(IPv4Interface("10.9.0.1/24"), vlan=4095),
        lambda: Bond("bond0", ("eno1", "eno2"), "802.3ad,miimon=0"),
    ):
        with pytest.raises(BadValue):
            make()
