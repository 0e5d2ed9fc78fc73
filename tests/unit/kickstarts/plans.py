"""Plans as tests use them."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from kickstarts.plan import Firmware, InstallPlan, NetworkSettings, Packages, SecretsSource, User
from kickstarts.roles import roles
from kickstarts.roles.base import Cloud, Gpu
from kickstarts.systems import SYSTEMS
from kickstarts.values import Secret

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBHAaD0y3vMjwUX2h8GnZ1rGv7W0hGgJmJzBqkEeuA3q ada@desk"
HASH = "$6$saltsalt$" + "A" * 86
YESCRYPT = "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$tnSYvahCwPBHKZUspmcxMfb0.WiB9W.zEaKlOBL35rC"
TOKEN = "0123456789abcdefghijABCDEFGHIJ0123456789-_x"
SECRETS_URL = f"https://10.20.0.3:443/answer/{TOKEN}"
PIN = Secret("sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=")

PLAN = InstallPlan(
    system="rocky-9",
    host="ctl01",
    domain="cloud.example.org",
    network=NetworkSettings(
        address=IPv4Interface("10.20.0.11/22"), mac="52:54:00:aa:00:01",
        gateway=IPv4Address("10.20.0.1"), dns=(IPv4Address("10.20.0.2"),),
    ),
    report_url=Secret(f"http://10.20.0.3/report/{TOKEN}"),
    secrets=SecretsSource(Secret(SECRETS_URL), PIN),
    administrators=(User("ada", (KEY,)),),
    time_servers=("10.20.0.1",),
)  # fmt: skip
"""A plain host."""

CLOUD = Cloud(
    full_name="ctl01.cloud.example.org",
    address=IPv4Address("10.20.0.11"),
    controller="ctl01.cloud.example.org",
    controller_address=IPv4Address("10.20.0.11"),
    subnet=IPv4Network("10.20.0.0/22"),
    time_servers=("10.20.0.1",),
    gpus=(Gpu("K20m", "10de", "1028"),),
)
"""A cloud with GPUs, as its controller sees it."""


def sample(system: str, role: str) -> InstallPlan:
    """The plan of a host with a role, in a cloud; all roles are found, also new ones."""
    plan = replace(PLAN, system=system)
    if role == "base":
        return plan
    cloud = CLOUD
    if role != "controller":
        address = IPv4Address("10.20.0.12")
        cloud = replace(CLOUD, full_name="cmp01.cloud.example.org", address=address)
        network = NetworkSettings(
            IPv4Interface("10.20.0.12/22"), "52:54:00:aa:00:02", plan.network.gateway,
            plan.network.dns,
        )  # fmt: skip
        plan = replace(plan, host="cmp01", network=network, firmware=Firmware.UEFI)
    ours = Packages(ours=f"http://10.20.0.3/rpm/{system}/current/")
    return replace(plan, role=roles()[role].of(cloud), packages=ours)


SAMPLES = [
    (system, role)
    for system in SYSTEMS
    for role in roles()
    if SYSTEMS[system].cloud or role == "base"
]
"""Every system with every role that it can have."""
