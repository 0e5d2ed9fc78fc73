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
        """What is asked from elsewhere: services by TLS, consoles, guests' signals, the time."""
        return ("ssh", "http", "https", "ntp", "6080/tcp", "8000/tcp")

    @property
    def inner_ports(self) -> tuple[str, ...]:
        """Database, messages, OVN's databases, metadata, cache; services as hosts ask them."""
        services = ("5000", "8004", "8774", "8776", "8778", "9292", "9696")
        own = ("3306", "5672", "6641-6642", "8775", "11211")
        return tuple(f"{port}/tcp" for port in (*own, *services))

    @property
    def packages(self) -> tuple[str, ...]:
        """What serves TLS."""
        return ("mod_ssl",)

    @property
    def settings(self) -> dict[str, str]:
        """What the services are told."""
        cloud = self.within
        return {
            **super().settings,
            "REGION": cloud.option("region", "RegionOne"),
            "PHYSICAL_NETWORK": cloud.option("physical_network", "provider"),
            "VOLUMES": cloud.option("volumes", ""),
            "GPUS": " ".join(gpu.words for gpu in cloud.gpus),
        }


ROLE = Controller
