"""Layers: what a build makes before the disk, kept for the next build of the very same.

diskimage-builder's work falls in two: hooks up to post-install.d make a system in a folder, later
ones put it on a disk. The first half is a function of elements, settings, packages and the state
of the repositories; its result is kept under a digest of all of them. A build that finds it runs
the second half alone. Where only the repositories are the same, the first root is taken.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

from diskimage_builder.element_dependencies import (
    AlreadyProvidedException,
    MissingElementException,
    MissingOSException,
    get_elements,
)

from imagebuild.errors import BadInput
from imagebuild.plan import ELEMENTS, SEAL, BuildPlan, elements
from imagebuild.recipe import Recipe
from imagebuild.yamlfile import unknown

STOCK_ELEMENTS = Path(get_elements.__code__.co_filename).with_name("elements")
"""Those of diskimage-builder."""

FORMAT = "2"
"""Changes when what is kept changes in kind."""

FIRST_HALF = ("root.d", "extra-data.d", "pre-install.d", "install.d", "post-install.d")
"""Folders of hooks whose work is in the system layer."""
RESTORING = "rackseed-layers"
"""The element whose own hooks stay."""

NOT_IN_KEY = (
    "PATH", "HOME", "USER", "TMPDIR", "TMP_DIR", "ELEMENTS_PATH", "DIB_PYTHON_EXEC",
    "DIB_IMAGE_CACHE", "DIB_LOCKFILES", "DIB_BLOCK_DEVICE_CONFIG", "DIB_GRUB_TIMEOUT",
    "DIB_BOOTLOADER_DEFAULT_CMDLINE", "DIB_LOCAL_IMAGE", "RACKSEED_APT_ARCHIVES",
    "http_proxy", "https_proxy", "ftp_proxy", "no_proxy",
)  # fmt: skip
"""Settings that say where things are, or what the second half is to do."""

SUFFIX = ".tar.zst"
UNUSED_FOR = 30 * 86400
"""Seconds after which a layer that nobody took is removed."""


@dataclass(frozen=True, slots=True)
class Keys:
    """Digests of all that goes in: what is to be built, and what repositories have."""

    base: str
    system: str
    state: str
    """Empty: not known, so nothing kept is taken."""


@dataclass(frozen=True, slots=True)
class Layers:
    """What a build takes and what it leaves."""

    env: Mapping[str, str]
    skipped: str
    """What need not be made: `system`, `base` or nothing."""
    saves: Mapping[Path, Path]
    """Archives that the build makes, whole as soon as they are there, and where they are kept."""
    archive: Path | None = None
    """What is taken."""
    elements: Path | None = None
    """The folder for the elements of a build that leaves out what made the archive."""
    folders: tuple[str, ...] = ()
    """Folders of hooks that are left out there."""
    hooks: tuple[str, ...] = ()
    """Hooks of root.d that are."""

    @property
    def taken(self) -> str:
        """Kind, key and state of the repositories of what is taken."""
        return self.archive.name.removesuffix(SUFFIX) if self.archive else ""


def keys(plan: BuildPlan, state: str, base_image: str = "") -> Keys:
    """The digests of a plan. `base_image`: the digest of a local base image."""
    recipe = plan.recipe
    env = {name: value for name, value in plan.env.items() if name not in NOT_IN_KEY}
    version = metadata.version("diskimage-builder")
    common = [FORMAT, version, recipe.system.name, recipe.release, base_image]
    names = (recipe.system.mirror_variable, "DIB_DEBIAN_COMPONENTS", "SOURCE_DATE_EPOCH")
    first = [env.get(name) for name in names]
    found = expanded(plan)
    own = [digest_folder(Path(path)) for name, path in found if name != SEAL]
    hook = [digest_file(path) for path in bootstrap_hooks(recipe, found)]
    return Keys(
        base=digest(common, first, hook),
        system=digest(common, env, list(recipe.packages), [name for name, _ in found], own),
        state=state,
    )


def expanded(plan: BuildPlan) -> list[tuple[str, str]]:
    """Every element of a plan with its folder."""
    wanted = list(elements(plan.recipe))
    ours = plan.env["ELEMENTS_PATH"]
    return sorted(get_elements(wanted, f"{ours}:{STOCK_ELEMENTS}"))


def check_elements(recipe: Recipe) -> None:
    """Raises BadInput with file and line for elements that do not go together or are not there."""
    folders = (ELEMENTS, STOCK_ELEMENTS)
    known = sorted(path.name for folder in folders for path in folder.iterdir() if path.is_dir())
    for name in recipe.elements:
        if name not in known:
            place = recipe.places.get(f"elements {name}", recipe.name)
            raise BadInput(f"{place}: {unknown('element', name, known)}")
    try:
        get_elements(list(elements(recipe)), ":".join(map(str, folders)))
    except (AlreadyProvidedException, MissingOSException, MissingElementException) as error:
        why = str(error) or "one of them is already part of another"
        place = recipe.places.get("elements", recipe.name)
        raise BadInput(f"{place}: {why}, expected elements that go together") from None


def starts_from_image(recipe: Recipe) -> bool:
    """Whether its first root is unpacked from a base image; its elements have been checked."""
    found = get_elements(list(elements(recipe)), f"{ELEMENTS}:{STOCK_ELEMENTS}")
    return not bootstrap_hooks(recipe, found)


def bootstrap_hooks(recipe: Recipe, found: Iterable[tuple[str, str]]) -> list[Path]:
    """The hook that makes the first root."""
    name = recipe.system.bootstrap
    hooks = (Path(path, "root.d", name) for _, path in found) if name else ()
    return [hook for hook in hooks if hook.is_file()]


def choose(plan: BuildPlan, wanted: Keys, folder: Path, place: Path) -> Layers:
    """What is kept in `folder` that this build can take; in `place` is what it alone needs.

    Nothing is changed; `prepare` does that.
    """
    offline = plan.settings.offline
    system = kept_system(plan, wanted, folder)
    base = _kept(folder, "base", wanted.base, wanted.state, newest=offline)
    elements = place / "elements"
    if system:
        env = {"RACKSEED_SYSTEM_RESTORE": str(system)}
        return Layers(env, "system", {}, system, elements, folders=FIRST_HALF)
    saves = {}
    env = {}
    if wanted.state:
        saves[place / "system.tar.zst"] = _name(folder, "system", wanted.system, wanted.state)
        env["RACKSEED_SYSTEM_SAVE"] = str(place / "system.tar.zst")
    if base:
        env["RACKSEED_BASE_RESTORE"] = str(base)
        hooks = (plan.recipe.system.bootstrap,)
        return Layers(env, "base", saves, base, elements, hooks=hooks)
    if wanted.state and plan.recipe.system.bootstrap:
        saves[place / "base.tar.zst"] = _name(folder, "base", wanted.base, wanted.state)
        env["RACKSEED_BASE_SAVE"] = str(place / "base.tar.zst")
    return Layers(env, "", saves)


def kept_system(plan: BuildPlan, wanted: Keys, folder: Path) -> Path | None:
    """The system kept in `folder` that this build can take."""
    newest = plan.settings.offline
    return _kept(folder, "system", wanted.system, wanted.state, newest=newest)


def prepare(plan: BuildPlan, layers: Layers) -> None:
    """Make what a build that takes a layer needs, and note that it was taken."""
    if layers.archive:
        os.utime(layers.archive)
    if layers.elements:
        elements_without(plan, layers.elements, layers.folders, layers.hooks)


def with_layers(plan: BuildPlan, layers: Layers) -> BuildPlan:
    """The plan of a build that takes and leaves layers."""
    env = dict(plan.env) | dict(layers.env)
    if layers.elements:
        env["ELEMENTS_PATH"] = str(layers.elements)
    return replace(plan, env=dict(sorted(env.items())))


def elements_without(
    plan: BuildPlan, place: Path, folders: Sequence[str], hooks: Sequence[str]
) -> Path:
    """Copies of a plan's elements without some folders of hooks, or some hooks of root.d."""
    for name, path in expanded(plan):
        if name == RESTORING:
            shutil.copytree(path, place / name)
            continue

        def left_out(inside: str, names: list[str]) -> list[str]:
            if Path(inside).name == "root.d":
                return [hook for hook in names if hook in hooks]
            return [entry for entry in names if entry in folders]

        shutil.copytree(path, place / name, ignore=left_out)
    return place


def keep(layers: Layers) -> None:
    """Keep what a build made, and remove what nobody takes any more."""
    for partial, final in layers.saves.items():
        with suppress(FileNotFoundError):
            partial.replace(final)
            for older in final.parent.glob(f"{final.name.partition('+')[0]}+*"):
                if older != final:
                    older.unlink(missing_ok=True)
    folders = {final.parent for final in layers.saves.values()}
    for old in (path for folder in folders for path in folder.iterdir()):
        with suppress(OSError):
            if time.time() - old.stat().st_mtime > UNUSED_FOR:
                old.unlink()


def digest(*parts: object) -> str:
    """One short digest of plain values."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def digest_file(path: Path) -> str:
    """The digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_folder(folder: Path) -> list[tuple[str, str]]:
    """Names and digests of an element's files, but for hooks of the second half."""
    inside = [p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    later = {"cleanup.d", "finalise.d", "pre-finalise.d", "block-device.d", "test-elements"}
    return sorted(
        (str(path.relative_to(folder)), digest_file(path))
        for path in inside
        if not later & set(path.relative_to(folder).parts) and path.suffix != ".rst"
    )


def _kept(folder: Path, kind: str, key: str, state: str, *, newest: bool) -> Path | None:
    """A layer that can be taken; `newest`: whatever repositories had when it was made."""
    exact = _name(folder, kind, key, state)
    found = exact if state and exact.is_file() else None
    if found is None and newest:
        others = sorted(folder.glob(f"{kind}-{key}+*{SUFFIX}"), key=lambda p: p.stat().st_mtime)
        found = others[-1] if others else None
    return found


def _name(folder: Path, kind: str, key: str, state: str) -> Path:
    return folder / f"{kind}-{key}+{state}{SUFFIX}"
