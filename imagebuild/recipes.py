"""Recipe files to recipes: found by name or path, put together, refused with every problem."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from imagebuild.errors import BadInput, joined
from imagebuild.gpus import BRANCHES, generations
from imagebuild.recipe import BlockDevice, Compression, GpuKind, Recipe
from imagebuild.systems import SYSTEMS, System
from imagebuild.yamlfile import Fields, read_fields, unknown

FOLDER = Path(__file__).with_name("recipes")
"""Our own recipes."""

VARIANTS = FOLDER / "variants"
"""Layers over any recipe: `gpu.yaml` makes `debian-12-gpu` of `debian-12`."""

KEYS = (
    "extends", "title", "system", "release", "elements", "packages", "environment", "block_device",
    "filesystem", "mkfs_options", "size", "memory", "data_sources", "kernel_arguments",
    "compression", "gpu", "nvidia_branch", "properties", "note",
)  # fmt: skip

ALIASES: Mapping[str, str] = {
    "centos7.gpu": "centos7-gpu",
    "fedora": "fedora-44",
    "fedora.gpu": "fedora-44-gpu",
}
"""Names of earlier tools, and of what is newest."""

GONE: Mapping[str, tuple[str, str]] = {
    "ubuntu14.04": (
        "its packages of kernel, cloud-init and NVIDIA driver left Ubuntu's mirrors for a paid "
        "archive, and diskimage-builder no longer knows its Upstart",
        "ubuntu-22.04",
    ),
    "ubuntu16.04": (
        "its updates left Ubuntu's mirrors for a paid archive, and its e2fsprogs, Python and "
        "NVIDIA driver are older than what builds images today",
        "ubuntu-22.04",
    ),
}
"""Systems of earlier tools that are built no more: why, and what instead."""


@dataclass(frozen=True, slots=True)
class Written:
    """What one file says; None or empty where it says nothing."""

    extends: str | None
    texts: Mapping[str, str]
    lists: Mapping[str, tuple[str, ...]]
    pairs: Mapping[str, Mapping[str, str]]
    places: Mapping[str, str]


def recipe_names() -> list[str]:
    """Every recipe of ours with its variants, in natural order."""
    bases = sorted((path.stem for path in FOLDER.glob("*.yaml")), key=_natural)
    variants = [""] + [f"-{name}" for name in variant_names()]
    return [base + variant for base in bases for variant in variants]


def variant_names() -> list[str]:
    """What may follow a recipe's name after a dash."""
    return sorted(path.stem for path in VARIANTS.glob("*.yaml"))


def load_recipe(name: str, packages: Sequence[str] = ()) -> Recipe:
    """A recipe by its name, or a person's own by its path; `packages` are added.

    Raises BadInput with every problem of the file.
    """
    parts = list(_parts(name, ()))
    written = parts[0]
    for part in parts[1:]:
        written = _over(written, part)
    recipe = _recipe(_short(name), written)
    bad = [package for package in packages if not re.fullmatch(PACKAGE, package)]
    if bad:
        raise BadInput(f"--package: found {bad[0]!r}, expected the name of a package")
    return replace(recipe, packages=(*recipe.packages, *packages))


def load_recipes(names: Sequence[str], packages: Sequence[str] = ()) -> list[Recipe]:
    """Several recipes, each once.

    Raises BadInput with the problems of all, and for two whose images have one name.
    """
    loaded: dict[str, Recipe] = {}
    typed: dict[str, str] = {}
    for name, recipe in zip(names, _load_all(names, packages), strict=True):
        other = typed.setdefault(recipe.name, name)
        if _origin(other) != _origin(name):
            raise BadInput(
                f"{other} and {name} are both named {recipe.name}, expected another name for "
                "one of the files, since its image is named for it"
            )
        loaded[recipe.name] = recipe
    return list(loaded.values())


def _load_all(names: Sequence[str], packages: Sequence[str]) -> list[Recipe]:
    found: list[Recipe] = []
    wrong: list[BadInput] = []
    for name in names:
        try:
            found.append(load_recipe(name, packages))
        except BadInput as error:
            wrong.append(error)
    if wrong:
        raise joined(wrong)
    return found


def _origin(name: str) -> Path:
    """What tells recipes apart."""
    return Path(name).resolve() if _is_path(name) else FOLDER / ALIASES.get(name, name)


def _parts(name: str, seen: tuple[Path, ...], where: str = "") -> Iterator[Written]:
    """What is written for a recipe: what it extends first, variants last."""
    path, variants = _find(name, where)
    if path in seen:
        chain = " extends ".join(one.stem for one in (*seen, path))
        raise BadInput(f"{where}{chain}, expected an end")
    if where and not path.is_file():
        raise BadInput(f"{where}{path} is no file, expected a recipe")
    written = _read(path)
    if written.extends:
        base = written.extends
        beside = path.parent / base
        named = str(beside) if _is_path(base) else base
        yield from _parts(named, (*seen, path), f"{written.places['extends']}: ")
    yield written
    for variant in variants:
        yield _read(VARIANTS / f"{variant}.yaml")


def _find(name: str, where: str) -> tuple[Path, list[str]]:
    """The file of a recipe, and the variants to lay over it. Raises BadInput."""
    if _is_path(name):
        return Path(name), []
    wanted = ALIASES.get(name, name)
    gone = GONE.get(wanted.removesuffix(".gpu").removesuffix("-gpu"))
    if gone:
        why, instead = gone
        error = BadInput(f"{where}{name} cannot be built any more: {why}")
        error.add_note(f"take {instead}{'-gpu' if 'gpu' in name else ''} instead")
        raise error
    for variant in sorted(variant_names(), key=len, reverse=True):
        base = wanted.removesuffix(f"-{variant}")
        if base != wanted and (FOLDER / f"{base}.yaml").is_file():
            return FOLDER / f"{base}.yaml", [variant]
    path = FOLDER / f"{wanted}.yaml"
    if "/" not in wanted and path.is_file():
        return path, []
    error = BadInput(where + unknown("recipe", name, [*recipe_names(), *ALIASES]))
    error.add_note("build-image --list shows them; your own is named by its path: my/image.yaml")
    raise error


def _is_path(name: str) -> bool:
    return name.endswith((".yaml", ".yml")) or "/" in name


def _short(name: str) -> str:
    return Path(name).stem if _is_path(name) else ALIASES.get(name, name)


def _natural(name: str) -> str:
    return re.sub(r"\d+", lambda number: number[0].zfill(4), name)


PACKAGE = r"[A-Za-z0-9@][\w.+:@/~-]*"
TEXTS: Mapping[str, tuple[str, str]] = {
    "title": ("a title of one line", r"\S.*"),
    "release": ("a release as its mirror names it", r"[\w.-]+"),
    "mkfs_options": ("options of mkfs without quotes", r"[\w ^,=.-]+"),
    "size": ("a number of GiB from 1 to 2048", r"[1-9]\d{0,3}"),
    "memory": ("a number of MiB from 128 to 99999", r"12[89]|1[3-9]\d|[2-9]\d\d|[1-9]\d{3,4}"),
    "nvidia_branch": (f"one of {', '.join(map(str, BRANCHES))}", "|".join(map(str, BRANCHES))),
    "note": ("a sentence on one line", r"\S.*"),
    "extends": ("the name or path of a recipe", r"[\w./-]+"),
}
CHOICES: Mapping[str, Sequence[str]] = {
    "system": list(SYSTEMS),
    "block_device": [item.value for item in BlockDevice],
    "filesystem": ["ext4", "xfs"],
    "compression": [item.value for item in Compression],
    "gpu": [item.value for item in GpuKind],
}
LISTS: Mapping[str, tuple[str, str]] = {
    "elements": ("names of elements", r"[\w-]+"),
    "packages": ("names of packages", PACKAGE),
    "data_sources": ("names of cloud-init's data sources", r"[A-Z]\w+"),
    "kernel_arguments": ("kernel arguments without blanks or quotes", r"[^\s'\"\\$`]+"),
}
REPLACED = ("data_sources",)
"""Lists that a recipe says anew, where the others grow."""
PAIRS: Mapping[str, tuple[str, str]] = {
    "environment": ("a name like DIB_RELEASE", r"DIB_[A-Z0-9_]+"),
    "properties": ("a name that begins with a small letter", r"[a-z][\w:.-]*"),
}


def _read(path: Path) -> Written:
    fields = read_fields(path, KEYS)
    texts = {key: fields.text(key, *rule) for key, rule in TEXTS.items()}
    texts |= {key: fields.choice(key, values) for key, values in CHOICES.items()}
    lists = {key: fields.texts(key, *rule) for key, rule in LISTS.items() if key in fields}
    pairs = {key: fields.pairs(key, *rule) for key, rule in PAIRS.items() if key in fields}
    _check_system(path, fields)
    fields.finish()
    said = {key: value for key, value in texts.items() if value is not None}
    places = {key: f"{path}:{fields.line(key)}: {key}" for key in KEYS if key in fields}
    for element, line in fields.item_lines("elements").items():
        places[f"elements {element}"] = f"{path}:{line}: elements"
    return Written(said.pop("extends", None), said, lists, pairs, places)


def _check_system(path: Path, fields: Fields) -> None:
    """A file that extends nothing says what it builds."""
    if path.parent == VARIANTS or "extends" in fields:
        return
    for key in ("title", "system", "release", "elements"):
        if key not in fields:
            fields.wrong(key, "missing, expected it, or `extends` and the name of a recipe")


def _over(below: Written, above: Written) -> Written:
    """One file laid over another: words replace, lists and mappings grow."""
    lists = dict(below.lists)
    for key, items in above.lists.items():
        lists[key] = items if key in REPLACED else (*lists.get(key, ()), *items)
    pairs = dict(below.pairs)
    for key, entries in above.pairs.items():
        pairs[key] = {**pairs.get(key, {}), **entries}
    texts = {**below.texts, **above.texts}
    if "gpu" in above.texts and "title" in below.texts:
        texts["title"] = f"{below.texts['title']}, {above.texts.get('title', '')}"
    return Written(None, texts, lists, pairs, {**below.places, **above.places})


def _recipe(name: str, written: Written) -> Recipe:
    texts, lists, pairs = written.texts, written.lists, written.pairs
    if not re.fullmatch(r"[\w.-]+", name):
        raise BadInput(f"{name!r} cannot name an image, expected letters, digits, dots and dashes")
    branch = int(texts["nvidia_branch"]) if "nvidia_branch" in texts else None
    gpu = GpuKind(texts["gpu"]) if "gpu" in texts else None
    if gpu is GpuKind.DRIVER and branch is None:
        raise BadInput(f"{name}: nvidia_branch: missing, expected the branch of the driver")
    system = SYSTEMS[texts["system"]]
    if gpu is GpuKind.DRIVER and system.open_gpu_modules and not BRANCHES[branch or 0].open_modules:
        fitting = ", ".join(str(one.number) for one in BRANCHES.values() if one.open_modules)
        raise BadInput(
            f"{written.places['nvidia_branch']}: {branch} has no open kernel modules, which "
            f"{system.name} gets, expected one of {fitting}"
        )
    defaults = Recipe(name, "")
    return Recipe(
        name=name,
        title=texts.get("title", name),
        system=system,
        release=texts["release"],
        elements=tuple(dict.fromkeys(lists.get("elements", ()))),
        packages=tuple(dict.fromkeys(lists.get("packages", ()))),
        environment=pairs.get("environment", {}),
        block_device=BlockDevice(texts.get("block_device", defaults.block_device.value)),
        filesystem=texts.get("filesystem", defaults.filesystem),
        mkfs_options=texts.get("mkfs_options", ""),
        size=int(texts["size"]) if "size" in texts else None,
        memory=int(texts.get("memory", defaults.memory)),
        data_sources=lists.get("data_sources", defaults.data_sources),
        kernel_arguments=tuple(dict.fromkeys(lists.get("kernel_arguments", ()))),
        compression=Compression(texts.get("compression", defaults.compression.value)),
        gpu=gpu,
        nvidia_branch=branch,
        properties=_properties(texts, pairs.get("properties", {}), gpu, branch, system),
        note=texts.get("note", ""),
        places=written.places,
    )


def _properties(
    texts: Mapping[str, str],
    own: Mapping[str, str],
    gpu: GpuKind | None,
    branch: int | None,
    system: System,
) -> Mapping[str, str]:
    """What Glance is told: the recipe's words, what every image has, and what GPUs it drives."""
    firmware = "bios" if texts.get("block_device") == BlockDevice.MBR.value else None
    found = {
        "architecture": "x86_64",
        "hw_disk_bus": "virtio",
        "hw_vif_model": "virtio",
        "hw_qemu_guest_agent": "no",
        **({"hw_firmware_type": firmware} if firmware else {}),
    }
    if gpu is GpuKind.DRIVER and branch is not None:
        drives = generations(branch, open_modules=system.open_gpu_modules)
        found |= {"nvidia_branch": str(branch), "nvidia_gpus": ", ".join(drives)}
    return {**found, **own}
