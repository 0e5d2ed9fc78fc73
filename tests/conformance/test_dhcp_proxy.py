"""Our server in proxy mode beside dnsmasq, the DHCP server that was there before.

standing: eth0 10.9.0.9/24 (dnsmasq) ---- br0 (switch) ---- eth0: client
                                            |
                         server: wire0 10.9.0.1/24 (ours, proxy)
"""

import asyncio
from ipaddress import IPv4Address, IPv4Network

import pytest

from pxe.addresses import MacAddress
from pxe.boot import Architecture
from pxe.dhcp import options as o
from pxe.dhcp.message import NOWHERE
from pxe.dhcp.options import MessageType
from pxe.dhcp.probe import probe, refuse_other_servers
from pxe.errors import ServerConflict
from pxe.reservation import Reservation
from pxe.settings import DhcpMode, Settings
from tests.dhcp_clients import PxeClient, udhcpc
from tests.dhcp_server import Start, start_server
from tests.lab import Lab, wait_until
from tests.tools import require_tool

MAC = "02:00:00:00:00:42"
OURS = IPv4Address("10.9.0.1")
STANDING = IPv4Address("10.9.0.9")
GIVEN = "10.9.0.42"
SETTINGS = Settings(
    interface="wire0",
    address=OURS,
    subnet=IPv4Network("10.9.0.0/24"),
    mode=DhcpMode.PROXY,
)
RESERVATION = Reservation(MacAddress.parse(MAC), IPv4Address(GIVEN), "cmp01")


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
    made = lab.namespace("server")
    lab.plug(made, "wire0", switch, "br0")
    made.address("wire0", f"{OURS}/24")
    return made


@pytest.fixture
def client(lab, switch):
    made = lab.namespace("client")
    lab.plug(made, "eth0", switch, "br0", mac=MAC)
    return made


@pytest.fixture
def standing(lab, switch):
    """dnsmasq, which gives the client its address and knows nothing of booting."""
    made = lab.namespace("standing")
    lab.plug(made, "eth0", switch, "br0")
    made.address("eth0", f"{STANDING}/24")
    made.start(
        [
            require_tool("dnsmasq"), "--keep-in-foreground", "--conf-file=/dev/null", "--port=0",
            "--interface=eth0", "--bind-interfaces", "--user=root", "--log-facility=-",
            f"--dhcp-leasefile={made.folder}/leases", "--no-ping",
            "--dhcp-range=10.9.0.100,10.9.0.120,1h", f"--dhcp-host={MAC},{GIVEN}",
        ]
    ).wait_for("sockets bound exclusively")  # fmt: skip
    return made


@pytest.fixture
def server(machine, standing):
    return start_server(machine, Start(SETTINGS, (RESERVATION,)))


@pytest.mark.parametrize("architecture", [Architecture.BIOS, Architecture.EFI_X64])
def test_firmware_gets_its_address_from_one_and_its_boot_file_from_the_other(
    server, client, architecture
):
    with PxeClient(client, architecture) as firmware:
        offers = firmware.broadcast(firmware.message(MessageType.DISCOVER, flags=0x8000))
        assert set(offers) == {STANDING, OURS}
        assert offers[STANDING].yiaddr == IPv4Address(GIVEN)
        assert o.BOOT_FILE_NAME not in offers[STANDING].options
        proxy = offers[OURS]
        assert proxy.yiaddr == NOWHERE
        assert proxy.vendor_class == b"PXEClient"
        assert proxy.broadcast

        acknowledged = firmware.broadcast(
            firmware.message(
                MessageType.REQUEST,
                flags=0x8000,
                options={
                    o.REQUESTED_ADDRESS: IPv4Address(GIVEN).packed,
                    o.SERVER_IDENTIFIER: STANDING.packed,
                },
            )
        )
        assert set(acknowledged) == {STANDING}

        client.address("eth0", f"{GIVEN}/24")
        request = firmware.message(MessageType.REQUEST, ciaddr=IPv4Address(GIVEN))
        told = firmware.ask_boot_server(request, OURS)
    assert told.type is MessageType.ACK
    assert told.server == OURS
    assert told.siaddr == OURS
    expected = {Architecture.BIOS: b"undionly.kpxe", Architecture.EFI_X64: b"snponly.efi"}
    assert told.options[o.BOOT_FILE_NAME].rstrip(b"\0") == expected[architecture]
    assert told.options[o.MACHINE_IDENTIFIER] == bytes(17)


def test_a_client_that_does_not_boot_from_the_network_hears_only_the_standing_server(
    server, client
):
    udhcpc(client)
    wait_until(lambda: bool(client.addresses("eth0")), "the client has an address")
    assert {str(found) for found in client.addresses("eth0")} == {f"{GIVEN}/24"}
    assert {told["outcome"] for told in server.told if "outcome" in told} == {"silent"}


def test_the_probe_refuses_to_be_a_second_server_but_allows_the_proxy(machine, standing):
    found = machine.call(asyncio.run, probe("wire0", seconds=1))
    with pytest.raises(ServerConflict, match=r"10\.9\.0\.9 at .* offers the address"):
        refuse_other_servers(found, DhcpMode.AUTHORITATIVE)
    refuse_other_servers(found, DhcpMode.PROXY)


def test_the_probe_finds_our_own_proxy_unless_it_is_expected(lab, switch, server):
    second = lab.namespace("second")
    lab.plug(second, "wire0", switch, "br0")
    second.address("wire0", "10.9.0.2/24")
    found = second.call(asyncio.run, probe("wire0", [OURS], seconds=1))
    assert [each.address for each in found] == [STANDING]
