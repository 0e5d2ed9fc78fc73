"""Our DHCP server with the DHCP clients of the world.

server: wire0 10.9.0.1/24 ---- br0 (switch) ---- eth0: client
                                |
                                +--------------- eth0: squatter (some tests)
"""

import re
import socket
import sys
import time
from dataclasses import replace
from datetime import timedelta
from ipaddress import IPv4Address, IPv4Network

import pytest

from pxe.addresses import MacAddress
from pxe.reservation import Pool, Reservation
from pxe.settings import Settings
from tests.dhcp_clients import CLIENTS, Client, dhclient, dhcpcd, hook_told, udhcpc
from tests.dhcp_server import ROOT, RunningServer, Start, start_server
from tests.lab import Lab, Namespace, wait_until

MAC = "02:00:00:00:00:42"
RESERVED = "10.9.0.42"
SETTINGS = Settings(
    interface="wire0",
    address=IPv4Address("10.9.0.1"),
    subnet=IPv4Network("10.9.0.0/24"),
    gateway=IPv4Address("10.9.0.254"),
    dns=(IPv4Address("10.9.0.253"), IPv4Address("10.9.0.252")),
    time_servers=(IPv4Address("10.9.0.251"),),
    domain="cloud.example.org",
)
RESERVATION = Reservation(MacAddress.parse(MAC), IPv4Address(RESERVED), "cmp01")
POOL = Pool(IPv4Address("10.9.0.200"), IPv4Address("10.9.0.219"))


@pytest.fixture
def lab():
    with Lab() as made:
        yield made


@pytest.fixture
def switch(lab):
    made = lab.namespace("switch")
    made.bridge("br0")
    return made


@pytest.fixture
def machine(lab, switch):
    """Where the server runs."""
    made = lab.namespace("server")
    lab.plug(made, "wire0", switch, "br0")
    made.address("wire0", "10.9.0.1/24")
    return made


@pytest.fixture
def client(lab, switch):
    """Where a client runs, whose address is reserved."""
    made = lab.namespace("client")
    lab.plug(made, "eth0", switch, "br0", mac=MAC)
    return made


@pytest.fixture
def server(machine):
    return start_server(machine, Start(SETTINGS, (RESERVATION,)))


def got(client: Namespace) -> set[str]:
    return {str(found) for found in client.addresses("eth0")}


def wait_for_address(client: Namespace, address: str, timeout: float = 15) -> None:
    wait_until(lambda: got(client) == {address}, f"the client has {address}", timeout)


@pytest.mark.parametrize("kind", CLIENTS.values(), ids=CLIENTS)
def test_a_known_client_gets_its_reserved_address(server, client, kind: Client):
    process = kind.start(client)
    try:
        wait_for_address(client, f"{RESERVED}/24")
    except AssertionError:
        pytest.fail(f"{process.output}\n{server.process.output}")
    (offer,) = server.find(subject="OFFER", client=MAC)
    assert (offer["outcome"], offer["address"]) == ("served", RESERVED)
    assert server.find(subject="ACK", client=MAC)
    assert process.running


def test_udhcpc_is_told_the_whole_configuration(server, client):
    options = [word for name in ("hostname", "ntpsrv") for word in ("-O", name)]
    udhcpc(client, *options)
    wait_for_address(client, f"{RESERVED}/24")
    expected = {
        "subnet": "255.255.255.0",
        "router": "10.9.0.254",
        "dns": "10.9.0.253 10.9.0.252",
        "domain": "cloud.example.org",
        "hostname": "cmp01",
        "ntpsrv": "10.9.0.251",
        "serverid": "10.9.0.1",
        "lease": "3600",
    }
    told = hook_told(client)
    assert {name: told.get(name) for name in expected} == expected


def test_a_client_without_the_broadcast_flag_is_answered_by_unicast(server, client):
    wire = client.call(socket.socket, socket.AF_PACKET, socket.SOCK_RAW)
    with wire:
        wire.bind(("eth0", 0x0800))
        wire.settimeout(10)
        udhcpc(client)
        while (frame := wire.recv(2048))[36:38] != b"\x00\x44":
            pass
    assert frame[:6] == bytes.fromhex(MAC.replace(":", ""))
    assert frame[30:34] == IPv4Address(RESERVED).packed


def test_udhcpc_renews_and_releases(server, client):
    process = udhcpc(client)
    wait_for_address(client, f"{RESERVED}/24")
    acknowledged = len(server.find(subject="ACK"))
    process.signal("SIGUSR1")
    wait_until(lambda: len(server.find(subject="ACK")) > acknowledged, "the lease is renewed")
    assert len(server.find(subject="OFFER")) == 1
    process.signal("SIGUSR2")
    wait_until(lambda: bool(server.find(subject="RELEASE")), "the release is heard")
    (release,) = server.find(subject="RELEASE")
    assert "the reservation stays" in release["reason"]


def test_dhclient_releases(server, client):
    dhclient(client)
    wait_for_address(client, f"{RESERVED}/24")
    dhclient(client, "-r").wait()
    wait_until(lambda: bool(server.find(subject="RELEASE")), "the release is heard")


@pytest.mark.parametrize("name", ["dhclient", "dhcpcd", "networkd"])
def test_a_short_lease_is_renewed_in_time_by_itself(machine, client, name):
    """Without udhcpc, which takes any lease for one of 16 seconds at least."""
    settings = replace(SETTINGS, lease_time=timedelta(seconds=6))
    server = start_server(machine, Start(settings, (RESERVATION,)))
    CLIENTS[name].start(client)
    wait_for_address(client, f"{RESERVED}/24")
    wait_until(lambda: len(server.find(subject="ACK")) >= 2, "the lease is renewed")
    assert len(server.find(subject="OFFER")) == 1


def test_an_unknown_client_is_met_with_silence(server, client):
    client.link("set", index=client.index("eth0"), address="02:00:00:00:00:99")
    process = udhcpc(client, "-n", "-t", "2")
    assert process.wait() == 1
    assert got(client) == set()
    told = server.find(client="02:00:00:00:00:99")
    assert {each["outcome"] for each in told} == {"silent"}
    assert "no reservation" in told[0]["reason"]


@pytest.fixture
def discovery(machine):
    """A server that gives unknown machines an address."""
    settings = replace(SETTINGS, pool=POOL)
    return start_server(machine, Start(settings, (RESERVATION,)))


@pytest.fixture
def stranger(client):
    client.link("set", index=client.index("eth0"), address="02:00:00:00:00:99")
    return client


def granted(server: RunningServer) -> list[str]:
    return [told["granted"] for told in server.told if "granted" in told]


def test_an_unknown_client_gets_an_address_of_the_pool_and_gives_it_back(discovery, stranger):
    process = udhcpc(stranger)
    wait_until(lambda: bool(got(stranger)), "the client has an address")
    (address,) = granted(discovery)
    assert IPv4Address(address) in POOL
    assert got(stranger) == {f"{address}/24"}
    process.signal("SIGUSR2")
    wait_until(lambda: bool(discovery.find(released=address)), "the lease is given back")


def test_a_known_client_keeps_its_reserved_address_beside_the_pool(discovery, client):
    udhcpc(client)
    wait_for_address(client, f"{RESERVED}/24")
    assert granted(discovery) == []


def test_a_client_gets_its_pool_address_again(discovery, stranger):
    first = udhcpc(stranger)
    wait_until(lambda: bool(got(stranger)), "the client has an address")
    first.stop()
    stranger.address("eth0", next(iter(got(stranger))), "del")
    udhcpc(stranger)
    wait_until(lambda: bool(got(stranger)), "the client has an address again")
    assert len(set(granted(discovery))) == 1


def test_an_address_in_use_is_declined_and_left_alone(lab, switch, discovery, stranger):
    before = udhcpc(stranger)
    wait_until(lambda: bool(got(stranger)), "the client has an address")
    before.stop()
    (first,) = granted(discovery)
    stranger.address("eth0", f"{first}/24", "del")
    squatter = lab.namespace("squatter")
    lab.plug(squatter, "eth0", switch, "br0")
    squatter.address("eth0", f"{first}/24")
    udhcpc(stranger, "-a500", "-A1")
    wait_until(lambda: bool(got(stranger)), "the client has another address")
    (declined,) = discovery.find(subject="DECLINE")
    assert f"declined {first}" in declined["reason"]
    assert granted(discovery)[-1] != first


def test_a_reserved_address_in_use_is_an_alarm(lab, switch, server, client):
    squatter = lab.namespace("squatter")
    lab.plug(squatter, "eth0", switch, "br0")
    squatter.address("eth0", f"{RESERVED}/24")
    udhcpc(client, "-a500")
    wait_until(lambda: bool(server.find(subject="DECLINE")), "the client declines")
    assert "another machine uses" in server.find(subject="DECLINE")[0]["reason"]
    assert "WARNING" in server.process.output


OLD_LEASE = """
lease {
  interface "eth0";
  fixed-address 10.9.0.77;
  option subnet-mask 255.255.255.0;
  option dhcp-lease-time 360000;
  option dhcp-message-type 5;
  option dhcp-server-identifier 10.9.0.1;
  renew 4 2037/01/01 00:00:00;
  rebind 4 2037/01/01 00:00:00;
  expire 4 2037/01/01 00:00:00;
}
"""


def test_a_client_that_comes_back_with_a_wrong_address_is_refused_and_begins_anew(server, client):
    (client.folder / "dhclient.leases").write_text(OLD_LEASE)
    process = dhclient(client)
    process.wait_for("DHCPNAK")
    wait_for_address(client, f"{RESERVED}/24")
    (nak,) = server.find(subject="NAK")
    assert "10.9.0.77" in nak["reason"]


def test_an_inform_is_answered_with_the_configuration_and_no_lease(server, client):
    client.address("eth0", "10.9.0.42/24")
    process = dhcpcd(client, f"--inform={RESERVED}/24")
    process.wait_for("received approval|acknowledged|adding route|leased")
    wait_until(lambda: bool(server.find(subject="ACK")), "the INFORM is answered")
    (ack,) = server.find(subject="ACK")
    assert ack["address"] == "None"
    assert not server.find(subject="OFFER")


def test_the_interface_may_be_made_again_while_serving(lab, switch, machine, server, client):
    machine.delete("wire0")
    server.process.wait_for("vanished")
    lab.plug(machine, "wire0", switch, "br0")
    machine.address("wire0", "10.9.0.1/24")
    server.process.wait_for("serving DHCP again")
    udhcpc(client)
    wait_for_address(client, f"{RESERVED}/24")


@pytest.mark.parametrize(("kind", "pause"), [("garbage", 0), ("crafted", 0.0005)])
def test_a_flood_does_not_keep_a_client_from_its_address(lab, switch, server, client, kind, pause):
    """Garbage as fast as it can be sent, and 2,000 malformed requests a second.

    With dhclient, because udhcpc lets the kernel filter nothing and drowns in the flood itself.
    """
    vandal = lab.namespace("vandal")
    lab.plug(vandal, "eth0", switch, "br0")
    vandal.address("eth0", "10.9.0.66/24")
    flood = vandal.start([sys.executable, "-c", FLOOD, kind, str(pause)], log="flood")
    flood.wait_for("begun")
    time.sleep(1)  # until all queues are as full as they get
    dhclient(client)
    wait_for_address(client, f"{RESERVED}/24", 20)
    assert flood.running
    flood.stop()
    assert server.process.running
    assert not re.search("Traceback|ERROR", server.process.output)


FLOOD = """
import os, socket, sys, time
kind, pause = sys.argv[1], float(sys.argv[2])
wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
wire.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
wire.bind(("10.9.0.66", 0))
request = bytes.fromhex("0101060064646464") + bytes(20) + b"\\2\\0\\0\\0\\0\\x77" + bytes(202)
request += bytes.fromhex("63825363")
assert len(request) == 240
garbage = [b"", b"x", bytes(1400)]
garbage += [os.urandom(size) for size in (1, 200, 240, 300, 1400) for _ in range(20)]
endings = (b"", b"\\x35\\xff", b"\\x35\\1\\1\\xff", b"\\x35\\1\\0\\xff")
crafted = [request + ending for ending in endings]
crafted += [request + os.urandom(size) for size in (1, 10, 100, 300) for _ in range(50)]
print("begun", flush=True)
while True:
    for thing in {"garbage": garbage, "crafted": crafted}[kind]:
        for to in ("255.255.255.255", "10.9.0.1"):
            for port in (67, 4011):
                wire.sendto(thing, (to, port))
                if pause:
                    time.sleep(pause)
"""


def test_two_servers_with_one_inventory_give_the_same_answer(lab, switch, server, client):
    second = lab.namespace("second")
    lab.plug(second, "wire0", switch, "br0")
    second.address("wire0", "10.9.0.2/24")
    settings = replace(SETTINGS, address=IPv4Address("10.9.0.2"))
    other = start_server(second, Start(settings, (RESERVATION,)))
    dhclient(client).wait_for("bound to")
    wait_for_address(client, f"{RESERVED}/24")
    wait_until(lambda: bool(server.find(subject="OFFER")), "the one offers")
    wait_until(lambda: bool(other.find(subject="OFFER")), "the other offers")
    assert len(server.find(subject="ACK")) + len(other.find(subject="ACK")) == 1
    told = server.find(outcome="silent") + other.find(outcome="silent")
    assert [each["reason"][:20] for each in told] == ["it chose the server "]


def test_a_pool_emptied_by_invented_clients_leaves_reservations_alone(
    lab, switch, discovery, client
):
    vandal = lab.namespace("vandal")
    lab.plug(vandal, "eth0", switch, "br0")
    flood = vandal.start(
        [sys.executable, "-c", INVENTED_CLIENTS], env={"PYTHONPATH": str(ROOT)}, log="flood"
    )
    discovery.process.wait_for("every address of the discovery pool is held")
    udhcpc(client)
    wait_for_address(client, f"{RESERVED}/24")
    assert flood.running
    offered = {told["address"] for told in discovery.find(subject="OFFER", outcome="served")}
    assert len(offered - {RESERVED}) == len(POOL)


INVENTED_CLIENTS = """
import socket, time
from pxe.dhcp.probe import frame_of, question, random_mac
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
wire.bind(("eth0", 0))
while True:
    mac = random_mac()
    wire.send(frame_of(question(mac, 1).encode(), mac))
    time.sleep(0.001)
"""
