"""The systems that images are made of, and in what they differ for a build."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from imagebuild.defaults import default


class Packaging(Enum):
    """Whose packages a system is made of."""

    DEB = "deb"
    RPM = "rpm"


@dataclass(frozen=True, slots=True)
class BaseImage:
    """An image whose root becomes the first root of ours."""

    url: str
    sha256: str
    """As its maker published it."""


@dataclass(frozen=True, slots=True)
class System:
    """One distribution."""

    name: str
    packaging: Packaging
    mirror: str
    """Where its packages are; `RELEASE` stands for the release."""
    state: tuple[str, ...]
    """Files below the mirror that change when its packages do, `RELEASE` likewise."""
    bootstrap: str
    """The hook of `root.d` that makes the first root, skipped when that root is kept."""
    security_mirror: str = ""
    """Where its security updates are, if elsewhere."""
    mirror_variable: str = "DIB_DISTRIBUTION_MIRROR"
    other_mirrors: bool = True
    """Whether it can be built from another mirror: diskimage-builder's own RPM systems cannot."""
    snapshots: str = ""
    """Where, on the host `snapshot` beside the mirror's, its earlier states are; empty: nowhere."""
    base_image: BaseImage | None = None
    """What it starts from where it is not made from packages alone."""
    open_gpu_modules: bool = True
    """Its driver images get NVIDIA's open kernel modules, not the proprietary ones."""


DEB_STATE = ("dists/RELEASE/InRelease", "dists/RELEASE-updates/InRelease")
EL_STATE = (
    "RELEASE/BaseOS/x86_64/os/repodata/repomd.xml",
    "RELEASE/AppStream/x86_64/os/repodata/repomd.xml",
)
DEBIAN_MIRROR = default("debian-minimal", "DIB_DISTRIBUTION_MIRROR")
UBUNTU_MIRROR = default("ubuntu-common", "default_ubuntu_mirror")
YUM_BOOTSTRAP = "08-yum-chroot"
CENTOS7_IMAGE = BaseImage(
    # https://cloud.centos.org/centos/7/images/sha256sum.txt
    "https://cloud.centos.org/centos/7/images/CentOS-7-x86_64-GenericCloud-2009.qcow2",
    "e38bab0475cc6d004d2e17015969c659e5a308111851b0e2715e84646035bdd3",
)

SYSTEMS: Mapping[str, System] = {
    system.name: system
    for system in (
        System(
            "debian",
            Packaging.DEB,
            DEBIAN_MIRROR,
            DEB_STATE,
            "08-debootstrap",
            security_mirror=f"{DEBIAN_MIRROR}-security",
            snapshots="archive/{path}/{stamp}",
            open_gpu_modules=False,
        ),
        System(
            "ubuntu",
            Packaging.DEB,
            UBUNTU_MIRROR,
            (*DEB_STATE, "dists/RELEASE-security/InRelease"),
            "08-debootstrap",
            security_mirror=UBUNTU_MIRROR,
            snapshots="{path}/{stamp}",
        ),
        # The base image is dated and has a digest of its own; its repositories will not change.
        System(
            "centos7",
            Packaging.RPM,
            "https://vault.centos.org/centos",
            (),
            "",
            base_image=CENTOS7_IMAGE,
            open_gpu_modules=False,
        ),
        System(
            "centos-stream",
            Packaging.RPM,
            "https://mirror.stream.centos.org",
            EL_STATE,
            YUM_BOOTSTRAP,
            other_mirrors=False,
        ),
        System(
            "rocky",
            Packaging.RPM,
            "https://dl.rockylinux.org/pub/rocky",
            EL_STATE,
            YUM_BOOTSTRAP,
        ),
        System(
            "alma",
            Packaging.RPM,
            "https://repo.almalinux.org/almalinux",
            EL_STATE,
            YUM_BOOTSTRAP,
        ),
        System(
            "fedora",
            Packaging.RPM,
            "https://dl.fedoraproject.org/pub/fedora/linux",
            (
                "releases/RELEASE/Everything/x86_64/os/repodata/repomd.xml",
                "updates/RELEASE/Everything/x86_64/repodata/repomd.xml",
            ),
            YUM_BOOTSTRAP,
            other_mirrors=False,
        ),
    )
}
