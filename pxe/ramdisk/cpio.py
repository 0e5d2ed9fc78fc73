"""Write cpio archives of the kind that the kernel unpacks as its first root file system.

The format is `newc`, as the kernel documents it in
Documentation/driver-api/early-userspace/buffer-format.rst. The same files give the same bytes.
"""

import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_MAGIC = "070701"
_TRAILER = "TRAILER!!!"
_ALIGNMENT = 4
_BLOCK = 512


@dataclass(frozen=True, slots=True)
class Entry:
    """One file, folder, link or device; owner and group are always root, the time always 0."""

    name: str
    """Relative, without a slash at either end."""
    mode: int
    """Type and permissions, as in `stat.st_mode`."""
    data: bytes = b""
    device: tuple[int, int] = (0, 0)
    """Major and minor number, for device nodes only."""


def folder(name: str) -> Entry:
    """A folder that everyone may read."""
    return Entry(name, stat.S_IFDIR | 0o755)


def file(name: str, data: bytes, *, executable: bool = False) -> Entry:
    """A regular file."""
    return Entry(name, stat.S_IFREG | (0o755 if executable else 0o644), data)


def link(name: str, target: str) -> Entry:
    """A symbolic link."""
    return Entry(name, stat.S_IFLNK | 0o777, target.encode())


def character_device(name: str, major: int, minor: int) -> Entry:
    """A character device node that only root may use."""
    return Entry(name, stat.S_IFCHR | 0o600, device=(major, minor))


def archive(entries: Iterable[Entry]) -> bytes:
    """The whole archive: sorted by name, with every folder on the way, padded to 512 bytes.

    Raises ValueError for two different entries of one name.
    """
    by_name: dict[str, Entry] = {}
    for entry in entries:
        if by_name.setdefault(entry.name, entry) != entry:
            raise ValueError(f"two different entries are named {entry.name}")
    for name in list(by_name):
        for parent in _parents(name):
            by_name.setdefault(parent, folder(parent))
    parts = [
        part
        for number, name in enumerate(sorted(by_name), start=1)
        for part in _member(number, by_name[name])
    ]
    parts.extend(_member(0, Entry(_TRAILER, 0)))
    whole = b"".join(parts)
    return whole + bytes(-len(whole) % _BLOCK)


def _parents(name: str) -> Iterator[str]:
    while "/" in name:
        name = name.rpartition("/")[0]
        yield name


def _member(number: int, entry: Entry) -> Iterator[bytes]:
    name = entry.name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    major, minor = entry.device
    fields = (number, entry.mode, 0, 0, links, 0, len(entry.data), 0, 0, major, minor, len(name), 0)
    header = _MAGIC + "".join(f"{field:08X}" for field in fields)
    yield _padded(header.encode() + name)
    yield _padded(entry.data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % _ALIGNMENT)
