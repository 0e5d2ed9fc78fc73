"""How one build made its image, for its provenance: nothing secret, no path of this machine."""

from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from imagebuild.layers import digest_file, expanded
from imagebuild.mirrors import public_address
from imagebuild.plan import BuildPlan
from imagebuild.provenance import Making, Source, digest_folder

TOOLS = ("rackseed", "diskimage-builder")
_MIRRORS = ("MIRROR", "REPO", "URL", "CLOUD_IMAGES")
"""Parts of the names of settings that are addresses of what goes in."""


def describe(plan: BuildPlan, begun: datetime, ended: datetime) -> Making:
    """What a plan says, and the digests of what it took from this machine."""
    recipe = plan.recipe
    return Making(
        recipe=recipe.name,
        parameters=parameters(plan),
        begun=begun,
        ended=ended,
        elements={name: digest_folder(Path(path)) for name, path in expanded(plan)},
        versions={name: metadata.version(name) for name in TOOLS},
        sources=sources(plan),
    )


def parameters(plan: BuildPlan) -> dict[str, Any]:
    """What a person chose."""
    recipe, settings = plan.recipe, plan.settings
    return {
        "title": recipe.title,
        "system": recipe.system.name,
        "release": recipe.release,
        "packages": list(recipe.packages),
        "elements": list(recipe.elements),
        "blockDevice": recipe.block_device.value,
        "fileSystem": recipe.filesystem,
        "kernelArguments": list(recipe.kernel_arguments),
        "compression": (settings.compression or recipe.compression).value,
        **({"snapshot": settings.snapshot} if settings.snapshot else {}),
        **({"sourceDateEpoch": settings.epoch} if settings.epoch is not None else {}),
    }


def sources(plan: BuildPlan) -> tuple[Source, ...]:
    """Where packages and base images come from."""
    words = [
        word
        for name, value in plan.env.items()
        if any(part in name for part in _MIRRORS)
        for word in value.replace(",", " ").split()
    ]
    found = [Source(uri) for uri in dict.fromkeys(map(public_address, words)) if uri]
    base = plan.settings.local_base
    return (*found, *([Source(base.name, digest_file(base))] if base else []))
