"""What a build would do, found out without doing any of it."""

import shlex
from dataclasses import dataclass

from imagebuild import layers
from imagebuild.build import check_kept, enter, keys_of, placed
from imagebuild.hostapt import with_host_mirrors
from imagebuild.plan import BuildPlan, Machine, Settings, plan_build
from imagebuild.recipe import Recipe
from imagebuild.repositories import Fetch, State, repository_state, state_urls
from imagebuild.workshop import stand_in


@dataclass(frozen=True, slots=True)
class Preview:
    """A build as it would be now."""

    plan: BuildPlan
    call: tuple[str, ...]
    """Runs the plan's script in namespaces of its own."""
    layer: str
    """What an earlier build made and this one would take; empty: nothing."""

    @property
    def script(self) -> str:
        """All of it as a person reads it."""
        recipe = self.plan.recipe
        head = [
            f"# {recipe.name}: {recipe.title}",
            f"# takes from an earlier build: {self.layer or 'nothing'}",
            f"# known only when it starts: {', '.join(self._unknown())}",
            shlex.join(self.call),
            f"# {self.call[-1]}:",
        ]
        return "\n".join([*head, self.plan.script])

    def _unknown(self) -> list[str]:
        """What this machine decides at the start of a build."""
        found = ["PID-XXXXXXXX" if self.plan.tmpfs else "PID and XXXXXXXX"]
        found[0] += " in the names of its folders"
        if self.plan.settings.tmpfs:
            found.append("how much memory is free, and so its tmpfs")
        if self.plan.private_devices:
            found.append("whether modules bring device mapper and vfat")
        return found


def preview(recipe: Recipe, settings: Settings, machine: Machine, fetch: Fetch) -> Preview:
    """Ask the mirrors and look into the cache as the build would; nothing is changed.

    Raises SourceUnavailable and BadInput as `build_image` does.
    """
    settings = with_host_mirrors(settings, recipe)
    draft = plan_build(recipe, settings, machine)
    state = State("")
    if settings.offline:
        check_kept(draft)
    else:
        urls, named = state_urls(recipe, settings), settings.mirror is not None
        state = repository_state(urls, fetch, named=named)
    shop = stand_in(settings.cache, in_memory=draft.tmpfs > 0)
    plan = placed(draft, machine, shop)
    kept = layers.choose(plan, keys_of(plan, state.key), settings.cache / "layers", shop.folder)
    plan = layers.with_layers(plan, kept)
    return Preview(plan, enter(plan, shop.job), kept.taken)
