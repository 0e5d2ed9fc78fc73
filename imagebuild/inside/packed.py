"""Packed files of an image: kernel modules, the archives of an initramfs."""

import bz2
import gzip
import lzma
import sys
import zlib
from collections.abc import Callable, Mapping

from imagebuild.inside.errors import Unreadable

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_UNPACK: Mapping[bytes, Callable[[bytes], bytes]] = {
    b"\x28\xb5\x2f\xfd": zstd.decompress,
    b"\x1f\x8b": gzip.decompress,
    b"\xfd7zXZ": lzma.decompress,
    b"\x5d\x00\x00": lzma.decompress,
    b"BZh": bz2.decompress,
}
"""By the first bytes."""


def unpacked(data: bytes) -> bytes | None:
    """What was packed; None where it is packed in no way that we know. Raises Unreadable."""
    for magic, unpack in _UNPACK.items():
        if data.startswith(magic):
            try:
                return unpack(data)
            except (OSError, EOFError, zlib.error, lzma.LZMAError, zstd.ZstdError) as error:
                raise Unreadable(f"a packed file is broken: {error}") from error
    return None
