"""What lies beside an image: its packages, bill of materials and provenance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from imagebuild.inside.image import open_image
from imagebuild.inside.packages import Package, packages
from imagebuild.provenance import Making, provenance
from imagebuild.sbom import sbom
from imagebuild.seal.system import System, identify


@dataclass(frozen=True, slots=True)
class Contents:
    """What an image holds, by its own word."""

    system: System
    packages: tuple[Package, ...]


def read_contents(image: Path) -> Contents:
    """Look into a finished file. Raises Unreadable, OSError."""
    with open_image(image) as opened:
        return Contents(identify(opened.tree), tuple(packages(opened.tree)))


def manifest(found: Sequence[Package]) -> str:
    """One package a line: name, version and architecture, sorted."""
    return "".join(f"{one.name} {one.version} {one.arch}\n" for one in sorted(found))


def write_evidence(
    name: str, folder: Path, digests: Mapping[str, str], contents: Contents, making: Making
) -> list[Path]:
    """Write NAME.packages, NAME.cdx.json and NAME.provenance.json into `folder`.

    `name` is the image's file name, `digests` has at least its sha256.
    """
    texts = {
        f"{name}.packages": manifest(contents.packages),
        f"{name}.cdx.json": _sbom(name, digests, contents, making.ended),
        f"{name}.provenance.json": provenance(name, digests, making),
    }
    return [write_whole(folder / file, text) for file, text in texts.items()]


def write_whole(path: Path, text: str) -> Path:
    """Write a file whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    return partial.replace(path)


def _sbom(name: str, digests: Mapping[str, str], contents: Contents, made: datetime) -> str:
    return sbom(name, digests["sha256"], contents.system, contents.packages, made)
