"""A small inventory for tests, one host for each way of installing."""

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from types import MappingProxyType

from provision.inventory.model import Cloud, Host, Install, Inventory, Network, Role, System
from pxe.addresses import MacAddress
from pxe.reservation import Pool

IMAGE = b"not much of a disk image" * 1000
KICKSTART = "network --hostname={{ fqdn }}\nreport {{ report_url }}\n"

HOSTS = ("img", "kick", "seed", "auto", "look")
POOL = Pool(IPv4Address("10.20.3.1"), IPv4Address("10.20.3.250"))


def mac_of(number: int) -> MacAddress:
    """The MAC address of the host with this number, from 1."""
    return MacAddress.parse(f"52:54:00:aa:00:{number:02x}")


def inventory(folder: Path, *, discovery: Pool | None = POOL, **network) -> Inventory:
    """An inventory with its image and template below `folder`."""
    artifacts = folder / "artifacts"
    artifacts.mkdir(exist_ok=True)
    (artifacts / "debian 12.img").write_bytes(IMAGE)
    (folder / "answer.j2").write_text(KICKSTART)
    system = System("os", "os/vmlinuz", ("os/initrd",), ("quiet",))
    answer = folder / "answer.j2"
    roles = {
        "img": Role("img", Install.IMAGE, image=Path("debian 12.img"), disk="largest"),
        "kick": Role("kick", Install.KICKSTART, os="os", answer=answer, metapackage="node-full"),
        "seed": Role("seed", Install.PRESEED, os="os", answer=answer),
        "auto": Role("auto", Install.AUTOINSTALL, os="os", answer=answer),
        "look": Role("look", Install.INSPECT),
    }
    hosts = {
        name: Host(name, "r12", mac_of(n), IPv4Address(f"10.20.0.{10 + n}"), roles[name])
        for n, name in enumerate(HOSTS, start=1)
    }
    return Inventory(
        path=folder / "rack.yaml",
        network=Network(
            "br-prov",
            IPv4Network("10.20.0.0/22"),
            gateway=IPv4Address("10.20.0.1"),
            dns=(IPv4Address("10.20.0.2"),),
            discovery=discovery,
            **network,
        ),
        cloud=Cloud("cloud.example.org", "epoxy", "img", (IPv4Address("10.20.0.1"),)),
        systems=MappingProxyType({"os": system}),
        roles=MappingProxyType(roles),
        hosts=MappingProxyType(hosts),
        artifacts=artifacts,
        store=f"sqlite:///{folder}/store.db",
    )
