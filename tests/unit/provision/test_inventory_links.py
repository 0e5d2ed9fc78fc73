"""Disks, bonds, VLANs and addresses: read into the model, each mistake a sentence of its own."""

from ipaddress import IPv4Interface
from pathlib import Path

import pytest

from kickstarts.plan import Address, Bond, DiskChoice, DiskLayout, Layout
from provision import deploy, verify_answers
from provision.inventory import views
from provision.inventory.load import load
from provision.inventory.problems import InventoryInvalid
from tests.unit.provision.test_kickstarts import KEY

RACK = f"""\
network: {{interface: br-prov, subnet: 10.20.0.0/22, gateway: 10.20.0.1, server: 10.20.0.3, discovery: 10.20.3.1-10.20.3.9}}
administrators: {{ada: {{ssh_keys: ["{KEY}"]}}}}
store: sqlite:///store.db
systems: {{rocky-9: {{kernel: k, initrd: i}}}}
roles:
  plain: {{install: kickstart, os: rocky-9}}
  mirror: {{extends: plain, layout: raid1, disk: smallest}}
  image: {{install: image, image: a.raw}}
racks:
  r1:
    one:
      mac: 52:54:00:aa:00:01
      address: 10.20.0.11
      role: plain
      disk: /dev/disk/by-path/pci-0000:00:17.0-ata-1
      bond: {{members: [52:54:00:aa:00:01, 52:54:00:aa:00:11], mode: active-backup}}
      addresses:
        - {{address: 10.20.1.11/22}}
        - {{address: 10.30.0.11/24, vlan: 30}}
        - {{address: 192.0.2.11/24, mac: 52:54:00:aa:00:21}}
    two:
      mac: 52:54:00:aa:00:02
      address: 10.20.0.12
      role: mirror
      disk: [S3Z1NX0K, S3Z1NX0L]
      vlan: 20
    three: {{mac: 52:54:00:aa:00:03, address: 10.20.0.13, role: image, disk: S3Z1NX0M}}
"""  # noqa: E501  # as people write it


def write(folder: Path, text: str = RACK) -> Path:
    path = folder / "rack.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_host_has_the_links_and_disks_that_the_file_says(tmp_path):
    inventory = load(write(tmp_path))
    one, two = (
        views.install_plan(
            inventory.hosts[name], inventory, "http://10.20.0.3",
            report="http://10.20.0.3/report/a", secrets=None,
        )
        for name in ("one", "two")
    )  # fmt: skip
    assert one.disks == DiskLayout(
        DiskChoice.PATH, ("/dev/disk/by-path/pci-0000:00:17.0-ata-1",), Layout.LVM
    )
    assert one.network.bond == Bond(
        "bond0", ("52:54:00:aa:00:01", "52:54:00:aa:00:11"), "active-backup"
    )
    assert one.network.more == (
        Address(IPv4Interface("10.20.1.11/22")),
        Address(IPv4Interface("10.30.0.11/24"), vlan=30),
        Address(IPv4Interface("192.0.2.11/24"), "52:54:00:aa:00:21"),
    )
    assert two.disks == DiskLayout(DiskChoice.SERIAL, ("S3Z1NX0K", "S3Z1NX0L"), Layout.RAID1)
    assert two.network.vlan == 20
    assert inventory.hosts["three"].role.disk == "S3Z1NX0M"
    assert verify_answers.verify_answers(inventory, None) == []


def test_an_operators_own_template_sees_them_too(tmp_path):
    template = tmp_path / "own.ks.j2"
    template.write_text(
        "{{ disk }} {{ bond.name if bond }} {{ bond.members | join(',') if bond }}"
        "{% for each in addresses %} {{ each.address.ip }}/{{ each.vlan }}{% endfor %}"
    )
    inventory = load(write(tmp_path))
    plan = deploy.install_plan(inventory, inventory.hosts["one"], "http://h", "http://h/report")
    assert deploy.render_answer(plan, template) == (
        "/dev/disk/by-path/pci-0000:00:17.0-ata-1 bond0 52:54:00:aa:00:01,52:54:00:aa:00:11"
        " 10.20.1.11/None 10.30.0.11/30 192.0.2.11/None"
    )


MISTAKES = [
    # what to replace, by what, the one problem as `key: message`, the hint
    (
        "[S3Z1NX0K, S3Z1NX0L]",
        "S3Z1NX0K",
        "racks.r1.two.disk: found one disk for layout raid1, expected two",
        "write  disk: [S3Z1NX0K, SECOND]",
    ),
    (
        "[S3Z1NX0K, S3Z1NX0L]",
        "[S3Z1NX0K, S3Z1NX0K]",
        "racks.r1.two.disk: found S3Z1NX0K twice, expected two disks",
        None,
    ),
    (
        "[S3Z1NX0K, S3Z1NX0L]",
        "[S3Z1NX0K, smallest]",
        "racks.r1.two.disk: found S3Z1NX0K and smallest, expected two serial numbers or two paths",
        None,
    ),
    (
        "[S3Z1NX0K, S3Z1NX0L]",
        "[S3Z1NX0K, S3Z1NX0L, S3Z1NX0P]",
        "racks.r1.two.disk: found 3 disks, expected one, or two for layout raid1",
        None,
    ),
    (
        "[S3Z1NX0K, S3Z1NX0L]",
        "[S3Z1NX0K, S3Z1NX0M]",
        "racks.r1.three.disk: the disk S3Z1NX0M is that of host two in rack r1 (line 25), expected "
        "another",
        None,
    ),
    (
        "      disk: /dev/disk/by-path/pci-0000:00:17.0-ata-1\n",
        "      disk: [SER1, SER2]\n",
        "racks.r1.one.disk: found two disks for layout lvm, expected one",
        "layout: raid1 uses two",
    ),
    (
        "layout: raid1, disk: smallest",
        "layout: raid1, disk: SER1",
        "roles.mirror.disk: found one disk for layout raid1, expected two",
        "write  disk: [SER1, SECOND]",
    ),
    (
        "disk: S3Z1NX0M",
        "disk: /dev/disk/by-id/wwn-1",
        "racks.r1.three.disk: found /dev/disk/by-id/wwn-1 for an image, expected smallest, "
        "largest, first, or the serial number of one disk",
        None,
    ),
    (
        "disk: S3Z1NX0M",
        "vlan: 30",
        "racks.r1.three.vlan: found vlan with install: image, expected none",
        "an installer's answer writes a host's network; an image brings its own",
    ),
    (
        "[52:54:00:aa:00:01, 52:54:00:aa:00:11]",
        "[52:54:00:aa:00:01]",
        "racks.r1.one.bond.members: found fewer than two ports, expected two at least",
        None,
    ),
    (
        "[52:54:00:aa:00:01, 52:54:00:aa:00:11]",
        "[52:54:00:aa:00:01, 52:54:00:aa:00:01, 52:54:00:aa:00:11]",
        "racks.r1.one.bond.members: found a port twice, expected each once",
        None,
    ),
    (
        "[52:54:00:aa:00:01, 52:54:00:aa:00:11]",
        "[52:54:00:aa:00:12, 52:54:00:aa:00:11]",
        "racks.r1.one.bond.members: 52:54:00:aa:00:01, the port that boots, is not among them, "
        "expected it to be",
        "the host's address moves from that port to the bond",
    ),
    (
        "[52:54:00:aa:00:01, 52:54:00:aa:00:11]",
        "[52:54:00:aa:00:01, 52:54:00:aa:00:02]",
        "racks.r1.one.bond.members: the MAC address 52:54:00:aa:00:02 is taken by host two in rack "
        "r1, expected another",
        None,
    ),
    (
        "members: [52:54:00:aa:00:01, 52:54:00:aa:00:11], ",
        "",
        "racks.r1.one.bond: the key 'members' is missing",
        "add  members: [52:54:00:aa:00:01, 52:54:00:aa:00:02]",
    ),
    (
        "mode: active-backup",
        "mode: active",
        "racks.r1.one.bond.mode: found 'active', expected one of 802.3ad, active-backup, "
        "balance-rr, balance-xor, broadcast, balance-tlb, balance-alb",
        "did you mean 'active-backup'?",
    ),
    (
        "      vlan: 20\n",
        "      vlan: 4095\n",
        "racks.r1.two.vlan: found '4095', expected a VLAN's number between 1 and 4094",
        None,
    ),
    (
        "10.30.0.11/24",
        "10.30.0.11",
        "racks.r1.one.addresses[1].address: found '10.30.0.11', expected an IPv4 address with a "
        "prefix length such as 10.30.0.11/24",
        "write 10.30.0.11/24",
    ),
    (
        "10.30.0.11/24",
        "10.30.0.255/24",
        "racks.r1.one.addresses[1].address: found '10.30.0.255/24', expected an IPv4 address with "
        "a prefix length such as 10.30.0.11/24, neither the network's own nor its broadcast "
        "address",
        None,
    ),
    (
        "10.30.0.11/24, vlan: 30",
        "10.20.2.11/24, vlan: 30",
        "racks.r1.one.addresses[1]: 10.20.2.11/24 overlaps the provisioning subnet 10.20.0.0/22 on "
        "another link, expected another network",
        "without mac and vlan an address is on the link of the first",
    ),
    (
        "10.30.0.11/24, vlan: 30",
        "192.0.2.77/24, vlan: 30",
        "racks.r1.one.addresses[2]: 192.0.2.11/24 overlaps 192.0.2.77/24 on another link, expected "
        "another network",
        None,
    ),
    (
        "mac: 52:54:00:aa:00:21",
        "mac: 52:54:00:aa:00:11",
        "racks.r1.one.addresses[2].mac: 52:54:00:aa:00:11 boots or is in the bond, expected "
        "another port",
        "without mac an address is on the port that boots, or on its bond",
    ),
    (
        "mac: 52:54:00:aa:00:21",
        "mac: 52:54:00:aa:00:21, vlan: 30",
        "racks.r1.one.addresses[2].vlan: VLAN 30 is on another port of this host, expected it on "
        "one",
        None,
    ),
    (
        "10.20.1.11/22",
        "10.20.0.12/22",
        "racks.r1.one.addresses[0]: the address 10.20.0.12 is taken by host two in rack r1, "
        "expected another",
        None,
    ),
    (
        "10.20.1.11/22",
        "10.20.3.4/22",
        "racks.r1.one.addresses[0]: 10.20.3.4 lies inside the discovery range "
        "10.20.3.1-10.20.3.9, expected it outside",
        "unknown machines are given addresses of that range",
    ),
    (
        "10.20.1.11/22",
        "10.20.0.1/22",
        "racks.r1.one.addresses[0]: 10.20.0.1 is the gateway's address, expected one of its own",
        None,
    ),
    (
        "{address: 10.20.1.11/22}",
        "{adress: 10.20.1.11/22, address: 10.20.1.11/22}",
        "racks.r1.one.addresses[0].adress: unknown key 'adress', expected one of address, mac, "
        "vlan",
        "did you mean 'address'?",
    ),
]


@pytest.mark.parametrize(("old", "new", "expected", "hint"), MISTAKES, ids=[m[2] for m in MISTAKES])
def test_one_mistake_is_one_sentence_with_its_line(tmp_path, old, new, expected, hint):
    assert RACK.count(old) == 1
    text = RACK.replace(old, new)
    with pytest.raises(InventoryInvalid) as caught:
        load(write(tmp_path, text))
    (problem,) = caught.value.problems
    assert f"{problem.key}: {problem.message}" == expected
    assert problem.hint == hint
    word = problem.key.rpartition(".")[2].partition("[")[0]
    assert word in text.splitlines()[problem.place.line - 1] or "address" in word or word == "disk"


def test_all_mistakes_are_told_at_once(tmp_path):
    text = RACK
    spoiled = [MISTAKES[index] for index in (0, 8, 9, 15, 16)]
    for old, new, _, _ in spoiled:
        text = text.replace(old, new)
    with pytest.raises(InventoryInvalid) as caught:
        load(write(tmp_path, text))
    told = {f"{each.key}: {each.message}" for each in caught.value.problems}
    assert told == {expected for _, _, expected, _ in spoiled}


def test_what_the_cloud_says_of_time_language_and_logs_is_in_each_answer(tmp_path):
    line = (
        "cloud: {time_zone: Europe/Berlin, locale: de_DE.UTF-8, keyboard: de, log_host: 10.20.0.2}"
    )
    inventory = load(write(tmp_path, f"{line}\n{RACK}"))
    answer = verify_answers.masked_answer(inventory, inventory.hosts["one"])
    for words in ("timezone Europe/Berlin --utc", "lang de_DE.UTF-8", "keyboard --xlayouts=de",
                  "logging --host=10.20.0.2"):  # fmt: skip
        assert f"\n{words}\n" in answer


@pytest.mark.parametrize(
    ("key", "value"),
    [("time_zone", "Berlin/%pre"), ("locale", "german"), ("keyboard", "DE"), ("log_host", "log")],
)
def test_a_word_that_no_installer_knows_is_told(tmp_path, key, value):
    with pytest.raises(InventoryInvalid) as caught:
        load(write(tmp_path, f"cloud: {{{key}: {value}}}\n{RACK}"))
    (problem,) = caught.value.problems
    assert problem.key == f"cloud.{key}"
    assert problem.message.startswith(f"found '{value}', expected ")


def test_the_example_gives_answers_that_their_installers_take():
    example = Path(__file__).parents[3] / "examples" / "metal.yaml"
    inventory = load(example)
    assert list(inventory.hosts) == ["cmp01", "sto01", "gw01"]
    assert verify_answers.verify_answers(inventory, None) == []
