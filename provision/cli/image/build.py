"""`build-image RECIPE…`: recipes to finished images."""

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imagebuild.recipe import Compression
from provision.cli import report
from provision.cli.options import JsonOption
from provision.errors import BadInput

if TYPE_CHECKING:
    from imagebuild.plan import Machine, Settings
    from imagebuild.recipe import Recipe


def build(
    recipe: Annotated[
        list[str] | None,
        typer.Argument(metavar="RECIPE", help="One of ours by its name, your own by its path."),
    ] = None,
    list_recipes: Annotated[
        bool, typer.Option("--list", help="List the recipes; build nothing.")
    ] = False,
    show: Annotated[
        bool, typer.Option("--show", help="Show what a recipe says; build nothing.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Show the environment and the calls; build nothing."),
    ] = False,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="DIR", help="For images and what lies beside."),
    ] = Path("images"),
    package: Annotated[
        list[str] | None,
        typer.Option("--package", "-p", metavar="NAME", help="Install it too; repeatable."),
    ] = None,
    compression: Annotated[
        Compression | None, typer.Option(help="Of the qcow2; by default the recipe's.")
    ] = None,
    mirror: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Of packages; not of Fedora and CentOS Stream."),
    ] = None,
    security_mirror: Annotated[
        str | None, typer.Option(metavar="URL", help="Of Debian's security updates.")
    ] = None,
    snapshot: Annotated[
        str | None,
        typer.Option(
            metavar="STAMP",
            help="Take Debian's or Ubuntu's packages as they were then: 20261101T060000Z.",
        ),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="What builds keep; by default ~/.cache/rackseed/image."),
    ] = None,
    local_base: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Start from this base image, such as a GenericCloud."),
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Fetch nothing; build from what is kept.")
    ] = False,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", metavar="N", min=1, help="Builds at once.")
    ] = 1,
    tmpfs: Annotated[
        bool, typer.Option("--tmpfs/--no-tmpfs", help="Work in memory when there is enough.")
    ] = True,
    boot_proof: Annotated[
        bool | None,
        typer.Option(
            "--boot-proof/--no-boot-proof",
            help="Boot the image before it gets its name; by default where KVM works.",
        ),
    ] = None,
    epoch: Annotated[
        int | None,
        typer.Option(
            "--source-date-epoch",
            envvar="SOURCE_DATE_EPOCH",
            metavar="SECONDS",
            min=0,
            help="The time that files made by the build get, where tools let it be set.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Build images, one or several at once: sealed, verified, whole or not there.

    Examples:
      build-image debian-12
      build-image --list
      build-image rocky-9-gpu my/image.yaml --jobs 2 --output /srv/images
      build-image centos7-gpu --local-base CentOS-7-x86_64-GenericCloud.qcow2 --dry-run
    """
    from imagebuild.layers import check_elements
    from imagebuild.mirrors import check_mirrors
    from imagebuild.recipes import load_recipes

    if list_recipes:
        if recipe:
            raise BadInput(f"--list: found {recipe[0]}, expected no recipe: it lists all of them")
        return show_list(as_json=as_json)
    if not recipe:
        error = BadInput("no recipe is named, expected what to build")
        error.add_note("build-image --list shows what there is")
        raise error
    recipes = load_recipes(recipe, package or ())
    for one in recipes:
        check_elements(one)
    if show:
        return show_recipes(recipes, as_json=as_json)
    if local_base is not None:
        check_base(local_base, recipes)
    settings = make_settings(output, cache, local_base)
    settings = replace(
        settings,
        mirror=mirror,
        security_mirror=security_mirror,
        snapshot=snapshot,
        compression=compression,
        offline=offline,
        epoch=epoch,
        tmpfs=tmpfs,
    )
    check_mirrors(settings, recipes)
    machine = our_machine(dry=dry_run)
    if dry_run:
        shared = machine.shared(min(jobs, len(recipes)))
        return show_plans(recipes, settings, shared, as_json=as_json)
    from provision.cli.image.run import build_all

    return build_all(recipes, settings, machine, jobs, proof=boot_proof, as_json=as_json)


def make_settings(output: Path, cache: Path | None, local_base: Path | None) -> "Settings":
    """Folders made absolute. Raises BadInput for one that cannot be."""
    from imagebuild.plan import Settings

    for option, folder in (("--output", output), ("--cache", cache)):
        if folder is not None:
            check_folder(option, folder.absolute())
    return Settings(
        output=output.absolute(),
        cache=(cache or default_cache()).absolute(),
        work=Path("/tmp/rackseed-image"),
        local_base=local_base.absolute() if local_base else None,
    )


def check_folder(option: str, folder: Path) -> None:
    """Raises BadInput when something else has the name of a folder, or of one above it."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir():
        raise BadInput(f"{option}: {there} is no folder, expected one, or a name that is free")


def check_base(base: Path, recipes: "list[Recipe]") -> None:
    """Raises BadInput for what is no image of a system, and for a recipe that starts from none."""
    from imagebuild.inside.errors import Unreadable
    from imagebuild.inside.image import check_images
    from imagebuild.layers import starts_from_image

    if not base.is_file():
        raise BadInput(f"--local-base: {base} is no file, expected an image")
    try:
        check_images([base])
    except Unreadable as error:
        raise BadInput(f"--local-base: {error}") from None
    for recipe in recipes:
        if not starts_from_image(recipe):
            raise BadInput(
                f"--local-base: {recipe.name} is made from packages alone, expected a recipe "
                f"that starts from an image, such as centos7"
            )


def default_cache() -> Path:
    """Where builds keep what other builds can take."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base, "rackseed", "image")


def our_machine(*, dry: bool) -> "Machine":
    """What this machine has; unless `dry`, after kernel modules for a build are loaded."""
    from imagebuild.machine import this_machine
    from provision.run import run

    return this_machine(None if dry else run)


def show_list(*, as_json: bool) -> int:
    """Every recipe with its title."""
    from imagebuild.recipes import load_recipe, recipe_names

    found = [load_recipe(name) for name in recipe_names()]
    if as_json:
        report.print_json([{"name": one.name, "title": one.title} for one in found])
    else:
        report.print_table(("RECIPE", "WHAT"), [(one.name, one.title) for one in found])
    return report.ExitStatus.DONE


def show_recipes(recipes: "list[Recipe]", *, as_json: bool) -> int:
    """What recipes say after all that they extend."""
    from imagebuild.show import facts, gpu_lines

    if as_json:
        report.print_json([facts(one) for one in recipes])
        return report.ExitStatus.DONE
    for one in recipes:
        for name, value in facts(one).items():
            if isinstance(value, dict):
                report.print_line(f"{name}:")
                for key, text in value.items():
                    report.print_line(f"  {key}: {text}")
            else:
                text = ", ".join(value) if isinstance(value, list) else str(value)
                report.print_line(f"{name}: {text}")
        for line in gpu_lines(one):
            report.print_line(f"  drives {line}" if not line.startswith("(") else f"  {line}")
    return report.ExitStatus.DONE


def show_plans(
    recipes: "list[Recipe]", settings: "Settings", machine: "Machine", *, as_json: bool
) -> int:
    """The exact environment and calls of each build, as it would be now."""
    from imagebuild.preview import preview
    from imagebuild.repositories import fetch

    previews = [preview(one, settings, machine, fetch) for one in recipes]
    if as_json:
        report.print_json(
            [
                {
                    "recipe": one.plan.recipe.name,
                    "layer": one.layer or None,
                    "call": one.call,
                    "env": one.plan.env,
                    "argv": one.plan.argv,
                    "convert": one.plan.convert,
                }
                for one in previews
            ]
        )
        return report.ExitStatus.DONE
    for one in previews:
        for line in one.script.splitlines():
            report.print_line(line)
    return report.ExitStatus.DONE
