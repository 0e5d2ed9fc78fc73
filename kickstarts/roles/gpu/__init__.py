"""The compute node whose GPUs belong to its guests."""

from kickstarts.errors import BadValue
from kickstarts.roles.compute import Compute


class GpuCompute(Compute):
    """A compute node that hands PCI devices to guests, whole."""

    __slots__ = ()
    name = "gpu"
    purpose = "a compute node with GPUs for guests"
    metapackage = "openstack-node-gpu"

    def __post_init__(self) -> None:
        """Raises BadValue."""
        super().__post_init__()
        if not self.within.gpus:
            raise BadValue("gpu_passthrough", "one device at least for the role gpu")

    @property
    def kernel_arguments(self) -> tuple[str, ...]:
        """The IOMMU on for either maker, and vfio-pci there before any driver of graphics.

        Unknown words are ignored by the kernel: intel_iommu means nothing to AMD's machines.
        """
        ids = ",".join(dict.fromkeys(gpu.id for gpu in self.within.gpus))
        return (
            "intel_iommu=on",
            "amd_iommu=on",
            "iommu=pt",
            "rd.driver.pre=vfio-pci",
            f"vfio-pci.ids={ids}",
            "rd.driver.blacklist=nouveau",
            "modprobe.blacklist=nouveau",
        )

    @property
    def settings(self) -> dict[str, str]:
        """Which devices guests may have."""
        return {**super().settings, "GPUS": " ".join(gpu.words for gpu in self.within.gpus)}


ROLE = GpuCompute
