"""`build-image upload`: publish an image in Glance."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from provision.cli import report
from provision.cli.image.progress import MIB, Progress
from provision.cli.options import JsonOption

if TYPE_CHECKING:
    from imagebuild.glance import Visibility, Wish
    from imagebuild.glance_file import ImageFile
    from imagebuild.glance_upload import Published

MOST_CHARACTERS = 255
"""Of a name or a tag in Glance."""


def upload(
    image: Annotated[
        Path, typer.Argument(metavar="IMAGE", help="The image file; what lies beside it counts.")
    ],
    cloud: Annotated[
        str | None,
        typer.Option("--cloud", metavar="NAME", envvar="OS_CLOUD", help="A cloud of clouds.yaml."),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="Published so; else as its recipe is named."),
    ] = None,
    visibility: Annotated[
        str | None,
        typer.Option(
            "--visibility",
            metavar="WHO",
            help="private, shared, community or public; else as the image that is replaced.",
        ),
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option("--tag", metavar="TAG", help="Add a tag; again for more.")
    ] = None,
    property_: Annotated[
        list[str] | None,
        typer.Option(
            "--property", metavar="K=V", help="Set a property over the recipe's; again for more."
        ),
    ] = None,
    keep: Annotated[
        int, typer.Option("--keep", metavar="N", min=0, help="Replaced images that stay, hidden.")
    ] = 1,
    force_unsealed: Annotated[
        bool,
        typer.Option("--force-unsealed", help="Publish although its seal report has findings."),
    ] = False,
    as_json: JsonOption = False,
) -> int:
    """Publish an image in Glance, replacing the one that has its name.

    The image arrives hidden and private under another name. Only when Glance's digest is that
    of the file, it gets its name and visibility; then the image that had the name is hidden,
    and older ones than --keep says are deleted. Run it again when it was interrupted: it
    finishes what was begun, or removes it.

    Properties, minimal disk and memory come from the recipe, by the file that lies beside the
    image.

    Example:
      build-image upload images/debian-12.qcow2 --cloud lab
      build-image upload images/rocky-9-gpu.qcow2 --visibility public --tag gpu --keep 2
      build-image upload disk.raw --name tools --property hw_disk_bus=scsi
    """
    from imagebuild import glance_file, glance_openstack, glance_upload

    check_words("--name", [name] if name is not None else [])
    check_words("--tag", tag or [])
    chosen = visibility_of(visibility)
    properties = properties_of(property_ or [])
    file = glance_file.read(image)
    if force_unsealed:
        report.show_warning(f"{image}: its seal report is not asked (--force-unsealed)")
    else:
        glance_file.require_sealed(file)
        if not file.sealed:
            report.show_warning(f"{image}: no report says that it is sealed")
    quieten(logging.getLogger("keystoneauth"))
    store = glance_openstack.connect(cloud)  # a wrong password is told before minutes of digests
    tell = Progress()
    tell.step(f"computing the digest of {image} ({file.size / MIB:,.0f} MiB)")
    wish = wish_of(
        file, name=name, visibility=chosen, tags=tag or [], properties=properties, keep=keep
    )
    glance_file.require_digest(file, wish.sha512)
    try:
        published = glance_upload.publish(image, wish, store, tell)
    except KeyboardInterrupt as interrupt:
        tell.end()
        known = "; ".join(getattr(interrupt, "__notes__", ()))
        report.show_warning(f"interrupted: {known}; run it again to go on")
        raise
    finally:
        tell.end()
    show(published, wish, as_json=as_json)
    return report.ExitStatus.DONE


def quieten(logger: logging.Logger) -> None:
    """Its warnings are tracebacks of what our error says in a sentence; -v shows them."""
    if logging.getLogger().level >= logging.WARNING:
        logger.setLevel(logging.CRITICAL)


def check_words(option: str, words: Sequence[str]) -> None:
    """Raises BadInput for what Glance would refuse at the end."""
    from imagebuild.errors import BadInput

    for word in words:
        if not (word.strip() and word.isprintable() and len(word) <= MOST_CHARACTERS):
            expected = f"1 to {MOST_CHARACTERS} characters that can be seen"
            raise BadInput(f"{option}: found {word!r}, expected {expected}")


def visibility_of(word: str | None) -> "Visibility | None":
    """Raises BadInput."""
    from imagebuild.errors import BadInput
    from imagebuild.glance import Visibility

    if word is None:
        return None
    try:
        return Visibility(word)
    except ValueError:
        known = ", ".join(each.value for each in Visibility)
        raise BadInput(f"--visibility {word}: expected one of {known}") from None


def properties_of(words: Sequence[str]) -> dict[str, str]:
    """`K=V` as pairs. Raises BadInput."""
    from imagebuild.errors import BadInput
    from imagebuild.glance import OWN_PROPERTIES

    pairs: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not (key and equals and word.isprintable()):
            raise BadInput(f"--property {word}: expected KEY=VALUE, such as hw_disk_bus=scsi")
        if key in OWN_PROPERTIES:
            raise BadInput(f"--property {key}: kept by uploads themselves, expected another key")
        pairs[key] = value
    return pairs


def wish_of(
    file: "ImageFile",
    *,
    name: str | None,
    visibility: "Visibility | None",
    tags: Sequence[str],
    properties: Mapping[str, str],
    keep: int,
) -> "Wish":
    """What the file and the options ask for together."""
    from imagebuild.glance import Wish
    from imagebuild.glance_upload import digests

    return Wish(
        name=name or file.name,
        size=file.size,
        disk_format=file.disk_format,
        digest=digests(file.path),
        visibility=visibility,
        min_disk=file.min_disk,
        min_ram=file.min_ram,
        tags=frozenset(tags),
        properties={**file.properties, **properties},
        keep=keep,
    )


def show(published: "Published", wish: "Wish", *, as_json: bool) -> None:
    """Tell how it ended."""
    for kept in published.kept:
        report.show_warning(f"could not be deleted: {kept}")
    if as_json:
        facts = asdict(published) | {"sha512": wish.sha512, "size": wish.size}
        report.print_json(facts)
    elif published.superseded:
        report.print_marked(
            f"{wish.name} is {published.id}: another upload of this name came after this one"
        )
    else:
        how = "sent, compared and published" if published.sent else "was there already"
        report.print_good(f"{published.name} is {published.id}: {how}")
