"""Recipes: what an image is made of, each a small YAML file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from imagebuild.systems import SYSTEMS, System


class BlockDevice(Enum):
    """How the disk is divided."""

    GPT = "gpt"
    """One disk for BIOS and UEFI."""
    MBR = "mbr"
    """BIOS alone, as systems without a current GRUB want it."""


class Compression(Enum):
    """How the finished qcow2 is packed."""

    ZLIB = "zlib"
    ZSTD = "zstd"
    """A quarter of the time; QEMU 5.1 or newer reads it."""
    NONE = "none"


class GpuKind(Enum):
    """What an image has for GPUs."""

    READY = "ready"
    """nouveau is off and the kernel's arguments are set; the owner installs a driver."""
    DRIVER = "driver"
    """NVIDIA's driver, its module built for the image's own kernel."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """One image."""

    name: str
    """As users write it: `debian-12`, `centos7-gpu`; the finished file is named for it."""
    title: str
    system: System = SYSTEMS["debian"]
    release: str = ""
    """As its mirror names it: `bookworm`, `9-stream`, `43`."""
    elements: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    """`DIB_…` settings of the elements."""
    block_device: BlockDevice = BlockDevice.GPT
    filesystem: str = "ext4"
    mkfs_options: str = ""
    size: int | None = None
    """In GiB; None: as large as what is in it, and some room."""
    memory: int = 1536
    """MiB that a machine must have for it; the boot proof gives no more. Generous where nobody has
    seen less do."""
    data_sources: tuple[str, ...] = ("ConfigDrive", "OpenStack", "NoCloud")
    """Of cloud-init, in this order."""
    kernel_arguments: tuple[str, ...] = ()
    compression: Compression = Compression.ZLIB
    gpu: GpuKind | None = None
    nvidia_branch: int | None = None
    """The driver branch that the distribution has."""
    properties: Mapping[str, str] = field(default_factory=dict)
    """Of the published image, in Glance's words."""
    note: str = ""
    """What a person should know before building it."""
    places: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Where keys and the words of `elements` are written, `FILE:LINE: KEY`, for errors."""
