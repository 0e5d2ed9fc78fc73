"""Our DHCP server behind ISC's relay, which adds option 82 and insists on getting it back.

server: wire0 10.30.0.1/24 ---- up 10.30.0.254/24 :relay: down 10.9.0.254/24 ---- eth0: client
"""

import socket
from ipaddress import IPv4Address, IPv4Network

import pytest

from pxe.addresses import MacAddress
from pxe.dhcp import options
from pxe.dhcp.message import decode
from pxe.reservation import Pool, Reservation
from pxe.settings import Settings
from tests.dhcp_clients import CLIENTS, udhcpc
from tests.dhcp_server import Start, start_server
from tests.lab import Lab, wait_until
from tests.tools import require_tool

MAC = "02:00:00:00:00:42"
RESERVED = "10.9.0.42"
SETTINGS = Settings(
    interface="wire0",
    address=IPv4Address("10.30.0.1"),
    subnet=IPv4Network("10.9.0.0/24"),
    gateway=IPv4Address("10.9.0.254"),
    pool=Pool(IPv4Address("10.9.0.200"), IPv4Address("10.9.0.219")),
)
RESERVATION = Reservation(MacAddress.parse(MAC), IPv4Address(RESERVED), "cmp01")


@pytest.fixture
def lab():
    with Lab() as made:
        yield made


@pytest.fixture
def relay(lab):
    made = lab.namespace("relay")
    made.sysctl("net.ipv4.ip_forward", 1)
    return made


@pytest.fixture
def machine(lab, relay):
    made = lab.namespace("server")
    lab.cable(made, "wire0", relay, "up")
    made.address("wire0", "10.30.0.1/24")
    relay.address("up", "10.30.0.254/24")
    made.route("10.30.0.254", "10.9.0.0/24")
    return made


@pytest.fixture
def client(lab, relay):
    made = lab.namespace("client")
    lab.cable(relay, "down", made, "eth0", right_mac=MAC)
    relay.address("down", "10.9.0.254/24")
    return made


@pytest.fixture
def server(machine, relay, client):
    started = start_server(machine, Start(SETTINGS, (RESERVATION,)))
    relay.start(
        [
            require_tool("dhcrelay", package="isc-dhcp-relay"), "-4", "-d", "-a",
            "-iu", "up", "-id", "down", "10.30.0.1",
        ]
    ).wait_for("Sending on   Socket/fallback")  # fmt: skip
    return started


@pytest.mark.parametrize("name", ["udhcpc", "udhcpc-broadcast", "dhclient", "dhcpcd"])
def test_a_client_behind_a_relay_gets_its_address(server, client, name):
    CLIENTS[name].start(client)
    wait_until(
        lambda: {str(found) for found in client.addresses("eth0")} == {f"{RESERVED}/24"},
        "the client has its address",
    )
    assert server.find(subject="ACK", client=MAC)


def test_option_82_comes_back_as_the_relay_sent_it(server, relay, client):
    seen = {}
    wire = relay.call(socket.socket, socket.AF_PACKET, socket.SOCK_RAW)
    with wire:
        wire.bind(("up", 3))  # both directions
        wire.settimeout(10)
        udhcpc(client)
        while len(seen) < 2:
            frame = wire.recv(2048)
            if frame[12:14] == b"\x08\x00" and frame[23] == socket.IPPROTO_UDP:
                message = decode(frame[42:])
                seen[message.op] = message
    request, reply = seen[1], seen[2]
    assert request.options[options.RELAY_INFORMATION]
    assert (
        list(reply.options.items())[-1]
        == (options.RELAY_INFORMATION, request.options[options.RELAY_INFORMATION])
    )  # fmt: skip
    assert reply.giaddr == request.giaddr == IPv4Address("10.9.0.254")


def test_a_lease_is_renewed_by_unicast_past_the_relay(server, client):
    process = udhcpc(client)
    wait_until(lambda: bool(client.addresses("eth0")), "the client has an address")
    client.route("10.9.0.254")
    process.signal("SIGUSR1")
    # The relay's packet socket sees the request pass and relays it too: two answers are right.
    wait_until(lambda: len(server.find(subject="ACK")) >= 2, "the lease is renewed")
    process.wait_for("sending renew to server 10.30.0.1")
    assert len(server.find(subject="OFFER")) == 1


def test_an_unknown_client_behind_a_relay_gets_an_address_of_the_pool(server, client):
    client.link("set", index=client.index("eth0"), address="02:00:00:00:00:99")
    udhcpc(client)
    wait_until(lambda: bool(client.addresses("eth0")), "the client has an address")
    (found,) = client.addresses("eth0")
    assert SETTINGS.pool is not None
    assert found.ip in SETTINGS.pool
