"""Source packages of an existing repository, made into specs that can be built for a target."""

import difflib
import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urljoin, urlsplit

from rpmspecs.capture import capture
from rpmspecs.errors import BadInput, DiskFull, RepositoryUnavailable
from rpmspecs.folders import is_full
from rpmspecs.metadata import Listed, Repomd, parse_primary, parse_repomd, unpack
from rpmspecs.rpmfile import read_rpms
from rpmspecs.running import Programs
from rpmspecs.sources import SCRATCH, Source, cached, fetch
from rpmspecs.states import CURRENT, INDEX, SOURCES
from rpmspecs.steps import file_digest
from rpmspecs.versions import evr_key

SILENCE: Final = 30.0
"""Seconds that a server may say nothing."""
INDEX_LIMIT: Final = 16 << 20
"""Bytes of a repository's index; the largest known has a thousandth."""


def find_srpms(
    origin: str,
    names: Sequence[str],
    cache: Path,
    programs: Programs,
    proxy: str | None = None,
) -> list[Path]:
    """The newest source packages of a repository, or those of these names, in the cache.

    `origin` is a URL or folder of a repository, whose source packages lie in itself or in
    `source/` below it, or a folder that just holds them. Digests of the metadata are verified.

    Raises BadInput, RepositoryUnavailable, SourceUnavailable, DiskFull.
    """
    folder = Path(origin)
    if "://" not in origin:
        if not folder.is_dir():
            raise BadInput(f"{origin} is neither a folder nor a URL, expected a repository")
        if (folder / CURRENT).is_dir():
            folder /= CURRENT
        tops = [folder, folder / SOURCES]
        if not any((top / INDEX).is_file() for top in tops):
            return _plain(folder, names, programs)
        origin = folder.absolute().as_uri()
    base = origin.rstrip("/") + "/"
    is_repository = False
    for top in (base, f"{base}{SOURCES}/"):
        if (index := _index(top, proxy)) is None:
            continue
        is_repository = True
        listed = _listed(top, index, cache, programs, proxy)
        if found := [package for package in listed if package.arch in ("src", "nosrc")]:
            wanted = _newest(found, names, origin)
            sources = [_source(top, package) for package in wanted]
            fetch(sources, cache, programs, proxy=proxy)
            return [cached(source, cache) for source in sources]
    if not is_repository:
        raise BadInput(f"{origin} is no repository: it has no {INDEX}")
    error = BadInput(f"{origin} holds no source packages, expected some")
    error.add_note("name its source repository, which most distributions keep beside it")
    raise error


def _plain(folder: Path, names: Sequence[str], programs: Programs) -> list[Path]:
    """The source packages that lie in a folder without metadata, all their versions' newest."""
    rpms = [rpm for rpm in read_rpms(sorted(folder.glob("*.rpm")), programs.start) if rpm.source]
    if not rpms:
        raise BadInput(f"{folder} holds no source packages, expected some")
    paths = {rpm.nevra: rpm.path for rpm in rpms}
    listed = [
        Listed(rpm.name, rpm.nevra, _evr(rpm.name, rpm.nevra), "src", str(rpm.path), "")
        for rpm in rpms
    ]
    return [paths[package.nevra] for package in _newest(listed, names, str(folder))]


def _evr(name: str, nevra: str) -> tuple[str, str, str]:
    rest = nevra.removeprefix(f"{name}-").removesuffix(".src")
    epoch, _, rest = rest.rpartition(":")
    version, _, release = rest.rpartition("-")
    return epoch or "0", version, release


def _newest(packages: Iterable[Listed], names: Sequence[str], origin: str) -> list[Listed]:
    newest: dict[str, Listed] = {}
    for package in sorted(packages, key=lambda package: evr_key(package.evr)):
        newest[package.name] = package
    for name in names:
        if name not in newest:
            error = BadInput(f"{origin} has no source package {name}")
            near = difflib.get_close_matches(name, newest, n=1)
            if near:
                error.add_note(f"did you mean {near[0]!r}?")
            raise error
    return [newest[name] for name in sorted(names or newest)]


def _listed(
    top: str, index: Repomd, cache: Path, programs: Programs, proxy: str | None
) -> Iterator[Listed]:
    """What a repository lists."""
    if not (href := index.files.get("primary")):
        raise RepositoryUnavailable(f"{top}{INDEX} names no primary metadata")
    source = Source(_sha256(index.digests["primary"], href), _file_name(href), urljoin(top, href))
    fetch([source], cache, programs, proxy=proxy)
    yield from parse_primary(unpack(source.name, cached(source, cache).read_bytes()))


def _index(top: str, proxy: str | None) -> Repomd | None:
    """A repository's index; None where there is none."""
    url = f"{top}{INDEX}"
    handlers = [urllib.request.ProxyHandler({"http": proxy, "https": proxy})] if proxy else []
    opener = urllib.request.build_opener(*handlers)
    try:
        with opener.open(url, timeout=SILENCE) as answer:
            return parse_repomd(answer.read(INDEX_LIMIT))
    except urllib.error.HTTPError as error:
        if error.code in (404, 410):
            return None
        raise RepositoryUnavailable(f"{url} answers {error.code} {error.reason}") from None
    except urllib.error.URLError as error:
        if isinstance(error.reason, FileNotFoundError) or "No such file" in str(error.reason):
            return None
        why = getattr(error.reason, "strerror", None) or error.reason
        raise RepositoryUnavailable(f"{url} does not answer: {why}") from None
    except (OSError, ValueError) as error:
        raise RepositoryUnavailable(f"{url} does not answer: {error}") from None


def _source(top: str, package: Listed) -> Source:
    url = urljoin(top, package.path)
    return Source(_sha256(package.digest, package.path), _file_name(package.path), url)


def _sha256(digest: str, what: str) -> str:
    if not digest:
        raise RepositoryUnavailable(f"{what} has no SHA-256 in the metadata, expected one")
    return digest


def _file_name(href: str) -> str:
    return unquote(urlsplit(href).path).rpartition("/")[2]


def unpack_srpm(srpm: Path, cache: Path, programs: Programs) -> Path:
    """The spec of a source package, beside all that it carries; unpacked once for all builds.

    Raises BadInput, DiskFull.
    """
    folder = cache / file_digest(srpm) / "unpacked"
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=SCRATCH) as made:
            _install(srpm, Path(made), programs)
            whole = Path(made, "files")
            folder.parent.mkdir(exist_ok=True)
            try:
                whole.rename(folder)
            except OSError:  # another did it in the meantime
                shutil.rmtree(whole)
    specs = list(folder.glob("*.spec"))
    if len(specs) != 1:
        raise BadInput(f"{srpm} carries {len(specs)} specs, expected one")
    return specs[0]


def _install(srpm: Path, folder: Path, programs: Programs) -> None:
    files, database = folder / "files", folder / "rpmdb"
    for each in (files, database):
        each.mkdir()
    places = {"_topdir": folder, "_sourcedir": files, "_specdir": files, "_dbpath": database}
    defines = [word for item in places.items() for word in ("--define", f"{item[0]} {item[1]}")]
    said = capture(
        programs.start, ["rpm", *defines, "--install", "--nodeps", "--nosignature", str(srpm)]
    )
    if said.status:
        if is_full(folder):
            raise DiskFull(f"{srpm.name} was not unpacked: no space left in {folder.parent}")
        error = BadInput(f"{srpm} cannot be unpacked, expected a whole source package")
        told = [line for line in said.err.splitlines() if line.startswith("error: ")]
        error.add_note(f"rpm says: {(told or ['nothing'])[0].removeprefix('error: ')}")
        raise error
