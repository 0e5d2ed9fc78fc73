"""How one build made its image, for its provenance: nothing secret, no path of this machine."""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from imagebuild.layers import digest_file, expanded
from imagebuild.mirrors import public_address
from imagebuild.plan import BuildPlan
from imagebuild.provenance import Making, Source, digest_folder
from imagebuild.repositories import State, mirrors
from imagebuild.systems import Packaging

_ADDRESSES = ("MIRROR", "REPO", "URL", "CLOUD_IMAGES")
"""Parts of the names of settings that are addresses of what goes in."""
_NAMED_ONLY = "RACKSEED_PUBLIC_"
"""How settings begin whose addresses the image names, while nothing comes from there."""
_REPOSITORY = re.compile(r"(?m)^(?:baseurl|metalink|mirrorlist)=(\S+)")


def describe(
    plan: BuildPlan,
    begun: datetime,
    ended: datetime,
    state: State,
    *,
    versions: Mapping[str, str],
    layer: str = "",
) -> Making:
    """What a plan says, what the mirrors had, and the digests of what came from this machine."""
    return Making(
        recipe=plan.recipe.name,
        parameters=parameters(plan),
        begun=begun,
        ended=ended,
        elements={name: digest_folder(Path(path)) for name, path in expanded(plan)},
        versions=versions,
        sources=sources(plan, state, layer),
        layer=layer,
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


def sources(plan: BuildPlan, state: State, layer: str = "") -> tuple[Source, ...]:
    """Where packages and base images come from, the surest description of each.

    `layer` was made when the mirrors were in the state that its name ends with.
    """
    known = layer.partition("+")[2] or state.key
    found = [
        Source(public_address(one), state=known) for one in mirrors(plan.recipe, plan.settings)
    ]
    found += [Source(index.url, index.sha256) for index in state.indexes]
    found += _base(plan)
    found += [Source(address) for address in (*_repositories(plan), *_settings(plan))]
    first: dict[str, Source] = {}
    for source in found:
        first.setdefault(source.uri, source)
    first.pop("", None)
    return tuple(first.values())


def _base(plan: BuildPlan) -> list[Source]:
    """The base image: a local one by its digest, else what its maker published."""
    local, published = plan.settings.local_base, plan.recipe.system.base_image
    if local:
        return [Source(local.name, digest_file(local))]
    return [Source(published.url, published.sha256)] if published else []


def _repositories(plan: BuildPlan) -> Iterator[str]:
    """What the first packages of an RPM system come from where nobody named a mirror."""
    recipe = plan.recipe
    if plan.settings.mirror or recipe.system.packaging is not Packaging.RPM:
        return
    release = recipe.release.partition("-")[0]
    for _, element in expanded(plan):
        folder = Path(element, "yum.repos.d")
        own = folder / recipe.release  # diskimage-builder looks there first
        for file in sorted((own if own.is_dir() else folder).glob("*.repo")):
            for address in _REPOSITORY.findall(file.read_text(encoding="utf-8")):
                yield address.replace("$releasever", release).replace("$basearch", "x86_64")


def _settings(plan: BuildPlan) -> Iterator[str]:
    """Addresses that the recipe, or who builds, gave to elements."""
    for name, value in plan.env.items():
        if any(part in name for part in _ADDRESSES) and not name.startswith(_NAMED_ONLY):
            yield from map(public_address, value.replace(",", " ").split())
