"""Sources that a spec does not carry itself: listed with their digests, fetched once, kept."""

import asyncio
import errno
import hashlib
import os
import re
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec as find_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urlsplit

from rpmspecs import pypi
from rpmspecs.capture import capture
from rpmspecs.errors import BadInput, DiskFull, SourceUnavailable, ToolMissing
from rpmspecs.folders import tells_full
from rpmspecs.running import Programs

if TYPE_CHECKING:
    from aiohttp import ClientSession

LIST = "sources"
"""The name of the list, beside the spec."""

JOBS = 4
"""Downloads at once."""

ATTEMPTS = 3
"""How often a download is begun; each goes on where the last one stopped."""

PAUSE = 1.0
"""Seconds before the second attempt; doubled before each further one."""

SILENCE = 30.0
"""Seconds that a server may say nothing."""

PIECE = 1 << 20
"""Bytes read at once."""

SCRATCH = ".fetching-"
LEFT_BEHIND = 86400.0
"""Seconds after which an unfinished file is nobody's."""

PIP_FILES = 20
"""Files that one call of pip fetches."""

LINE = re.compile(r"(?P<digest>\S+)\s+(?P<name>\S+)\s+(?P<url>\S+)")


@dataclass(frozen=True, slots=True)
class Source:
    """One file to fetch."""

    digest: str
    """SHA-256, in hexadecimal."""
    name: str
    url: str
    """http, https or file; `pypi:NAME==VERSION` is fetched by pip."""


class Progress(Protocol):
    """Told how far one file is; may be called from several threads."""

    def __call__(self, source: Source, done: int, total: int | None) -> None:
        """`done` of `total` bytes are here; the two are equal at the end."""


def read_list(path: Path) -> tuple[Source, ...]:
    """The list beside a spec; none is an empty one. Raises BadInput with every mistake."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: cannot be read: {error}") from None
    found: dict[str, Source] = {}
    wrong = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = LINE.fullmatch(line.strip())
        mistake = _mistake(match, found)
        if mistake:
            wrong.append(f"{path}:{number}: {mistake}")
        elif match:
            found[match["name"]] = Source(**match.groupdict())
    if wrong:
        raise BadInput("\n".join(wrong))
    return tuple(found.values())


def _mistake(match: re.Match[str] | None, found: Mapping[str, Source]) -> str | None:
    if match is None:
        return "expected three words: SHA-256, file name, URL"
    if not re.fullmatch(r"[0-9a-f]{64}", match["digest"]):
        return f"found {match['digest']!r}, expected a SHA-256 of 64 hexadecimal digits"
    if "/" in match["name"] or match["name"] in (".", ".."):
        return f"found {match['name']!r}, expected a file name without folders"
    if match["name"] in found:
        return f"{match['name']} is listed twice, expected once"
    if not re.match(rf"https?://[^/]|file:///|{pypi.SCHEME}", match["url"]):
        return f"found {match['url']!r}, expected a URL of http, https, file or {pypi.SCHEME}"
    return None


def default_cache(environment: Mapping[str, str] | None = None) -> Path:
    """Where sources are kept for all builds of a user."""
    environment = os.environ if environment is None else environment
    base = (
        environment.get("XDG_CACHE_HOME")
        or Path(environment.get("HOME") or "~").expanduser() / ".cache"
    )
    return Path(base) / "rackseed" / "sources"


def cached(source: Source, cache: Path) -> Path:
    """Where a source lies once it was fetched."""
    return cache / source.digest / source.name


def fetch(
    sources: Iterable[Source],
    cache: Path,
    programs: Programs,
    *,
    proxy: str | None = None,
    jobs: int = JOBS,
    progress: Progress | None = None,
) -> None:
    """Put every source into the cache, its digest verified; what lies there stays.

    `proxy` is used instead of the environment's. A file has its final name only when it is whole.

    Raises SourceUnavailable with all that cannot be had, DiskFull, ToolMissing.
    """
    wanted = {cached(s, cache): s for s in sources if not cached(s, cache).exists()}
    if not wanted:
        return
    with _no_room(cache):
        cache.mkdir(parents=True, exist_ok=True)
        with _scratch(cache) as scratch:
            fetching = _Fetching(cache, scratch, programs, proxy, progress or _quiet)
            problems = asyncio.run(fetching.all(list(wanted.values()), jobs))
    if problems:
        raise SourceUnavailable("\n".join(dict.fromkeys(problems)))


class _Fetching:
    """One run of `fetch`."""

    def __init__(
        self,
        cache: Path,
        scratch: Path,
        programs: Programs,
        proxy: str | None,
        progress: Progress,
    ) -> None:
        self._cache = cache
        self._scratch = scratch
        self._programs = programs
        self._proxy = proxy
        self._progress = progress
        self._stopping = threading.Event()

    async def all(self, sources: Sequence[Source], jobs: int) -> list[str]:
        """Fetch all; returns what went wrong, one sentence each."""
        from aiohttp import ClientSession, ClientTimeout  # only what downloads pays for it

        turns = asyncio.Semaphore(max(1, jobs))
        timeout = ClientTimeout(total=None, sock_connect=SILENCE, sock_read=SILENCE)
        async with ClientSession(
            timeout=timeout,
            trust_env=True,
            auto_decompress=False,
            headers={"User-Agent": "rackseed"},
        ) as session:

            async def in_turn(work: Callable[[], Awaitable[list[str]]]) -> list[str]:
                async with turns:
                    return await work()

            works: list[Callable[[], Awaitable[list[str]]]] = []
            packed = [s for s in sources if s.url.startswith(pypi.SCHEME)]
            for version in pypi.by_python([_distribution(s) for s in packed]).values():
                names = {one.filename for one in version}
                mine = [s for s in packed if s.name in names]
                works += [
                    partial(self._by_pip, mine[n : n + PIP_FILES])
                    for n in range(0, len(mine), PIP_FILES)
                ]
            works += [partial(self._one, session, s) for s in sources if s not in packed]
            try:
                told = await asyncio.gather(*map(in_turn, works))
            finally:
                self._stopping.set()
        return [problem for problems in told for problem in problems]

    async def _one(self, session: "ClientSession", source: Source) -> list[str]:
        """Fetch by http or from a folder."""
        part = self._scratch / f"{source.digest}-{source.name}"
        if source.url.startswith("file:"):
            problem = self._copy(source, part)
        else:
            problem = await self._download(session, source, part)
        return [problem] if problem else []

    def _copy(self, source: Source, part: Path) -> str | None:
        try:
            shutil.copyfile(unquote(urlsplit(source.url).path), part)
        except OSError as error:
            if tells_full(error):
                raise
            return f"{source.name}: {source.url} cannot be read: {error.strerror}"
        return self._accept(source, part)

    async def _download(self, session: "ClientSession", source: Source, part: Path) -> str | None:
        from aiohttp import ClientError

        problem: str | None = None
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(PAUSE * 2 ** (attempt - 1))
            try:
                problem = await self._attempt(session, source, part)
            except (ClientError, TimeoutError, ConnectionError) as error:
                problem = f"{source.name}: {source.url} {_why(error)}"
                continue
            if problem is None:
                return self._accept(source, part)
            if not TEMPORARY.search(problem):
                return problem
        return problem

    async def _attempt(self, session: "ClientSession", source: Source, part: Path) -> str | None:
        """One request for what is not here yet; returns what the server said against it."""
        begin = part.stat().st_size if part.exists() else 0
        headers = {"Range": f"bytes={begin}-"} if begin else {}
        async with session.get(source.url, headers=headers, proxy=self._proxy) as answer:
            if answer.status == RANGE_NOT_SATISFIABLE:
                part.unlink()
                return f"{source.name}: {source.url} answers 416 again and again"
            if answer.status >= 400:
                return f"{source.name}: {source.url} answers {answer.status} {answer.reason}"
            if answer.status != PARTIAL_CONTENT:
                begin = 0
            length = answer.content_length
            total = begin + length if length is not None else None
            with part.open("r+b" if begin else "wb") as file:
                file.seek(begin)
                async for piece in answer.content.iter_chunked(PIECE):
                    file.write(piece)
                    begin += len(piece)
                    self._progress(source, begin, total)
        return None

    async def _by_pip(self, sources: Sequence[Source]) -> list[str]:
        return await asyncio.to_thread(self._pip, sources)

    def _pip(self, sources: Sequence[Source]) -> list[str]:
        """Fetch files of Python projects, from whatever index the user configured for pip."""
        with tempfile.TemporaryDirectory(dir=self._scratch) as name:
            folder = Path(name)
            try:
                pypi.fetch([_distribution(s) for s in sources], folder, self._run, pip_command())
            except SourceUnavailable as error:
                return [str(error)]
            problems = [self._accept(source, folder / source.name) for source in sources]
        return [problem for problem in problems if problem]

    def _run(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, timeout: float = 600
    ) -> str:
        given = {"PIP_PROXY": self._proxy} if self._proxy else {}
        said = capture(
            self._programs.start,
            argv,
            env={**given, **(env or {})},
            timeout=timeout,
            stopping=self._stopping,
        )
        if said.status and "No space left on device" in said.err:
            raise OSError(errno.ENOSPC, "no space left for pip")
        if said.status:
            errors = [line for line in said.err.splitlines() if line.startswith("ERROR: ")]
            why = (errors or said.err.splitlines() or ["it said nothing"])[-1]
            raise SourceUnavailable(f"pip cannot fetch all: {why.removeprefix('ERROR: ')}")
        return said.out

    def _accept(self, source: Source, part: Path) -> str | None:
        """Give a whole file its final name; returns what is wrong with it instead."""
        with part.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.tell()
        if found != source.digest:
            part.unlink()
            return (
                f"{source.name}: {source.url} gave a file with the SHA-256 {found}, "
                f"expected {source.digest}"
            )
        final = cached(source, self._cache)
        final.parent.mkdir(exist_ok=True)
        part.chmod(0o644)
        part.rename(final)
        self._progress(source, size, size)
        return None


PARTIAL_CONTENT = 206
RANGE_NOT_SATISFIABLE = 416
"""RFC 9110, 15.5.17: the file is no longer than what is here already."""

TEMPORARY = re.compile(r" answers (408|416|429|5\d\d)\b")
"""Refusals after which another attempt has a chance."""


def pip_command() -> Sequence[str]:
    """How pip is called. Raises ToolMissing."""
    if find_module("pip"):
        return (sys.executable, "-m", "pip")
    if found := shutil.which("pip3") or shutil.which("pip"):
        return (found,)
    raise ToolMissing("pip is not installed; it is in the package python3-pip")


def _distribution(source: Source) -> pypi.Distribution:
    return pypi.parse_origin(source.digest, source.name, source.url)


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"said nothing for {SILENCE:g} seconds"
    cause = getattr(error, "os_error", None) or error
    return f"does not answer: {getattr(cause, 'strerror', None) or cause or type(error).__name__}"


def _quiet(source: Source, done: int, total: int | None) -> None:
    """No one wants to know."""


@contextmanager
def _scratch(cache: Path) -> Iterator[Path]:
    """A folder for unfinished files, and an end to those that killed processes left."""
    for left in cache.glob(f"{SCRATCH}*"):
        with suppress(FileNotFoundError):
            if time.time() - left.stat().st_mtime > LEFT_BEHIND:
                shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=SCRATCH) as folder:
        yield Path(folder)


@contextmanager
def _no_room(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if not tells_full(error):
            raise
        raise DiskFull(f"no space left in {folder} for sources") from None
