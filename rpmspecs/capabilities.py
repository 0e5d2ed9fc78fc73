"""What the repositories of a target provide and obsolete, from their metadata.

The primary metadata of a large distribution is a quarter of a gigabyte of XML: it is read as a
stream, and what matters of it is kept by its digest.
"""

import bz2
import gzip
import hashlib
import json
import lzma
import os
import sys
import tempfile
import urllib.error
import urllib.request
import xml.parsers.expat
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any, Protocol

from rpmspecs.errors import RepositoryUnavailable
from rpmspecs.target import Repository, Target, expanded

MAX_INDEX = 1 << 20
"""Bytes of `repomd.xml`."""

MAX_PACKED = 256 << 20
"""Bytes of the primary metadata as it is fetched; Fedora's is about a tenth of it."""

MAX_UNPACKED = 2 << 30
"""Bytes of the primary metadata unpacked; Fedora's is about an eighth of it."""

MAX_NAMES = 8_000_000

PIECE = 1 << 20
SILENCE = 30.0
"""Seconds that a server may say nothing."""

AT_ONCE = 4

REPO = "http://linux.duke.edu/metadata/repo "
COMMON = "http://linux.duke.edu/metadata/common "
RPM = "http://linux.duke.edu/metadata/rpm "
"""Namespaces as expat joins them to names."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What one repository has."""

    packages: frozenset[str]
    provided: frozenset[str]
    """The packages' names and everything else that they provide."""
    obsoleted: Mapping[str, str]
    """Names that a package obsoletes, with that package."""


@dataclass(frozen=True, slots=True)
class Primary:
    """Where a repository's primary metadata is."""

    href: str
    digest: str
    """SHA-256 of the file as it is fetched."""


class Cache(Protocol):
    """Keeps what was read once."""

    def get(self, digest: str) -> Capabilities | None:
        """What stands under the digest of a primary metadata file."""

    def put(self, digest: str, found: Capabilities) -> None:
        """Keep it."""


def read_target(
    target: Target, cache: Cache
) -> tuple[Mapping[str, Capabilities], Mapping[str, RepositoryUnavailable]]:
    """Each repository's capabilities by its name, and why the others could not be read."""

    def one(repository: Repository) -> Capabilities | RepositoryUnavailable:
        try:
            return read_repository(expanded(target, repository.baseurl), cache)
        except RepositoryUnavailable as error:
            return error

    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(one, target.repositories))
    found, failed = {}, {}
    for repository, answer in zip(target.repositories, answers, strict=True):
        if isinstance(answer, Capabilities):
            found[repository.name] = answer
        else:
            failed[repository.name] = answer
    return found, failed


def read_repository(baseurl: str, cache: Cache) -> Capabilities:
    """What a repository provides and obsoletes. Raises RepositoryUnavailable."""
    base = baseurl.rstrip("/")
    index = base + "/repodata/repomd.xml"
    with opened(index) as answer:
        primary = find_primary(index, b"".join(limited(index, answer, MAX_INDEX)))
    if (kept := cache.get(primary.digest)) is not None:
        return kept
    url = f"{base}/{primary.href}"
    with opened(url) as answer, tempfile.TemporaryFile() as file:
        digest = hashlib.sha256()
        for piece in limited(url, answer, MAX_PACKED):
            digest.update(piece)
            file.write(piece)
        if digest.hexdigest() != primary.digest:
            raise RepositoryUnavailable(f"{url}: its digest is not the one that {index} names")
        file.seek(0)
        found = parse_primary(url, unpacked(url, file))
    cache.put(primary.digest, found)
    return found


@contextmanager
def opened(url: str) -> Iterator[IO[bytes]]:
    """A URL of http, https or file for reading. Raises RepositoryUnavailable, also later."""
    if not url.startswith(("http://", "https://", "file://")):
        raise RepositoryUnavailable(f"{url}: expected a URL of http, https or file")
    try:
        with urllib.request.urlopen(url, timeout=SILENCE) as answer:
            yield answer
    except urllib.error.HTTPError as error:
        raise RepositoryUnavailable(f"{url}: the server says {error.code} {error.reason}") from None
    except urllib.error.URLError as error:
        raise RepositoryUnavailable(f"{url}: {error.reason}") from None
    except (OSError, HTTPException, ValueError) as error:
        raise RepositoryUnavailable(f"{url}: {error or type(error).__name__}") from None


def limited(name: str, file: IO[bytes], limit: int) -> Iterator[bytes]:
    """The file in pieces. Raises RepositoryUnavailable when it is longer than `limit` bytes."""
    count = 0
    while piece := file.read(PIECE):
        count += len(piece)
        if count > limit:
            raise RepositoryUnavailable(f"{name}: larger than {limit >> 20} MiB")
        yield piece


def unpacked(name: str, file: IO[bytes]) -> Iterator[bytes]:
    """A metadata file in pieces, unpacked as its name's end says.

    Raises RepositoryUnavailable when it is damaged or too large.
    """
    opener = _OPENERS.get(name.rpartition(".")[2])
    try:
        yield from limited(name, opener(file) if opener else file, MAX_UNPACKED)
    except RepositoryUnavailable:
        raise
    except (OSError, EOFError, ValueError, lzma.LZMAError, zlib.error) as error:
        raise RepositoryUnavailable(f"{name}: cannot be unpacked: {error}") from None


def _zstd(file: IO[bytes]) -> "_Zstd":
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return _Zstd(zstd.ZstdFile(file), zstd.ZstdError)


class _Zstd:
    """Reads a zstd file; its errors are ValueErrors."""

    def __init__(self, file: Any, error: type[Exception]) -> None:  # noqa: ANN401
        self._file = file
        self._error = error

    def read(self, size: int) -> bytes:
        """The next bytes."""
        try:
            return bytes(self._file.read(size))
        except self._error as error:
            raise ValueError(str(error)) from None


_OPENERS: Mapping[str, Any] = {
    "gz": lambda file: gzip.GzipFile(fileobj=file),
    "xz": lzma.LZMAFile,
    "bz2": bz2.BZ2File,
    "zst": _zstd,
}


class _Xml:
    """An expat parser that knows no entities: a document type is refused."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.parser = xml.parsers.expat.ParserCreate(namespace_separator=" ")
        self.parser.StartDoctypeDeclHandler = self._refuse

    def _refuse(self, *_: object) -> None:
        raise RepositoryUnavailable(f"{self.name}: has a document type, expected plain XML")

    def feed(self, pieces: Iterable[bytes]) -> None:
        """Parse to the end. Raises RepositoryUnavailable."""
        try:
            for piece in pieces:
                self.parser.Parse(piece, False)
            self.parser.Parse(b"", True)
        except xml.parsers.expat.ExpatError as error:
            raise RepositoryUnavailable(f"{self.name}: is not XML: {error}") from None


def find_primary(name: str, text: bytes) -> Primary:
    """The primary metadata that an index names. Raises RepositoryUnavailable."""
    found: dict[str, str] = {}
    state = {"type": "", "text": ""}

    def start(tag: str, attributes: dict[str, str]) -> None:
        state["text"] = ""
        if tag == REPO + "data":
            state["type"] = attributes.get("type", "")
        elif state["type"] == "primary" and tag == REPO + "location":
            found["href"] = attributes.get("href", "")
        elif state["type"] == "primary" and tag == REPO + "checksum":
            found["kind"] = attributes.get("type", "")

    def end(tag: str) -> None:
        if state["type"] == "primary" and tag == REPO + "checksum":
            found["digest"] = state["text"].strip().lower()

    def characters(data: str) -> None:
        state["text"] += data

    document = _Xml(name)
    document.parser.StartElementHandler = start
    document.parser.EndElementHandler = end
    document.parser.CharacterDataHandler = characters
    document.feed([text])
    href, digest = found.get("href", ""), found.get("digest", "")
    if found.get("kind") != "sha256" or len(digest) != 64 or not digest.isalnum():
        raise RepositoryUnavailable(f"{name}: names no primary metadata with a SHA-256")
    if not href or href.startswith("/") or ".." in href.split("/") or ":" in href:
        raise RepositoryUnavailable(f"{name}: {href!r} is no path below the repository")
    return Primary(href, digest)


def parse_primary(name: str, pieces: Iterable[bytes]) -> Capabilities:
    """The capabilities in a primary metadata file. Raises RepositoryUnavailable."""
    packages: set[str] = set()
    provided: set[str] = set()
    obsoleted: dict[str, str] = {}
    package, section, entry = "", "", RPM + "entry"
    sections = {RPM + "provides": "provides", RPM + "obsoletes": "obsoletes"}
    others = frozenset(
        RPM + kind
        for kind in ("requires", "conflicts", "recommends", "suggests", "supplements", "enhances")
    )

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal section, package
        if tag == entry:
            if section == "provides":
                provided.add(attributes.get("name", ""))
            elif section == "obsoletes":
                obsoleted.setdefault(attributes.get("name", ""), package)
        elif tag in sections:
            section = sections[tag]
        elif tag in others:
            section = ""
        elif tag == COMMON + "name":
            package = ""
            document.parser.CharacterDataHandler = characters
        elif tag == COMMON + "arch":
            document.parser.CharacterDataHandler = None
            packages.add(package)
            section = ""
        elif tag == COMMON + "package" and _count(packages, provided, obsoleted) > MAX_NAMES:
            raise RepositoryUnavailable(f"{name}: more than {MAX_NAMES} names")

    def characters(data: str) -> None:
        nonlocal package
        package = (package + data).strip()

    document = _Xml(name)
    document.parser.StartElementHandler = start
    document.parser.buffer_text = True
    document.feed(pieces)
    return Capabilities(frozenset(packages), frozenset(provided | packages), obsoleted)


def _count(*groups: Collection[str]) -> int:
    return sum(map(len, groups))


@dataclass(frozen=True, slots=True)
class FolderCache:
    """A cache in files; what cannot be read or written is as if it were not there."""

    folder: Path

    def get(self, digest: str) -> Capabilities | None:
        """What was kept."""
        try:
            with gzip.open(self._path(digest), "rt", encoding="utf-8") as file:
                kept = json.load(file)
            packages, provided = frozenset(kept["packages"]), frozenset(kept["provided"])
            return Capabilities(packages, packages | provided, dict(kept["obsoleted"]))
        except (OSError, EOFError, ValueError, KeyError, TypeError):
            return None

    def put(self, digest: str, found: Capabilities) -> None:
        """Keep it whole or not at all."""
        kept = {
            "packages": sorted(found.packages),
            "provided": sorted(found.provided - found.packages),
            "obsoleted": dict(found.obsoleted),
        }
        path = self._path(digest)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
                file.write(gzip.compress(json.dumps(kept).encode(), 1))
            os.replace(file.name, path)  # noqa: PTH105  # a name, not a path, is at hand
        except OSError:
            return

    def _path(self, digest: str) -> Path:
        return self.folder / f"{digest}.json.gz"


def merged(found: Iterable[Capabilities]) -> Capabilities:
    """All repositories as one."""
    each = list(found)
    obsoleted: dict[str, str] = {}
    for one in each:
        obsoleted.update(one.obsoleted)
    return Capabilities(
        frozenset().union(*(one.packages for one in each)),
        frozenset().union(*(one.provided for one in each)),
        obsoleted,
    )


def default_cache(environment: Mapping[str, str]) -> FolderCache:
    """Where a user's metadata is kept; `environment` as of the process."""
    home = Path(environment.get("HOME") or "~").expanduser()
    base = environment.get("XDG_CACHE_HOME") or home / ".cache"
    return FolderCache(Path(base) / "rackseed" / "metadata")
