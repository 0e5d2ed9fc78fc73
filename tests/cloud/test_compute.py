"""The compute node that a kickstart of ours makes beside the controller.

Open vSwitch and OVN are real, with Open vSwitch's own datapath in the place of the kernel's.
libvirt is not real: its sockets open onto nobody, and Nova runs its own fake driver; so nothing is
said of guests on real hypervisors. How those move is in `test_migration`.
"""

from collections.abc import Iterator

import pytest

from tests.cloud import options, state
from tests.cloud.machine import Machine
from tests.cloud.rack import Rack, operators_own
from tests.cloud.state import holders

STEPS_S = 300
NO_LIBVIRT = "[DEFAULT]\ncompute_driver = fake.FakeDriver\n"
"""Nova's own stand-in for a hypervisor: guests are names there."""
NO_KERNEL = """\
[Service]
ExecStartPre=/usr/bin/ovs-vsctl set open_vswitch . external-ids:ovn-bridge-datapath-type=netdev
"""
"""For OVN's controller: its bridges need no module of the kernel."""
AGENTS = """
import json
import openstack

print(json.dumps({"agents": sorted((each.agent_type, each.host, each.is_alive)
                                   for each in openstack.connect().network.agents())}))
"""
START_A_GUEST = """
import json
import openstack

cloud = openstack.connect()
image = cloud.image.create_image(name="tiny", disk_format="raw", container_format="bare",
                                 data=b"\\0" * 512)
flavour = cloud.compute.create_flavor(name="small", ram=64, vcpus=1, disk=1)
network = cloud.network.create_network(name="own")
cloud.network.create_subnet(network_id=network.id, ip_version=4, cidr="192.0.2.0/24")
guest = cloud.compute.create_server(name="guest", image_id=image.id, flavor_id=flavour.id,
                                    networks=[{"uuid": network.id}])
guest = cloud.compute.wait_for_server(guest, wait=120)
volume = cloud.block_storage.create_volume(name="none", size=1)
providers = {each.name for each in cloud.placement.resource_providers()}
print(json.dumps({
    "status": guest.status,
    "host": guest.hypervisor_hostname,
    "address": guest.addresses["own"][0]["addr"],
    "providers": sorted(providers),
}))
"""


@pytest.fixture(scope="module")
def compute(rack: Rack, cloud: Machine) -> Iterator[Machine]:
    """A compute node, after its first start."""
    machine = rack.install("cmp01")
    operators_own(machine, NO_LIBVIRT)
    drop_in = machine.upper / "etc/systemd/system/ovn-controller.service.d/fixture.conf"
    drop_in.parent.mkdir()
    drop_in.write_text(NO_KERNEL)
    try:
        machine.boot()
        machine.wait_for(lambda: state.ended(machine), STEPS_S)
        yield machine
    finally:
        machine.close()


def test_a_compute_node_makes_itself_part_of_the_cloud(rack, cloud, compute):
    assert state.done(compute) == [
        "10-host-name", "12-firewall", "15-time", "20-controller", "28-trust", "30-libvirt",
        "40-neutron", "50-nova", "90-check",
    ]  # fmt: skip
    assert " failed" not in state.log(compute)
    assert rack.state("cmp01") == "active"
    cells = ("runuser", "--user=nova", "--", "nova-manage", "cell_v2", "list_hosts")
    cloud.wait_for(lambda: compute.name in cloud.run(*cells), 60)


@pytest.mark.parametrize(
    "path",
    ["/etc/nova/nova.conf", "/etc/neutron/neutron.conf", "/etc/neutron/plugins/ml2/ovn_agent.ini"],
)
def test_options_are_such_as_the_service_knows(compute, path):
    assert options.complaints(compute, path) == []


def test_a_second_run_on_a_compute_node_changes_nothing(rack, compute):
    before = state.files_of(compute), state.processes_of(compute)
    state.restore_secrets(compute, rack.secrets)
    compute.run(state.STEPS, "--again")
    assert (state.files_of(compute), state.processes_of(compute)) == before


def test_secrets_are_left_on_a_compute_node_where_they_are_needed_alone(rack, compute):
    needed = {"/etc/nova/nova.conf", "/etc/neutron/neutron.conf",
              "/etc/neutron/plugins/ml2/ovn_agent.ini"}  # fmt: skip
    assert set(holders(compute, rack.secrets)) == needed
    assert not (compute.root / "root/anaconda-ks.cfg").exists()


def test_a_guest_finds_its_way_through_all_services(cloud, compute):
    found = state.ask(cloud, START_A_GUEST)
    assert found["status"] == "ACTIVE"
    assert found["host"] == compute.name
    assert found["address"].startswith("192.0.2.")
    assert found["providers"] == [compute.name]


def test_neutron_knows_its_agents_on_a_compute_node_and_that_they_live(cloud, compute):
    # With its extension for metadata, Neutron's OVN agent goes by the older agent's name.
    wanted = [["OVN Controller agent", compute.name, True],
              ["OVN Metadata agent", compute.name, True]]  # fmt: skip
    # Asking lets the agents answer, the second one within ten seconds.
    cloud.wait_for(lambda: state.ask(cloud, AGENTS)["agents"] == wanted, 60)
