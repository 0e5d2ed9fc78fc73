"""A repository's metadata, as createrepo_c and its kin write it."""

import bz2
import gzip
import lzma
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from types import MappingProxyType
from typing import Final

from rpmspecs.errors import RepositoryUnavailable

REPO: Final = "{http://linux.duke.edu/metadata/repo}"
COMMON: Final = "{http://linux.duke.edu/metadata/common}"


@dataclass(frozen=True, slots=True)
class Repomd:
    """The index of a repository's metadata."""

    revision: int
    """Seconds since 1970, or whatever number its maker chose; 0 without one."""
    files: Mapping[str, str]
    """By type (`primary`, `group`), the path from the repository's top."""
    digests: Mapping[str, str]
    """By type, the SHA-256 of that file; empty where another kind of digest is given."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One package as the primary metadata lists it."""

    name: str
    nevra: str
    evr: tuple[str, str, str]
    arch: str
    """`src` for a source package."""
    path: str
    """From the repository's top."""
    digest: str
    """SHA-256; empty where another kind is given."""


def parse_repomd(text: bytes) -> Repomd:
    """Read `repomd.xml`. Raises RepositoryUnavailable when it is something else."""
    try:
        root = ET.fromstring(text)
    except ET.ParseError as error:
        raise RepositoryUnavailable(f"repomd.xml is not XML: {error}") from None
    files, digests = {}, {}
    for data in root.iter(f"{REPO}data"):
        kind, location = data.get("type", ""), data.find(f"{REPO}location")
        if location is not None:
            files[kind] = location.get("href", "")
            digests[kind] = _digest(data.find(f"{REPO}checksum"))
    revision = root.findtext(f"{REPO}revision", "0").strip()
    return Repomd(
        int(revision) if revision.isdecimal() else 0,
        MappingProxyType(files),
        MappingProxyType(digests),
    )


def _digest(checksum: ET.Element | None) -> str:
    if checksum is None or checksum.get("type") != "sha256":
        return ""
    return (checksum.text or "").strip()


def parse_primary(text: bytes) -> Iterator[Listed]:
    """The packages of an unpacked `primary.xml`. Raises RepositoryUnavailable."""
    try:
        for _, element in ET.iterparse(BytesIO(text)):
            if element.tag == f"{COMMON}package":
                yield _listed(element)
                element.clear()
    except ET.ParseError as error:
        raise RepositoryUnavailable(f"the primary metadata is not XML: {error}") from None


def _listed(package: ET.Element) -> Listed:
    name, arch = package.findtext(f"{COMMON}name", ""), package.findtext(f"{COMMON}arch", "")
    version, location = package.find(f"{COMMON}version"), package.find(f"{COMMON}location")
    assert version is not None
    assert location is not None
    epoch, ver, rel = (version.get(part, "") for part in ("epoch", "ver", "rel"))
    epoch = epoch or "0"
    return Listed(
        name=name,
        nevra=f"{name}-{'' if epoch == '0' else epoch + ':'}{ver}-{rel}.{arch}",
        evr=(epoch, ver, rel),
        arch=arch,
        path=location.get("href", ""),
        digest=_digest(package.find(f"{COMMON}checksum")),
    )


def unpack(name: str, data: bytes) -> bytes:
    """A metadata file's bytes, unpacked as its name's end says.

    Raises RepositoryUnavailable.
    """
    suffix = name.rpartition(".")[2]
    try:
        return _UNPACK.get(suffix, bytes)(data)
    except (OSError, EOFError, ValueError, lzma.LZMAError) as error:
        raise RepositoryUnavailable(f"{name} cannot be unpacked: {error}") from None


def _from_zstd(data: bytes) -> bytes:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    try:
        return bytes(zstd.decompress(data))
    except zstd.ZstdError as error:
        raise ValueError(str(error)) from None


_UNPACK: Mapping[str, Callable[[bytes], bytes]] = {
    "gz": gzip.decompress,
    "xz": lzma.decompress,
    "bz2": bz2.decompress,
    "zst": _from_zstd,
}
