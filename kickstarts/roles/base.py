"""What every role is: facts about the cloud in, facts about the host out."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import ClassVar, Self

from kickstarts.errors import BadValue
from kickstarts.values import check, check_all


@dataclass(frozen=True, slots=True)
class Gpu:
    """PCI devices of one kind that guests are given."""

    alias: str
    """By which flavours ask for it."""
    vendor: str
    product: str
    sriov: bool = False
    """They could be divided. They go whole, but Nova knows them by another type."""

    def __post_init__(self) -> None:
        """Raises BadValue."""
        check("name", "gpu alias", self.alias)
        check("pci", f"gpu {self.alias}: vendor", self.vendor)
        check("pci", f"gpu {self.alias}: product", self.product)

    @property
    def id(self) -> str:
        """As the kernel writes it."""
        return f"{self.vendor}:{self.product}"

    @property
    def words(self) -> str:
        """As steps read it."""
        return f"{self.alias}:{self.id}:{'type-PF' if self.sriov else 'type-PCI'}"


@dataclass(frozen=True, slots=True)
class Cloud:
    """What a role may know of its host and of the cloud around it."""

    full_name: str
    """Of the host itself."""
    address: IPv4Address
    """Of the host itself."""
    controller: str
    """The controller's full name."""
    controller_address: IPv4Address
    subnet: IPv4Network
    """Where all hosts of the cloud are."""
    time_servers: tuple[str, ...] = ()
    """Of the rack; the controller asks them, all others ask the controller."""
    gpus: tuple[Gpu, ...] = ()
    """Of this host; on the controller those of all hosts."""
    options: tuple[tuple[str, str], ...] = ()
    """What the operator chose for this role, by names that the role knows."""

    def __post_init__(self) -> None:
        """Raises BadValue."""
        check("domain", "host", self.full_name)
        check("domain", "controller", self.controller)
        check_all("server", "time_servers", self.time_servers)
        kinds: dict[str, bool] = {}
        for gpu in self.gpus:  # Nova refuses an alias of two types, and every guest with it
            if kinds.setdefault(gpu.alias, gpu.sriov) is not gpu.sriov:
                raise BadValue("gpu_passthrough", f"one sriov for all that is called {gpu.alias}")
        for name, value in self.options:
            check("name", "role option", name)
            check("setting", f"role option {name}", value)

    def option(self, name: str, default: str) -> str:
        """What was chosen, or the default."""
        return dict(self.options).get(name, default)


@dataclass(frozen=True, slots=True)
class Role:
    """What a host is for; a subclass in a package of its own, below `kickstarts.roles`, says it.

    The shell scripts in that package's folder `steps` run when the host first starts, together with
    those of the class that it extends, in the order of the numbers that their names begin with.
    The folder `helpers` holds programs that they call.
    """

    name: ClassVar[str]
    purpose: ClassVar[str]
    """In words, for the first line of the answer."""
    metapackage: ClassVar[str | None] = None
    secrets: ClassVar[tuple[str, ...]] = ()
    """What the steps need of the secrets, by variable."""
    OPTIONS: ClassVar[tuple[str, ...]] = ()
    """What an operator may choose."""

    cloud: Cloud | None = None

    def __post_init__(self) -> None:
        """Raises BadValue."""
        check_all("variable", "secrets", self.secrets)
        for name, _ in self.cloud.options if self.cloud else ():
            if name not in self.OPTIONS:
                raise BadValue(f"role option {name}", f"one of {', '.join(self.OPTIONS) or 'none'}")
        for variable, value in self.settings.items():
            check("variable", "setting", variable)
            check("setting", variable, value)
        check_all("package", "packages", self.packages)
        check_all("firewall", "firewall", self.firewall)
        check_all("argument", "kernel_arguments", self.kernel_arguments)

    @classmethod
    def of(cls, cloud: Cloud) -> Self:
        """The role of a host in this cloud.

        Raises BadValue.
        """
        return cls(cloud)

    @property
    def within(self) -> Cloud:
        """The cloud, for roles that cannot be without one."""
        if self.cloud is None:
            raise BadValue("controller", f"a cloud's controller: the role {self.name} needs one")
        return self.cloud

    @property
    def firewall(self) -> tuple[str, ...]:
        """What others may reach: services, or ports as 5000/tcp."""
        return ("ssh",)

    @property
    def packages(self) -> tuple[str, ...]:
        """What the steps need beside the metapackage."""
        return ()

    @property
    def kernel_arguments(self) -> tuple[str, ...]:
        """What the installed kernel is started with."""
        return ()

    @property
    def time_servers(self) -> tuple[str, ...] | None:
        """Where this host gets its time, where that is not for the plan to say."""
        return None

    @property
    def settings(self) -> dict[str, str]:
        """What the steps are told that is no secret, by variable."""
        return {}


class Base(Role):
    """A host without a part in the cloud: a system, its administrators, its network."""

    __slots__ = ()
    name = "base"
    purpose = "a plain host"
