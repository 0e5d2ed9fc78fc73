"""The boot server's address: as the inventory says, else the interface's."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest

from provision.interface import server_address
from pxe.errors import InterfaceUnusable
from tests.unit.provision.racks import inventory


def on(rack, interface, subnet="127.0.0.0/8"):
    network = replace(rack.network, interface=interface, subnet=IPv4Network(subnet))
    return replace(rack, network=network)


def test_the_inventory_says_it(tmp_path):
    rack = inventory(tmp_path, server=IPv4Address("10.20.0.3"))
    assert server_address(on(rack, "nowhere0")) == IPv4Address("10.20.0.3")


def test_the_interface_has_it(tmp_path):
    assert server_address(on(inventory(tmp_path), "lo")) == IPv4Address("127.0.0.1")


def test_an_interface_without_it_is_told_with_a_way_out(tmp_path):
    with pytest.raises(InterfaceUnusable) as caught:
        server_address(on(inventory(tmp_path), "lo", "10.20.0.0/22"))
    assert "127.0.0.1/8, expected one in 10.20.0.0/22" in str(caught.value)
    assert caught.value.__notes__ == ["add one:  ip address add 10.20.0.3/22 dev lo"]


def test_an_interface_that_is_not_there_is_told(tmp_path):
    with pytest.raises(InterfaceUnusable, match="nowhere0"):
        server_address(on(inventory(tmp_path), "nowhere0"))
