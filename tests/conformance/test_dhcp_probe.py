"""The rogue-server probe against dnsmasq."""

import asyncio
import socket
import subprocess
import sys
from functools import partial
from ipaddress import IPv4Address

import pytest

from pxe.addresses import MacAddress
from pxe.dhcp import probe as probe_module
from pxe.dhcp.probe import frame_of, probe
from pxe.dhcp.sockets import refuse_shared_port
from pxe.errors import InterfaceUnusable
from tests.lab import Lab, Namespace, Process
from tests.tools import require_root, require_tool

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


def test_without_the_right_to_listen_the_error_says_what_to_do():
    require_root()
    setpriv = require_tool("setpriv", package="util-linux")
    code = "import asyncio; from pxe.dhcp.probe import probe; asyncio.run(probe('lo'))"
    powerless = [str(setpriv), "--bounding-set", "-all", "--inh-caps", "-all", "--"]
    done = subprocess.run(
        [*powerless, sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    last = done.stderr.strip().splitlines()[-2:]
    assert "InterfaceUnusable: interface lo cannot be probed: Operation not permitted" in last[0]
    assert last[1] == "run as root, or with CAP_NET_RAW and CAP_NET_BIND_SERVICE"


def frame(**changes: int) -> bytes:
    """A frame to a DHCP client, with octets changed: `at23=6` makes it TCP."""
    made = bytearray(frame_of(b"payload", MacAddress.parse("02:00:00:00:00:42")))
    made[36:38] = (68).to_bytes(2)
    for name, value in changes.items():
        made[int(name.removeprefix("at"))] = value
    return bytes(made)


def test_the_probe_is_shown_nothing_but_answers_to_dhcp_clients(server, rival):
    right = frame()
    longer_header = right[:14] + b"\x46" + right[15:34] + bytes(4) + right[34:]
    others = [
        frame(at12=0x86, at13=0xDD),  # IPv6
        frame(at12=0x08, at13=0x06),  # ARP
        frame(at23=socket.IPPROTO_TCP),
        frame(at21=0x10),  # a later fragment
        frame(at37=67),
        frame(at14=0x46),  # the port is elsewhere behind a longer IP header
    ]
    wire = server.call(probe_module._wire, "wire0")
    sender = rival.call(socket.socket, socket.AF_PACKET, socket.SOCK_RAW)
    with wire, sender:
        sender.bind(("wire0", 0))
        for each in (*others, right, *others, longer_header):
            sender.send(each)
        wire.settimeout(5)
        assert [wire.recv(2048), wire.recv(2048)] == [right, longer_header]


def test_a_server_that_shares_the_port_on_our_own_interface_is_refused(server, rival):
    """dnsmasq lets its port be shared, so that opening ours would succeed beside it."""
    refuse_shared_port_there = partial(server.call, refuse_shared_port, "wire0", 67)
    refuse_shared_port_there()
    dnsmasq = start_dnsmasq(server, RANGE, "--no-ping")
    with pytest.raises(InterfaceUnusable, match="port 67 on wire0 is taken by another program"):
        refuse_shared_port_there()
    dnsmasq.stop()
    refuse_shared_port_there()
