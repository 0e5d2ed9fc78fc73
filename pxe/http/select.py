"""What of a file an HTTP request asks for: all, a part, nothing new, or what is not there."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from pxe.catalog import File

_RANGE = re.compile(r"bytes=\s*([0-9]{0,19})-([0-9]{0,19})\s*", re.IGNORECASE)
"""One range (RFC 9110, 14.1.2). Lists are answered with the whole file, which 14.2 allows."""

_BYTES: Final = "application/octet-stream"
_EFI_TYPES: Mapping[str, str] = {
    ".efi": "application/efi",
    ".iso": "application/vnd.efi-iso",
    ".img": "application/vnd.efi-img",
}
"""Media types that tell UEFI HTTP Boot what to do with a file (UEFI 2.10, 24.7.3.1)."""


@dataclass(frozen=True, slots=True)
class Selection:
    """A status and the bytes that go with it."""

    status: int
    offset: int = 0
    length: int = 0

    def content_range(self, size: int) -> str | None:
        """The header that says where the bytes lie (RFC 9110, 14.4); None without a range."""
        match self.status:
            case 206:
                return f"bytes {self.offset}-{self.offset + self.length - 1}/{size}"
            case 416:
                return f"bytes */{size}"
            case _:
                return None


def entity_tag(file: File) -> str:
    """A strong validator (RFC 9110, 8.8.3): it changes whenever the bytes may have changed."""
    return f'"{file.inode:x}-{file.mtime_ns:x}-{file.size:x}"'


def select(file: File, headers: Mapping[str, str], *, head: bool) -> Selection:
    """Apply If-None-Match, If-Range and Range, in the order of RFC 9110, 13.2.2."""
    whole = Selection(200, 0, file.size)
    tag = entity_tag(file)
    if (known := headers.get("If-None-Match")) and _matches_weakly(tag, known):
        return Selection(304)
    wanted = headers.get("Range")
    if wanted is None or head:  # 14.2: Range means something for GET only
        return whole
    if headers.get("If-Range", tag).strip() != tag:
        return whole
    return _part(wanted, file.size) or whole


def content_type(name: PurePosixPath, user_agent: str) -> str:
    """The media type for `name`.

    A disk image is one only to the firmware itself: an initrd is called `.img` too.
    """
    kind = _EFI_TYPES.get(name.suffix.lower(), _BYTES)
    if name.suffix.lower() == ".efi":
        return kind
    firmware = user_agent.startswith("UefiHttpBoot")
    return kind if firmware and not name.name.startswith("initrd") else _BYTES


def _matches_weakly(tag: str, known: str) -> bool:
    tags = [entry.strip().removeprefix("W/") for entry in known.split(",")]
    return "*" in tags or tag in tags


def _part(wanted: str, size: int) -> Selection | None:
    """The one range of `wanted`; None when it is to be ignored (RFC 9110, 14.2)."""
    match = _RANGE.fullmatch(wanted)
    if match is None:
        return None
    first, last = match.groups()
    if not first and not last:
        return None
    if not first:  # the last so many bytes
        length = min(int(last), size)
        return Selection(206, size - length, length) if length else Selection(416)
    start, end = int(first), min(int(last or size), size - 1)
    if last and int(last) < start:
        return None
    if start >= size:
        return Selection(416)
    return Selection(206, start, end - start + 1)
