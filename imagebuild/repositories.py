"""What a system's repositories hold now, as one digest: when it changes, so may what is built."""

import hashlib
import logging
import re
import urllib.request
from collections.abc import Callable, Sequence
from http.client import HTTPException

from imagebuild.mirrors import public_address
from imagebuild.plan import Settings
from imagebuild.recipe import Recipe

log = logging.getLogger(__name__)

TIMEOUT = 20
"""Seconds for each index; they are small."""
MAX_BYTES = 8 << 20

Fetch = Callable[[str], bytes]
"""The content at a URL. Raises OSError, ValueError, HTTPException."""

UNCHANGING = "fixed"
"""The state of repositories that get no more packages."""


def state_urls(recipe: Recipe, settings: Settings) -> list[str]:
    """Where the indexes are that change when a package does."""
    system = recipe.system
    mirror = (settings.mirror or system.mirror).rstrip("/")
    urls = [f"{mirror}/{path}" for path in system.state]
    if system.name == "debian":
        security = (settings.security_mirror or system.security_mirror).rstrip("/")
        urls.append(f"{security}/dists/RELEASE-security/InRelease")
    return [url.replace("RELEASE", recipe.release) for url in urls]


def repository_state(urls: Sequence[str], fetch: Fetch) -> str:
    """The digest of what repositories hold; empty when one of them does not answer."""
    if not urls:
        return UNCHANGING
    found = hashlib.sha256()
    for url in urls:
        try:
            found.update(without_dates(fetch(url)))
        except (OSError, ValueError, HTTPException) as error:
            # The others quote the address, with a password that may be in it.
            why = error if isinstance(error, OSError) else type(error).__name__
            place = public_address(url) or "no address"
            log.warning("nothing kept is taken, for this does not answer url=%s: %s", place, why)
            return ""
    return found.hexdigest()[:24]


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
