"""What every host of the cloud does before its own part: its name, its time. Not a role itself."""

from kickstarts.roles.base import Role


class CloudHost(Role):
    """A host of the cloud."""

    __slots__ = ()

    @property
    def inner_ports(self) -> tuple[str, ...]:
        """What only hosts of the same segment may reach."""
        return ()

    @property
    def settings(self) -> dict[str, str]:
        """Where the host is and where its controller is."""
        cloud = self.within
        return {
            "HOST": cloud.full_name,
            "ADDRESS": str(cloud.address),
            "CONTROLLER": cloud.controller,
            "CONTROLLER_ADDRESS": str(cloud.controller_address),
            "SUBNET": str(cloud.subnet),
            "INNER_PORTS": " ".join(self.inner_ports),
            "TIME_SERVERS": " ".join(self.time_servers or cloud.time_servers),
        }
