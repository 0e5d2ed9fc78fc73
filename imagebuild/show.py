"""A recipe as a person reads it: what it says after all that it extends."""

from collections.abc import Mapping

from imagebuild.gpus import BRANCHES, GENERATIONS, OPEN_FROM, generations
from imagebuild.recipe import GpuKind, Recipe

_SECURE_BOOT: Mapping[str, str] = {
    "ubuntu": "its modules are signed, and load",
    "centos7": "the image starts by BIOS alone",
}
_ENROLL = "enroll /var/lib/dkms/mok.pub on each host, or turn it off"


def facts(recipe: Recipe) -> dict[str, object]:
    """A recipe as plain values, in the order of its file."""
    found: dict[str, object] = {
        "name": recipe.name,
        "title": recipe.title,
        "system": recipe.system.name,
        "release": recipe.release,
        "elements": list(recipe.elements),
        "packages": list(recipe.packages),
        "environment": dict(recipe.environment),
        "block_device": recipe.block_device.value,
        "filesystem": recipe.filesystem,
        "mkfs_options": recipe.mkfs_options,
        "size": recipe.size,
        "memory": recipe.memory,
        "data_sources": list(recipe.data_sources),
        "kernel_arguments": list(recipe.kernel_arguments),
        "compression": recipe.compression.value,
        "gpu": recipe.gpu.value if recipe.gpu else None,
        "nvidia_branch": recipe.nvidia_branch,
        "properties": dict(recipe.properties),
        "note": recipe.note,
    }
    return {name: value for name, value in found.items() if value not in (None, "", [], {})}


def gpu_lines(recipe: Recipe) -> list[str]:
    """Which GPUs the driver of a recipe drives, who says so, and what Secure Boot asks for."""
    if recipe.gpu is not GpuKind.DRIVER or recipe.nvidia_branch is None:
        return []
    branch = BRANCHES[recipe.nvidia_branch]
    free = recipe.system.open_gpu_modules
    drives = generations(branch.number, open_modules=free)
    modules = f"open kernel modules, {OPEN_FROM} and newer" if free else "proprietary modules"
    rows = [f"{name}: {GENERATIONS[name]}" for name in drives]
    boot = _SECURE_BOOT.get(recipe.system.name, _ENROLL)
    return [*rows, f"({modules}; NVIDIA: {branch.source})", f"(Secure Boot: {boot})"]
