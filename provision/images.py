"""Images as the ramdisk writes them: what lies beside a file, and the orders made of it."""

import base64
import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kickstarts.errors import KickstartError
from provision import cloudinit, deploy
from provision.digests import FileFacts
from provision.errors import AnswerError
from provision.inventory.model import Host, Inventory

BESIDE = ".json"
"""Added to the name of a file that `rackseed image stage` made."""
NO_CLOUD = "nocloud"


@dataclass(frozen=True, slots=True)
class Staged:
    """What is known of an image besides its bytes."""

    raw_size: int | None = None
    """Bytes that it needs on the disk."""
    seeded: bool = False
    """Its cloud-init finds a NoCloud seed: the host tells of itself when it is up."""


def staged(image: Path) -> Staged:
    """Read what was noted when the image was staged; nothing for an image of other origin.

    Raises AnswerError.
    """
    place = image.with_name(image.name + BESIDE)
    try:
        document = json.loads(place.read_bytes())
        size, seed = document.get("raw_size"), document.get("seed")
    except FileNotFoundError:
        return Staged()
    except (OSError, ValueError, AttributeError) as error:
        raise AnswerError(f"{place}: cannot be read, expected a JSON object: {error}") from None
    if size is not None and (not isinstance(size, int) or size <= 0):
        raise AnswerError(f"{place}: raw_size is {size!r}, expected bytes")
    if seed not in (None, NO_CLOUD):
        raise AnswerError(f"{place}: seed is {seed!r}, expected {NO_CLOUD}")
    return Staged(size, seed == NO_CLOUD)


def answer(
    host: Host, inventory: Inventory, image: Path, facts: FileFacts, *, url: str, report: str
) -> str:
    """The ramdisk's orders, with the seed where the image takes one. `report` takes its news.

    Raises AnswerError.
    """
    known = staged(inventory.artifacts / image)
    text = deploy.image_answer(
        image, url, sha256=facts.sha256, size=facts.size, disk=host.role.disk
    )
    more: dict[str, Any] = {}
    if known.raw_size is not None:
        more["raw_size"] = known.raw_size
    if known.seeded:
        more["seed"] = packed(_seed(host, inventory, report))
    return text + "".join(f"{key}={value}\n" for key, value in more.items())


def shown(host: Host, inventory: Inventory, report: str) -> str | None:
    """The seed's files as people may see them; None for a host that gets none.

    Raises AnswerError.
    """
    image = host.role.image
    if image is None or not staged(inventory.artifacts / image).seeded:
        return None
    try:
        found = cloudinit.documents(host, inventory, report, masked=True)
    except KickstartError as error:
        raise AnswerError(f"{host.name}: {error}") from None
    return "".join(f"# {name}\n{text}" for name, text in found.items())


def packed(data: bytes) -> str:
    """Bytes as one word of text: most of a seed is empty."""
    return base64.b64encode(gzip.compress(data, 9, mtime=0)).decode("ascii")


def _seed(host: Host, inventory: Inventory, report: str) -> bytes:
    try:
        return cloudinit.seed(host, inventory, report)
    except KickstartError as error:
        raise AnswerError(f"{host.name}: {error}") from None
