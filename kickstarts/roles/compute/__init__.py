"""The compute node: guests run here. The controller's address is the one thing that differs."""

from typing import ClassVar

from kickstarts.errors import BadValue
from kickstarts.roles.cloudhost import CloudHost

MIGRATIONS = ("tls", "ssh", "tcp")
PORTS = {"tls": ("16514/tcp",), "tcp": ("16509/tcp",)}
"""libvirt's own, by how guests move."""
CPU_MODES = ("host-model", "host-passthrough", "custom")


class Compute(CloudHost):
    """A host whose processors belong to guests.

    Options: `migration`, tls, ssh or tcp. With ssh the memory of guests that move is not encrypted.
    With tcp every machine that reaches port 16509 owns the guests; it exists for clouds that always
    had it so. `cpu_mode`, with `cpu_models` for custom;
    guests move only between hosts that can give them the same processor. `virt_type`, qemu where
    the machine is itself a guest. `region`, the same as the controller's.
    """

    __slots__ = ()
    name = "compute"
    purpose = "a compute node"
    metapackage = "openstack-node-compute"
    secrets = (
        "RABBIT_PASSWORD",
        "NOVA_PASSWORD",
        "PLACEMENT_PASSWORD",
        "NEUTRON_PASSWORD",
        "CINDER_PASSWORD",
        "METADATA_SECRET",
        "MIGRATION_SECRET",
    )
    OPTIONS: ClassVar[tuple[str, ...]] = (
        "migration",
        "cpu_mode",
        "cpu_models",
        "virt_type",
        "region",
    )

    def __post_init__(self) -> None:
        """Raises BadValue."""
        super().__post_init__()
        for name, known in (
            ("migration", MIGRATIONS),
            ("cpu_mode", CPU_MODES),
            ("virt_type", ("kvm", "qemu")),
        ):
            if self.within.option(name, known[0]) not in known:
                raise BadValue(f"role option {name}", f"one of {', '.join(known)}")

    @property
    def time_servers(self) -> tuple[str, ...]:
        """The controller, before anything starts."""
        return (self.within.controller,)

    @property
    def inner_ports(self) -> tuple[str, ...]:
        """Consoles of guests, their tunnels, and the memory of guests that move."""
        ports = ("5900-6923/tcp", "6081/udp", "49152-49215/tcp")
        return (*ports, *PORTS.get(self._migration, ()))

    @property
    def packages(self) -> tuple[str, ...]:
        """libvirt's door to the network, which hosts that move guests by SSH do not need."""
        return ("libvirt-daemon-proxy",) if self._migration in PORTS else ()

    @property
    def settings(self) -> dict[str, str]:
        """How guests run and move."""
        option = self.within.option
        return {
            **super().settings,
            "MIGRATION": self._migration,
            "CPU_MODE": option("cpu_mode", CPU_MODES[0]),
            "CPU_MODELS": option("cpu_models", ""),
            "VIRT_TYPE": option("virt_type", "kvm"),
            "REGION": option("region", "RegionOne"),
            "GPUS": "",
        }

    @property
    def _migration(self) -> str:
        return self.within.option("migration", MIGRATIONS[0])


ROLE = Compute
