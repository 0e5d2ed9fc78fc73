"""What the ramdisk is told to write, and what cloud-init finds on the disk then."""

import base64
import gzip
import json
import subprocess
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import yaml

from provision import cloudinit, images
from provision.digests import FileFacts
from provision.errors import AnswerError
from provision.inventory import views
from provision.inventory.model import Administrator, Bond, Host, Inventory, MoreAddress
from pxe.addresses import MacAddress
from tests.tools import require_tool
from tests.unit.provision.racks import inventory

REPORT = "http://10.20.0.1/report/abc"
SECOND = MacAddress.parse("52:54:00:bb:00:02")
ADA = Administrator("ada", ("ssh-ed25519 AAAA ada",))
BOB = Administrator("bob", password="$6$salt$hash")


def rack(folder: Path, **host_changes: Any) -> tuple[Inventory, Host]:
    made = inventory(folder)
    host = replace(made.hosts["img"], **host_changes)
    hosts = MappingProxyType({**made.hosts, "img": host})
    return replace(made, hosts=hosts, administrators=(ADA, BOB)), host


def answer(made: Inventory, host: Host) -> dict[str, str]:
    image = host.role.image
    assert image is not None
    facts = FileFacts(5, "ab" * 32)
    text = images.answer(host, made, image, facts, url="URL", report=REPORT)
    return dict(line.split("=", 1) for line in text.splitlines())


def beside(made: Inventory, text: str) -> None:
    (made.artifacts / "debian 12.img.json").write_text(text)


def test_an_image_of_other_origin_is_written_as_it_is(tmp_path: Path) -> None:
    made, host = rack(tmp_path)
    assert answer(made, host).keys() == {"image", "sha256", "size", "disk", "compression"}


def test_a_staged_image_has_its_size_and_a_seed(tmp_path: Path) -> None:
    made, host = rack(tmp_path)
    beside(made, json.dumps({"raw_size": 1 << 30, "seed": "nocloud"}))
    told = answer(made, host)
    assert told["raw_size"] == str(1 << 30)
    mtype = require_tool("mtype", package="mtools")
    path = tmp_path / "seed"
    path.write_bytes(gzip.decompress(base64.b64decode(told["seed"])))
    files = {}
    for name in ("user-data", "meta-data", "network-config"):
        argv = [mtype, "-i", path, f"::{name}"]
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
        files[name] = yaml.safe_load(done.stdout)
        if name == "user-data":
            assert done.stdout.startswith("#cloud-config\n")
    assert files["user-data"]["phone_home"]["url"] == REPORT
    assert files["meta-data"]["local-hostname"] == "img"
    assert files["network-config"]["version"] == 2


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"raw_size": "x"}', '{"raw_size": 0}', '{"seed": "no"}']
)
def test_what_lies_beside_an_image_and_is_broken_is_named(tmp_path: Path, text: str) -> None:
    made, host = rack(tmp_path)
    beside(made, text)
    with pytest.raises(AnswerError, match=r"debian 12\.img\.json"):
        answer(made, host)


def test_people_may_become_root_with_what_they_have(tmp_path: Path) -> None:
    made, host = rack(tmp_path)
    told = cloudinit.user_data(host, made, REPORT)
    ada, bob = told["users"]
    assert ada["ssh_authorized_keys"] == list(ADA.ssh_keys)
    assert (ada["lock_passwd"], ada["sudo"]) == (True, "ALL=(ALL) NOPASSWD:ALL")
    assert (bob["lock_passwd"], bob["passwd"]) == (False, BOB.password)
    assert bob["sudo"] == "ALL=(ALL) ALL"
    assert (told["hostname"], told["fqdn"]) == ("img", "img.cloud.example.org")
    assert told["ssh_pwauth"] is False
    assert told["ntp"]["servers"] == ["10.20.0.1"]


def test_another_deployment_is_another_instance(tmp_path: Path) -> None:
    _, host = rack(tmp_path)
    first, second = (cloudinit.meta_data(host, f"{REPORT}{n}") for n in (1, 2))
    assert first["instance-id"] != second["instance-id"]
    assert "abc" not in first["instance-id"], "the report's token"


def links(made: Inventory, host: Host) -> dict[str, Any]:
    return cloudinit.network_config(views.network_settings(host, made), made)


def test_one_port_is_known_by_its_mac_address(tmp_path: Path) -> None:
    made, host = rack(tmp_path)
    assert links(made, host) == {
        "version": 2,
        "ethernets": {
            "port1": {
                "match": {"macaddress": str(host.mac)},
                "set-name": "port1",
                "dhcp4": False,
                "addresses": ["10.20.0.11/22"],
                "gateway4": "10.20.0.1",
                "nameservers": {"addresses": ["10.20.0.2"], "search": ["cloud.example.org"]},
            }
        },
    }


def test_a_bond_its_vlan_and_another_port(tmp_path: Path) -> None:
    third = MacAddress.parse("52:54:00:bb:00:03")
    storage = MoreAddress(IPv4Interface("10.30.0.5/24"), third)
    inner = MoreAddress(IPv4Interface("10.40.0.5/24"), None, 40)
    mac = rack(tmp_path)[1].mac
    made, host = rack(
        tmp_path,
        bond=Bond((mac, SECOND), "802.3ad", "bond0"),
        vlan=20,
        addresses=(storage, inner),
    )
    told = links(made, host)
    bond = told["bonds"]["bond0"]
    assert bond["interfaces"] == ["port1", "port2"]
    assert bond["parameters"]["mode"] == "802.3ad"
    assert "addresses" not in bond
    matches = {name: port["match"]["macaddress"] for name, port in told["ethernets"].items()}
    assert matches == {"port1": str(mac), "port2": str(SECOND), "port3": str(third)}
    assert told["ethernets"]["port3"]["addresses"] == ["10.30.0.5/24"]
    assert "gateway4" not in told["ethernets"]["port3"]
    first, second = told["vlans"]["vlan20"], told["vlans"]["vlan40"]
    assert (first["link"], first["addresses"]) == ("bond0", ["10.20.0.11/22"])
    assert first["gateway4"] == str(IPv4Address("10.20.0.1"))
    assert (second["id"], second["link"]) == (40, "bond0")


def test_a_plan_shows_the_seed_without_passwords(tmp_path: Path) -> None:
    made, host = rack(tmp_path)
    assert images.shown(host, made, "URL") is None
    beside(made, json.dumps({"seed": "nocloud"}))
    told = images.shown(host, made, "URL")
    assert told is not None
    assert "$6$" not in told
    assert "passwd: '***'" in told
    user, _, rest = told.partition("# meta-data\n")
    meta, _, network = rest.partition("# network-config\n")
    assert yaml.safe_load(user)["phone_home"]["url"] == "URL"
    assert yaml.safe_load(meta)["local-hostname"] == "img"
    assert yaml.safe_load(network)["version"] == 2
