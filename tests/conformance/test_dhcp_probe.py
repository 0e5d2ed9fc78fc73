"""The rogue-server probe against dnsmasq."""

import asyncio
from ipaddress import IPv4Address

import pytest

from pxe.dhcp.probe import probe
from pxe.errors import InterfaceUnusable
from tests.lab import Lab, Namespace, Process
from tests.tools import require_tool

OURS = IPv4Address("10.9.0.1")
RIVAL = IPv4Address("10.9.0.9")


@pytest.fixture
def lab():
    with Lab() as made:
        yield made


@pytest.fixture
def server(lab):
    return lab.namespace("server")


@pytest.fixture
def rival(lab, server):
    made = lab.namespace("rival")
    lab.cable(server, "wire0", made, "wire0")
    server.address("wire0", f"{OURS}/24")
    made.address("wire0", f"{RIVAL}/24")
    return made


def start_dnsmasq(machine: Namespace, *arguments: str) -> Process:
    started = machine.start(
        [
            require_tool("dnsmasq"), "--keep-in-foreground", "--conf-file=/dev/null", "--port=0",
            "--interface=wire0", "--bind-interfaces", "--user=root", "--log-facility=-",
            f"--dhcp-leasefile={machine.folder}/leases", *arguments,
        ]
    )  # fmt: skip
    started.wait_for("sockets bound exclusively")
    return started


RANGE = "--dhcp-range=10.9.0.100,10.9.0.120,1h"


def test_an_empty_segment_has_no_other_server(server, rival):
    assert server.call(asyncio.run, probe("wire0", seconds=0.5)) == []


def test_a_server_that_gives_addresses_is_found(server, rival):
    start_dnsmasq(rival, RANGE, "--no-ping")
    (found,) = server.call(asyncio.run, probe("wire0", seconds=1))
    assert (found.address, str(found.mac)) == (RIVAL, rival.mac("wire0"))
    assert found.offered is not None
    assert IPv4Address("10.9.0.100") <= found.offered <= IPv4Address("10.9.0.120")


def test_a_server_that_pings_before_it_offers_is_found_in_the_default_time(server, rival):
    start_dnsmasq(rival, RANGE)
    (found,) = server.call(asyncio.run, probe("wire0"))
    assert found.address == RIVAL


def test_a_proxy_server_is_found_and_known_as_one(server, rival):
    start_dnsmasq(
        rival, "--dhcp-range=10.9.0.0,proxy", '--pxe-service=x86PC,"Boot",pxelinux', "--no-ping"
    )
    (found,) = server.call(asyncio.run, probe("wire0", seconds=1))
    assert (found.address, found.proxy) == (RIVAL, True)


def test_a_server_on_this_very_machine_is_found(server, rival):
    start_dnsmasq(server, RANGE, "--no-ping")
    (found,) = server.call(asyncio.run, probe("wire0", seconds=1))
    assert found.address == OURS


def test_a_server_of_ours_is_not_another(server, rival):
    start_dnsmasq(rival, RANGE, "--no-ping")
    assert server.call(asyncio.run, probe("wire0", [RIVAL], seconds=1)) == []


def test_an_interface_that_is_down_cannot_be_probed(server, rival):
    server.down("wire0")
    with pytest.raises(InterfaceUnusable, match="wire0 is down"):
        server.call(asyncio.run, probe("wire0"))
