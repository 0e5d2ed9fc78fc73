"""The cloud controller: every service of OpenStack that is not on the hosts of guests."""

from typing import ClassVar

from kickstarts.roles.cloudhost import CloudHost

SERVICES = ("KEYSTONE", "GLANCE", "PLACEMENT", "NOVA", "NEUTRON", "CINDER", "HEAT")


class Controller(CloudHost):
    """The one controller of a cloud.

    Options: `region`. `physical_network`, the name that networks of providers go by. `volumes`,
    the LVM volume group that Cinder makes volumes in; without it Cinder has no backend yet.
    """

    __slots__ = ()
    name = "controller"
    purpose = "the controller of the cloud"
    metapackage = "openstack-node-full"
    secrets = (
        "ADMIN_PASSWORD",
        "RABBIT_PASSWORD",
        "METADATA_SECRET",
        "HEAT_DOMAIN_PASSWORD",
        *(f"{service}_DB_PASSWORD" for service in SERVICES),
        *(f"{service}_PASSWORD" for service in SERVICES if service != "KEYSTONE"),
    )
    OPTIONS: ClassVar[tuple[str, ...]] = ("region", "physical_network", "volumes")

    @property
    def time_servers(self) -> tuple[str, ...]:
        """The rack's: all other hosts ask this one."""
        return self.within.time_servers

    @property
    def firewall(self) -> tuple[str, ...]:
        """What users of the cloud ask, and the time."""
        ports = ("5000", "6080", "8000", "8004", "8774", "8776", "8778", "9292", "9696")
        return ("ssh", "http", "https", "ntp", *(f"{port}/tcp" for port in ports))

    @property
    def inner_ports(self) -> tuple[str, ...]:
        """Database, messages, OVN's databases, metadata, cache."""
        return ("3306/tcp", "5672/tcp", "6641-6642/tcp", "8775/tcp", "11211/tcp")

    @property
    def settings(self) -> dict[str, str]:
        """What the services are told."""
        cloud = self.within
        gpus = (f"{gpu.alias}:{gpu.vendor}:{gpu.product}" for gpu in cloud.gpus)
        return {
            **super().settings,
            "REGION": cloud.option("region", "RegionOne"),
            "PHYSICAL_NETWORK": cloud.option("physical_network", "provider"),
            "VOLUMES": cloud.option("volumes", ""),
            "GPUS": " ".join(gpus),
        }


ROLE = Controller
