"""The systems that Anaconda installs, and in what they differ: one table, no copy of a template."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches

from kickstarts.errors import UnknownSystem
from kickstarts.plan import Repository


@dataclass(frozen=True, slots=True)
class System:
    """One release of one distribution."""

    name: str
    title: str
    syntax: str
    """The kickstart language, by pykickstart's name."""
    tree: Repository
    """The installation tree on its distributor's mirrors."""
    repositories: tuple[Repository, ...] = ()
    """What belongs to the system and is not in the tree."""
    installer: str = "dnf"
    """What installs packages on the running system."""
    has_sshkey: bool = True
    """The command `sshkey`; without it the keys are written in %post."""
    has_timesource: bool = True
    """The command `timesource`; without it `timezone` names the time servers."""
    has_onerror: bool = True
    """The section %onerror; without it each script tells of its own failure."""
    has_keyfiles: bool = True
    """NetworkManager keeps its connections in files of its own, not in ifcfg files."""
    has_yescrypt: bool = True
    has_sshd_folder: bool = True
    """/etc/ssh/sshd_config.d is read."""
    cloud: bool = True
    """OpenStack's current release has packages for it."""
    cloud_releases: tuple[str, ...] = ()
    """Packages that name the repositories in which OpenStack's requirements lie."""
    code_ready: bool = False
    """The repository `crb` has to be switched on for them."""


def _enterprise(name: str, title: str, release: str, tree: str, more: str) -> System:
    """An EL of today: BaseOS is the tree, AppStream lies beside it."""
    return System(
        name=f"{name}-{release}",
        title=f"{title} {release}",
        syntax=f"RHEL{release}",
        tree=Repository("BaseOS", mirrors=tree),
        repositories=(Repository("AppStream", mirrors=more),),
        cloud_releases=CLOUD_RELEASES[release],
        code_ready=True,
    )


CLOUD_RELEASES: Mapping[str, tuple[str, ...]] = {
    # RDO's Epoxy; brings the release packages of Open vSwitch and RabbitMQ that belong to it.
    "9": ("centos-release-openstack-epoxy",),
    # The services are our own packages; what they stand on comes from CentOS's special interest
    # groups.
    "10": ("centos-release-nfv-openvswitch", "centos-release-rabbitmq-4"),
}
"""By EL's release."""


def _stream(release: str) -> System:
    link = "https://mirrors.centos.org/metalink?repo=centos-{}-{}-stream&arch=x86_64"
    return _enterprise(
        "centos-stream", "CentOS Stream", release,
        link.format("baseos", release), link.format("appstream", release),
    )  # fmt: skip


def _rocky(release: str) -> System:
    link = "https://mirrors.rockylinux.org/mirrorlist?arch=x86_64&repo={}-{}"
    return _enterprise(
        "rocky", "Rocky Linux", release,
        link.format("BaseOS", release), link.format("AppStream", release),
    )  # fmt: skip


def _alma(release: str) -> System:
    link = "https://mirrors.almalinux.org/mirrorlist/{}/{}"
    return _enterprise(
        "alma", "AlmaLinux", release,
        link.format(release, "baseos"), link.format(release, "appstream"),
    )  # fmt: skip


def _fedora(release: str) -> System:
    link = "https://mirrors.fedoraproject.org/metalink?repo={}&arch=x86_64"
    updates = Repository("updates", mirrors=link.format(f"updates-released-f{release}"))
    return System(
        name=f"fedora-{release}",
        title=f"Fedora {release}",
        syntax=f"F{release}",
        tree=Repository("fedora", mirrors=link.format(f"fedora-{release}")),
        repositories=(updates,),
    )


_CENTOS_7 = System(
    name="centos-7",
    title="CentOS 7",
    syntax="RHEL7",
    # Its mirrors are gone; the vault keeps the last state of 7.9.
    tree=Repository("os", url="https://vault.centos.org/7.9.2009/os/x86_64/"),
    repositories=(Repository("updates", url="https://vault.centos.org/7.9.2009/updates/x86_64/"),),
    installer="yum",
    has_sshkey=False,
    has_timesource=False,
    has_onerror=False,
    has_keyfiles=False,
    has_yescrypt=False,
    has_sshd_folder=False,
    cloud=False,
)

SYSTEMS: Mapping[str, System] = {
    system.name: system
    for system in (
        *map(_fedora, ("42", "43", "44")),
        *(make(release) for make in (_stream, _rocky, _alma) for release in ("9", "10")),
        _CENTOS_7,
    )
}
"""By name, as an inventory calls them."""


def system(name: str) -> System:
    """One of the systems.

    Raises UnknownSystem.
    """
    if name in SYSTEMS:
        return SYSTEMS[name]
    error = UnknownSystem(f"no kickstart is known for '{name}', expected {', '.join(SYSTEMS)}")
    if near := get_close_matches(name, SYSTEMS, 1):
        error.add_note(f"did you mean '{near[0]}'?")
    raise error


def mirrored(system: System, tree: str | None, repositories: tuple[Repository, ...]) -> System:
    """The system from a mirror of one's own: nothing is asked of the distributor's then."""
    if tree is None:
        return replace(system, repositories=(*system.repositories, *repositories))
    return replace(system, tree=Repository(system.tree.name, url=tree), repositories=repositories)
