"""An image file as it is to be published: what it is, and what lies beside it."""

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imagebuild.errors import BadInput, NotSealed

GIB = 1 << 30
QCOW2_MAGIC = b"QFI\xfb"
QCOW2_HEADER = struct.Struct(">4sI16xQ")
"""Magic, version, and the virtual size in bytes (QEMU's docs/interop/qcow2.txt)."""
VHD_COOKIE = b"conectix"  # codespell:ignore conectix
VHDX_MAGIC, VMDK_MAGIC = b"vhdxfile", b"KDMV"
MANIFEST, SEAL, SHA512 = ".json", ".seal.json", ".sha512"
"""Added to the whole name of the image."""


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A finished image."""

    path: Path
    size: int
    """Of the file, in bytes."""
    disk_format: str
    """In Glance's words."""
    min_disk: int
    """GiB that a disk must have for it."""
    min_ram: int = 0
    """MiB."""
    name: str = ""
    """The recipe's, or that of the file."""
    properties: Mapping[str, str] = field(default_factory=dict)
    sha512: str | None = None
    """As written beside it."""
    findings: tuple[str, ...] = ()
    """What its seal report found in it."""
    sealed: bool = False
    """A report lies beside it and found nothing."""
    seal_sha256: str | None = None
    """Of the file that the report is about."""


def read(path: Path) -> ImageFile:
    """The facts of an image file.

    Raises BadInput for what is no image, or a file beside it that cannot be read.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(1024)
            file.seek(max(0, size - 512))
            tail = file.read(512)
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror}, expected an image") from None
    disk_format, virtual = recognised(path, head, tail, size)
    manifest = _Document.beside(path, MANIFEST)
    seal = _Document.beside(path, SEAL)
    seal.require("findings", "unread", "sealed", "sha256")
    findings = tuple(_finding(each) for each in seal.list("findings"))
    findings += tuple(f"{part} could not be looked into" for part in seal.list("unread"))
    if seal and not (findings or seal.truth("sealed")):
        findings = ("it says so without a finding",)
    return ImageFile(
        path=path,
        size=size,
        disk_format=disk_format,
        min_disk=max(-(-virtual // GIB), manifest.number("min_disk")),
        min_ram=manifest.number("min_ram"),
        name=manifest.text("name") or path.name.partition(".")[0],
        properties=manifest.properties(),
        sha512=_sha512(path),
        findings=findings,
        sealed=bool(seal) and not findings,
        seal_sha256=seal.text("sha256") if seal else None,
    )


def recognised(path: Path, head: bytes, tail: bytes, size: int) -> tuple[str, int]:
    """Glance's name of the format, and how large the disk inside is, in bytes.

    Raises BadInput.
    """
    if head.startswith(QCOW2_MAGIC) and len(head) >= QCOW2_HEADER.size:
        (_, _, virtual) = QCOW2_HEADER.unpack_from(head)
        return "qcow2", virtual
    if tail.startswith(VHD_COOKIE):
        (virtual,) = struct.unpack_from(">Q", tail, 48)
        return "vhd", virtual
    for magic, name in ((VHDX_MAGIC, "vhdx"), (VMDK_MAGIC, "vmdk")):
        if head.startswith(magic):
            return name, size
    if size and size % 512 == 0 and head[510:512] == b"\x55\xaa":
        return "raw", size
    wrong = BadInput(f"{path}: neither qcow2 nor vhd nor a raw disk with a partition table")
    wrong.add_note("build-image writes qcow2 by default; a compressed file is to be unpacked first")
    raise wrong


def require_sealed(image: ImageFile) -> None:
    """Raises NotSealed for an image whose seal report found something, or is of another file."""
    if not image.findings:
        return _require_own_report(image)
    first, more = image.findings[0], len(image.findings) - 1
    rest = f", and {more} more" if more else ""
    error = NotSealed(f"{image.path}{SEAL}: the image is not sealed: {first}{rest}")
    error.add_note("build it anew, or --force-unsealed where nobody else may ever start it")
    raise error


def require_digest(image: ImageFile, sha512: str) -> None:
    """Raises BadInput for a file that is no longer what was built."""
    if image.sha512 in (None, sha512):
        return
    error = BadInput(f"{image.path}: its sha512 is not that of {image.path.name}{SHA512}")
    error.add_note("the file was changed after it was built, or is not whole")
    raise error


def _require_own_report(image: ImageFile) -> None:
    if image.seal_sha256 is None:
        return
    with image.path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 == image.seal_sha256:
        return
    error = NotSealed(
        f"{image.path}{SEAL}: the report is of another file, sha256 {image.seal_sha256[:16]}, "
        f"expected {sha256[:16]}"
    )
    error.add_note(f"build-image verify --write {image.path} looks into this one")
    raise error


class _Document:
    """A JSON object beside an image; empty when there is none. Raises BadInput by file and key."""

    def __init__(self, place: Path, entries: Mapping[str, Any]) -> None:
        self._place = place
        self._entries = entries

    def __bool__(self) -> bool:
        return bool(self._entries)

    @classmethod
    def beside(cls, image: Path, suffix: str) -> "_Document":
        """The document with this suffix."""
        place = image.with_name(image.name + suffix)
        try:
            document = json.loads(place.read_bytes())
        except FileNotFoundError:
            return cls(place, {})
        except (OSError, ValueError) as error:
            raise BadInput(f"{place}: not JSON that can be read: {error}") from None
        if not isinstance(document, dict) or not document:
            raise BadInput(f"{place}: expected a JSON object with entries")
        return cls(place, document)

    def require(self, *keys: str) -> None:
        """A document that is there must have all these."""
        if missing := [key for key in keys if self and key not in self._entries]:
            error = BadInput(f"{self._place}: no {missing[0]}, expected a seal report")
            error.add_note("build-image verify --write makes one")
            raise error

    def number(self, key: str) -> int:
        """0 when it is not there."""
        value = self._entries.get(key, 0)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise self._wrong(key, value, "a whole number")
        return value

    def text(self, key: str) -> str:
        """Empty when it is not there."""
        value = self._entries.get(key, "")
        if not isinstance(value, str):
            raise self._wrong(key, value, "text")
        return value

    def truth(self, key: str) -> bool:
        """False when it is not there."""
        value = self._entries.get(key, False)
        if not isinstance(value, bool):
            raise self._wrong(key, value, "true or false")
        return value

    def list(self, key: str) -> Sequence[object]:
        """Empty when it is not there."""
        value = self._entries.get(key, [])
        if not isinstance(value, list):
            raise self._wrong(key, value, "a list")
        return value

    def properties(self) -> Mapping[str, str]:
        """Text by name; empty when there are none."""
        value = self._entries.get("properties", {})
        if not isinstance(value, dict):
            raise self._wrong("properties", value, "an object")
        for key, each in value.items():
            if not isinstance(each, str | int | float):
                raise self._wrong(f"properties.{key}", each, "text, a number, true or false")
        return {key: _text(each) for key, each in value.items()}

    def _wrong(self, key: str, value: object, expected: str) -> BadInput:
        return BadInput(f"{self._place}: {key}: {json.dumps(value)[:60]}, expected {expected}")


def _sha512(path: Path) -> str | None:
    place = path.with_name(path.name + SHA512)
    try:
        words = place.read_text(encoding="utf-8").split()
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise BadInput(f"{place}: cannot be read: {error}") from None
    return words[0].lower() if words else None


def _finding(finding: object) -> str:
    if isinstance(finding, dict):
        words = [str(finding[key]) for key in ("row", "path", "seen") if finding.get(key)]
        return ": ".join(words) or json.dumps(finding)
    return str(finding)


def _text(value: object) -> str:
    """Properties are text: true and false as Nova reads them."""
    return str(value).lower() if isinstance(value, bool) else str(value)
