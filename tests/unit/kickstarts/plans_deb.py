"""Plans for the installers that are not Anaconda."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface

from kickstarts.plan import (
    Bond,
    DiskChoice,
    DiskLayout,
    Firmware,
    InstallPlan,
    Layout,
    NetworkSettings,
    Packages,
    Repository,
    User,
)
from kickstarts.values import Secret

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBHAaD0y3vMjwUX2h8GnZ1rGv7W0hGgJmJzBqkEeuA3q ada@desk"
HASH = "$6$saltsalt$" + "A" * 86
YESCRYPT = "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$tnSYvahCwPBHKZUspmcxMfb0.WiB9W.zEaKlOBL35rC"
TOKEN = "0123456789abcdefghijABCDEFGHIJ0123456789-_x"
NETWORK = NetworkSettings(
    IPv4Interface("10.20.0.21/22"), "52:54:00:aa:00:07", IPv4Address("10.20.0.1"),
    (IPv4Address("10.20.0.2"),),
)  # fmt: skip


def plain(system: str) -> InstallPlan:
    """One disk, one port, one administrator, the distributor's mirrors."""
    return InstallPlan(
        system=system,
        host="node7",
        network=NETWORK,
        report_url=Secret(f"http://10.20.0.3/report/{TOKEN}"),
        domain="cloud.example.org",
        administrators=(User("ada", (KEY,)),),
        time_servers=("10.20.0.1", "10.20.0.2"),
    )


def full(system: str) -> InstallPlan:
    """Two mirrored disks by serial, a bond with a VLAN, passwords, a mirror of one's own."""
    ports = (NETWORK.mac, "52:54:00:aa:00:08")
    ubuntu = system.startswith("ubuntu")
    return replace(
        plain(system),
        firmware=Firmware.UEFI,
        disks=DiskLayout(DiskChoice.SERIAL, ("S3Z8NB0K101", "S3Z8NB0K102"), Layout.RAID1),
        network=replace(NETWORK, bond=Bond("bond0", ports), vlan=120),
        administrators=(
            User("ada", (KEY,)),
            User("bob", (KEY,), Secret(HASH), "Bob Example"),
        ),
        root_password=Secret(HASH),
        packages=Packages(
            tree=f"http://mirror.example.org/{'ubuntu' if ubuntu else 'debian'}/",
            repositories=(Repository("site", url="http://mirror.example.org/site/"),),
            more=("lldpd",),
        ),
        log_host="10.20.0.3",
        time_zone="Europe/Berlin",
    )


def disks(choice: DiskChoice, *named: str, layout: Layout = Layout.LVM) -> DiskLayout:
    """A layout, in few words."""
    return DiskLayout(choice, named, layout)
