"""The compressions that kernels, modules and firmware files come in."""

import gzip
import lzma
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

from pxe.errors import MissingProgram
from pxe.ramdisk.kernel import readable

_ZSTD_LEVEL = 15
_GZIP_LEVEL = 9


def _zstd() -> ModuleType | None:
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
    except ImportError:
        return None
    return zstd


def _from_zstd(data: bytes) -> bytes:
    zstd = _zstd()
    if zstd is None:
        error = MissingProgram("this kernel's modules are compressed with zstd")
        error.add_note("pip install backports.zstd")
        raise error
    return bytes(zstd.decompress(data))


_READERS: Mapping[str, Callable[[bytes], bytes]] = {
    ".xz": lzma.decompress,
    ".gz": gzip.decompress,
    ".zst": _from_zstd,
}


def read(path: Path) -> bytes:
    """The plain content of a file that may be compressed, as its suffix says.

    Raises MissingProgram when it may not be read or nothing here can decompress it.
    """
    data = readable(path)
    reader = _READERS.get(path.suffix)
    return reader(data) if reader else data


def plain_name(name: str) -> str:
    """`e1000e.ko.xz` without the suffix of its compression."""
    for suffix in _READERS:
        name = name.removesuffix(suffix)
    return name


def compress(data: bytes, options: frozenset[str]) -> tuple[bytes, str]:
    """`data` packed for a kernel with these build options, and the method's name.

    zstd where the kernel knows it: about as small as xz and several times faster to unpack.
    """
    zstd = _zstd() if "CONFIG_RD_ZSTD" in options else None
    if zstd is not None:
        return bytes(zstd.compress(data, _ZSTD_LEVEL)), "zstd"
    return gzip.compress(data, _GZIP_LEVEL, mtime=0), "gzip"
