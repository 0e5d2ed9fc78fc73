"""Make an image ready for machines that write it to their disk: raw, packed with zstd, described.

qcow2 cannot be written as it arrives: its clusters lie in any order. So it is unpacked once, on
the server's side, where people wait for it anyway.
"""

import hashlib
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from imagebuild.errors import BadInput, DiskFull
from imagebuild.inside.disk import Bytes, open_disk

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

log = logging.getLogger(__name__)

SUFFIX = ".raw.zst"
BESIDE = ".json"
"""What the server reads beside the file."""
FORMAT = 1
"""Of that document."""
NO_CLOUD = "nocloud"
PIECE = 4 << 20
LEVEL = 3
"""Packs about as fast as one core reads, and as small as a network needs it."""
SECTOR = 512
FULL = 28
"""errno ENOSPC"""

Tell = Callable[[int, int], None]
"""Hears how many bytes of how many are done."""


@dataclass(frozen=True, slots=True)
class Staged:
    """What is written beside a staged image."""

    source: str
    """The image's name."""
    source_sha256: str
    raw_size: int
    """Bytes that it needs on a disk."""
    size: int
    """Of the staged file, in bytes."""
    sha256: str
    """Of the staged file."""
    seed: str | None
    """`nocloud`: its cloud-init is given a seed."""


def stage(image: Path, folder: Path, *, seed: bool = True, tell: Tell | None = None) -> Path:
    """Write the image into `folder`, unless it is there; returns the staged file.

    Raises BadInput, Unreadable, DiskFull; a file under its final name is always whole.
    """
    if not folder.is_dir():
        raise BadInput(f"{folder}: not a folder, expected that of the artifacts")
    target = folder / f"{image.name.removesuffix('.qcow2').removesuffix('.raw')}{SUFFIX}"
    wanted = NO_CLOUD if seed else None
    with _reading(image):
        source = _digest(image)
    if (known := read_beside(target)) and _is_made(known, target, source):
        if known.seed != wanted:
            _write_beside(target, Staged(**(asdict(known) | {"seed": wanted})))
        return target
    with _reading(image), open_disk(image) as disk:
        if disk.data.size % SECTOR:
            raise BadInput(f"{image}: {disk.data.size} bytes are no disk, expected whole sectors")
        partial = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            with partial.open("wb") as file:
                sha256 = _pack(disk.data, file, tell or _deaf)
                file.flush()
                os.fsync(file.fileno())
            size = partial.stat().st_size
            # First the description of the old file goes, then the new file comes, then its own.
            _beside(target).unlink(missing_ok=True)
            partial.replace(target)
        except OSError as error:
            if error.errno == FULL:
                raise DiskFull(f"{folder}: no room left for {target.name}") from None
            raise
        finally:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
        _write_beside(target, Staged(image.name, source, disk.data.size, size, sha256, wanted))
    log.info("staged image=%s raw=%s bytes=%s", target, disk.data.size, size)
    return target


def read_beside(target: Path) -> Staged | None:
    """What was noted of a staged file; None when it was not, or not by this version."""
    try:
        document: dict[str, Any] = json.loads(_beside(target).read_bytes())
        if document.pop("format") != FORMAT:
            return None
        return Staged(**document)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _is_made(known: Staged, target: Path, source: str) -> bool:
    """Whether the staged file is there, whole, and of this image."""
    if known.source_sha256 != source or not target.is_file():
        return False
    return target.stat().st_size == known.size and _digest(target) == known.sha256


def _pack(data: Bytes, file: BinaryIO, tell: Tell) -> str:
    """Returns the SHA-256 of what was written. The frame has a checksum of its own."""
    options: dict[int, int] = {
        zstd.CompressionParameter.compression_level: LEVEL,
        zstd.CompressionParameter.checksum_flag: 1,
        zstd.CompressionParameter.nb_workers: len(os.sched_getaffinity(0)),
    }
    packer = zstd.ZstdCompressor(options=options)
    packer.set_pledged_input_size(data.size)
    digest = hashlib.sha256()
    for offset in range(0, data.size, PIECE):
        piece = data.read_at(offset, min(PIECE, data.size - offset))
        for packed in (packer.compress(piece), *_last(packer, offset + PIECE >= data.size)):
            digest.update(packed)
            file.write(packed)
        tell(min(offset + PIECE, data.size), data.size)
    return digest.hexdigest()


def _last(packer: Any, is_last: bool) -> tuple[bytes, ...]:  # noqa: ANN401  # of either module
    return (packer.flush(),) if is_last else ()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _beside(target: Path) -> Path:
    return target.with_name(target.name + BESIDE)


def _write_beside(target: Path, staged: Staged) -> None:
    place = _beside(target)
    partial = place.with_name(f".{place.name}.{os.getpid()}")
    partial.write_text(json.dumps({"format": FORMAT, **asdict(staged)}, indent=1) + "\n")
    partial.replace(place)


@contextmanager
def _reading(image: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.filename != str(image):
            raise
        raise BadInput(f"{image}: cannot be read: {error.strerror}, expected an image") from None


def _deaf(done: int, whole: int) -> None:
    pass
