"""A recipe, a person's settings and a machine to the exact call of diskimage-builder."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from imagebuild.disks import Ids, disk_config, same_ids
from imagebuild.phases import PACKING_MARK
from imagebuild.recipe import BlockDevice, Compression, GpuKind, Recipe
from imagebuild.systems import Packaging

PACKAGE = Path(__file__).parent
ELEMENTS = PACKAGE / "elements"
"""Our own elements; they come before those of diskimage-builder."""
PROGRAMS = PACKAGE / "programs"
"""Programs that stand before the machine's own during a build."""

SEAL = "rackseed-seal"
"""The element that removes what an image must not carry; part of every recipe."""

TMPFS_NEED = 6 << 10
"""MiB that must be available so that a build may live in memory alone."""
TMPFS_SHARE = 0.7
"""How much of the available memory its tmpfs may grow to; what is not written is not taken."""

EXT4_FEATURES = (
    "-O none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,"
    "sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum"
)
"""Named one by one, so that the builder's newer mke2fs adds none that the image cannot check."""

DRIVER_COMPONENTS: Mapping[str, str] = {
    "debian": "main,contrib,non-free,non-free-firmware",
    "ubuntu": "main,universe,restricted",
}
"""Where NVIDIA's driver is."""

ROOT_LABEL = "cloudimg-rootfs"
XFS_LABEL = "img-rootfs"
"""XFS has room for 12 characters."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What a build finds where it runs."""

    programs: Path
    """The folder that has `disk-image-create` and its Python."""
    path: str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    available: int = 0
    """Free memory in MiB."""
    cores: int = 1
    device_mapper: bool = True
    vfat: bool = True
    proxies: tuple[tuple[str, str], ...] = ()
    """`http_proxy` and so on, as they are set."""

    def shared(self, builds: int) -> "Machine":
        """What each of several builds at once may take for its own."""
        return replace(self, available=self.available // builds)


@dataclass(frozen=True, slots=True)
class Settings:
    """What a person decides about one build, and where it may write."""

    output: Path
    """The folder for the finished file and what lies beside it."""
    cache: Path
    """What builds keep for one another."""
    work: Path
    """This build's own folder, on a tmpfs when memory allows."""
    archives: Path | None = None
    """A folder of this build's own with packages that earlier builds fetched."""
    mirror: str | None = None
    security_mirror: str | None = None
    snapshot: str | None = None
    """When the mirrors were as they are to be: `20261101T060000Z`."""
    compression: Compression | None = None
    offline: bool = False
    local_base: Path | None = None
    """A base image at hand, instead of the one that would be fetched."""
    epoch: int | None = None
    """SOURCE_DATE_EPOCH, in seconds."""
    tmpfs: bool = True


@dataclass(frozen=True, slots=True)
class BuildPlan:
    """One build, ready to be run or printed."""

    recipe: Recipe
    settings: Settings
    env: Mapping[str, str]
    """All of its environment: nothing is inherited."""
    argv: tuple[str, ...]
    convert: tuple[str, ...]
    """The call of qemu-img that makes the finished file of the raw one."""
    tmpfs: int
    """MiB; 0: the work stays on disk."""
    private_devices: bool
    """The build sees device nodes of its own instead of the machine's."""

    @property
    def final(self) -> Path:
        """The finished file."""
        return self.settings.output / f"{self.recipe.name}.qcow2"

    @property
    def partial(self) -> Path:
        """Its name until it is whole."""
        return self.settings.output / f".{self.recipe.name}.qcow2.partial"

    @property
    def raw(self) -> Path:
        """The disk before conversion."""
        return self.settings.work / f"{self.recipe.name}.raw"

    @property
    def script(self) -> str:
        """Both calls as a person would type them."""
        lines = [f"export {name}={shlex.quote(value)}" for name, value in self.env.items()]
        told = shlex.join(("echo", PACKING_MARK))
        return "\n".join([*lines, shlex.join(self.argv), told, shlex.join(self.convert)]) + "\n"


def plan_build(recipe: Recipe, settings: Settings, machine: Machine) -> BuildPlan:
    """The build of one recipe. Values in, a value out; nothing is looked up."""
    in_memory = settings.tmpfs and machine.available >= TMPFS_NEED
    stock = machine.device_mapper and machine.vfat
    raw = settings.work / recipe.name
    return BuildPlan(
        recipe=recipe,
        settings=settings,
        env=environment(recipe, settings, machine),
        argv=(
            str(machine.programs / "disk-image-create"),
            "-n",  # its `base` brings an iSCSI initiator and tools for adding repositories
            "-a", "amd64",
            "-t", "raw",
            "-o", str(raw),
            "--no-tmpfs",
            *(["--offline"] if settings.offline else []),
            *(["--image-size", str(recipe.size)] if recipe.size else []),
            "--root-label", root_label(recipe),
            *mkfs_options(recipe),
            *(["-p", ",".join(recipe.packages)] if recipe.packages else []),
            *elements(recipe),
        ),
        convert=convert(recipe, settings, raw.with_name(f"{recipe.name}.raw"), machine.cores),
        tmpfs=int(machine.available * TMPFS_SHARE) if in_memory else 0,
        private_devices=not stock,
    )  # fmt: skip


def elements(recipe: Recipe) -> tuple[str, ...]:
    """What diskimage-builder is to put together, in our order."""
    disk = "block-device-mbr" if recipe.block_device is BlockDevice.MBR else "block-device-efi"
    words = ("vm", disk, "cloud-init-datasources", *recipe.elements, "rackseed-layers", SEAL)
    return tuple(dict.fromkeys(words))


def environment(recipe: Recipe, settings: Settings, machine: Machine) -> dict[str, str]:
    """Every variable of the build, sorted by name."""
    path = f"{PROGRAMS}:{machine.programs}:{machine.path}"
    ids = Ids() if settings.epoch is None else same_ids(recipe, settings.epoch)
    found = {
        "PATH": path,
        "HOME": str(settings.work / "home"),
        "USER": "root",
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "TMPDIR": str(settings.work),
        "TMP_DIR": str(settings.work),
        "ELEMENTS_PATH": str(ELEMENTS),
        "DIB_PYTHON_EXEC": str(machine.programs / "python"),
        "DIB_IMAGE_CACHE": str(settings.cache / "downloads"),
        "DIB_LOCKFILES": str(settings.cache / "locks"),
        "DIB_RELEASE": recipe.release,
        "DIB_CLOUD_INIT_DATASOURCES": ", ".join(recipe.data_sources),
        "DIB_BOOTLOADER_DEFAULT_CMDLINE": " ".join(recipe.kernel_arguments) or "net.ifnames=1",
        "DIB_BLOCK_DEVICE_CONFIG": disk_config(recipe, machine.device_mapper, machine.vfat, ids),
        "DIB_GRUB_TIMEOUT": "1",
        "DIB_NO_TIMER_CHECK": "False",
        **_packaging(recipe, settings),
        **_gpu(recipe),
        **recipe.environment,
        **dict(machine.proxies),
    }
    if settings.mirror:
        found[recipe.system.mirror_variable] = settings.mirror
    if settings.local_base:
        found["DIB_LOCAL_IMAGE"] = str(settings.local_base)
    elif base := recipe.system.base_image:
        found |= {"RACKSEED_BASE_URL": base.url, "RACKSEED_BASE_SHA256": base.sha256}
    if settings.epoch is not None:
        found["SOURCE_DATE_EPOCH"] = str(settings.epoch)
    return dict(sorted(found.items()))


def _packaging(recipe: Recipe, settings: Settings) -> dict[str, str]:
    """What only systems of such packages are told."""
    if recipe.system.packaging is Packaging.RPM:
        return {"DIB_YUM_MINIMAL_CREATE_INTERFACES": "0"}
    found = {
        "DEBIAN_FRONTEND": "noninteractive",
        "DIB_APT_LOCAL_CACHE": "0",
        "DIB_APT_MINIMAL_CREATE_INTERFACES": "0",
        "DIB_AVOID_PACKAGES_UPDATE": "1",
        **({"RACKSEED_APT_ARCHIVES": str(settings.archives)} if settings.archives else {}),
        "RACKSEED_PUBLIC_MIRROR": recipe.system.mirror,
        "RACKSEED_PUBLIC_SECURITY_MIRROR": recipe.system.security_mirror,
        **({"RACKSEED_SNAPSHOT": settings.snapshot} if settings.snapshot else {}),
    }
    if recipe.system.name == "debian":
        found["DIB_DEBIAN_SECURITY_MIRROR"] = (
            settings.security_mirror or recipe.system.security_mirror
        )
    if recipe.gpu is GpuKind.DRIVER:
        found["DIB_DEBIAN_COMPONENTS"] = DRIVER_COMPONENTS[recipe.system.name]
    return found


def _gpu(recipe: Recipe) -> dict[str, str]:
    """Which driver the GPU elements are to install."""
    if recipe.gpu is not GpuKind.DRIVER or recipe.nvidia_branch is None:
        return {}
    return {"RACKSEED_NVIDIA_BRANCH": str(recipe.nvidia_branch)}


def root_label(recipe: Recipe) -> str:
    """The label by which the root is mounted."""
    return XFS_LABEL if recipe.filesystem == "xfs" else ROOT_LABEL


def mkfs_options(recipe: Recipe) -> list[str]:
    """Options of mkfs for the root; ext4's features are never left to the builder's mke2fs."""
    options = recipe.mkfs_options or (EXT4_FEATURES if recipe.filesystem == "ext4" else "")
    return ["--mkfs-options", options] if options else []


def convert(recipe: Recipe, settings: Settings, raw: Path, cores: int) -> tuple[str, ...]:
    """qemu-img's call; a coroutine for each core and some more keeps all of them at work."""
    kind = settings.compression or recipe.compression
    packed = [] if kind is Compression.NONE else ["-c", "-o", f"compression_type={kind.value}"]
    return (
        "qemu-img", "convert",
        "-m", str(min(16, max(4, cores * 4))),
        "-W",
        "-f", "raw",
        "-O", "qcow2",
        *packed,
        str(raw),
        str(settings.output / f".{recipe.name}.qcow2.partial"),
    )  # fmt: skip
