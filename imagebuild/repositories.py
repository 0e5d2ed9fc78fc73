"""What a system's repositories hold now, as one digest: when it changes, so may what is built."""

import hashlib
import logging
import re
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from urllib.error import HTTPError, URLError

from imagebuild.errors import BadInput
from imagebuild.mirrors import public_address
from imagebuild.plan import Settings
from imagebuild.recipe import Recipe

log = logging.getLogger(__name__)

TIMEOUT = 20
"""Seconds for each index; they are small."""
MAX_BYTES = 8 << 20

Fetch = Callable[[str], bytes]
"""The content at a URL. Raises OSError, ValueError, HTTPException."""

NOT_THERE = (404, 410)
"""HTTP, RFC 9110: Not Found, Gone."""

UNCHANGING = "fixed"
"""The state of repositories that get no more packages."""


@dataclass(frozen=True, slots=True)
class Index:
    """What a repository said that it holds."""

    url: str
    """Without who asks."""
    sha256: str
    """Of all that it sent: archives of earlier states can be searched for it."""


@dataclass(frozen=True, slots=True)
class State:
    """What repositories hold."""

    key: str
    """Changes when a package does; empty: not known."""
    indexes: tuple[Index, ...] = ()


def mirrors(recipe: Recipe, settings: Settings) -> list[str]:
    """Where packages come from: the main mirror first."""
    system = recipe.system
    found = [settings.mirror or system.mirror]
    if system.name == "debian":
        found.append(settings.security_mirror or system.security_mirror)
    return [mirror.rstrip("/") for mirror in found]


def state_urls(recipe: Recipe, settings: Settings) -> list[str]:
    """Where the indexes are that change when a package does."""
    main, *security = mirrors(recipe, settings)
    urls = [f"{main}/{path}" for path in recipe.system.state]
    urls += [f"{mirror}/dists/RELEASE-security/InRelease" for mirror in security]
    return [url.replace("RELEASE", recipe.release) for url in urls]


def repository_state(urls: Sequence[str], fetch: Fetch, *, named: bool = False) -> State:
    """What repositories hold; not known when one of them does not answer.

    Raises BadInput when one that a person `named` has no such index: nothing is built from it.
    """
    if not urls:
        return State(UNCHANGING)
    found = hashlib.sha256()
    indexes = []
    for url in urls:
        try:
            content = fetch(url)
        except (OSError, ValueError, HTTPException) as error:
            place = public_address(url) or "no address"
            if named and isinstance(error, HTTPError) and error.code in NOT_THERE:
                raise _no_mirror(place, error.code) from None
            log.warning(
                "nothing kept is taken, for this does not answer url=%s: %s", place, _why(error)
            )
            return State("")
        found.update(without_dates(content))
        indexes.append(Index(public_address(url), hashlib.sha256(content).hexdigest()))
    return State(found.hexdigest()[:24], tuple(indexes))


def _why(error: Exception) -> object:
    match error:
        case HTTPError():
            return f"HTTP status {error.code}"
        case URLError(reason=OSError(strerror=str() as reason)):
            return reason
        case OSError():
            return error
    return type(error).__name__  # these quote the address, with a password that may be in it


def _no_mirror(place: str, status: int) -> BadInput:
    error = BadInput(
        f"{place}: is not there (HTTP status {status}), expected a mirror that has this release"
    )
    error.add_note(
        "--mirror is the address above `dists` (Debian, Ubuntu) or above the release's folder"
    )
    return error


def without_dates(index: bytes) -> bytes:
    """An index without what changes when it is only signed anew.

    >>> without_dates(b"Date: today\\nSHA256:\\n abc 12 main/Packages\\n")
    b' abc 12 main/Packages'
    """
    if b"<repomd" in index:
        return index
    return b"\n".join(re.findall(rb"(?m)^ [0-9a-f]+ +\d+ \S+$", index))


def fetch(url: str) -> bytes:
    """Over HTTP, through the proxy that the environment names. As `Fetch`."""
    with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
        content: bytes = answer.read(MAX_BYTES)
        return content
