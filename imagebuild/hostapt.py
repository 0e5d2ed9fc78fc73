"""Which mirrors this machine's own apt uses: what reaches it is a good place to build from."""

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from imagebuild.mirrors import with_snapshot
from imagebuild.plan import Settings
from imagebuild.recipe import Recipe

APT = Path("/etc/apt")

ENDINGS = {
    ("debian", "main"): "/debian",
    ("debian", "security"): "/debian-security",
    ("ubuntu", "main"): "/ubuntu",
}
"""How the path of a mirror ends, by system and what it has."""


def host_mirror(system: str, kind: str = "main", apt: Path = APT) -> str | None:
    """The first mirror of a system in apt's sources; None where there is none.

    One with a user name is left out: it would be written to logs and into the image.
    """
    ending = ENDINGS.get((system, kind))
    for uri in uris(_texts(apt)) if ending else ():
        parts = urlsplit(uri)
        if parts.scheme in ("http", "https") and not parts.username:
            path = parts.path.rstrip("/")
            if path.endswith(ending or ""):
                return f"{parts.scheme}://{parts.netloc}{path}"
    return None


def with_host_mirrors(settings: Settings, recipe: Recipe, apt: Path = APT) -> Settings:
    """The settings with this machine's mirrors of a recipe's system, where a person named none."""
    if settings.snapshot is not None:
        return with_snapshot(settings, recipe)
    if settings.mirror or settings.security_mirror:
        return settings
    system = recipe.system
    main = host_mirror(system.name, "main", apt)
    security = host_mirror(system.name, "security", apt)
    return replace(
        settings,
        mirror=main if main != system.mirror else None,
        security_mirror=security if security != system.security_mirror else None,
    )


def uris(texts: Iterable[str]) -> Iterator[str]:
    """The addresses in sources of either format (sources.list(5)).

    >>> list(uris(["deb [arch=amd64] http://m/debian bookworm main", "URIs: http://n/debian"]))
    ['http://m/debian', 'http://n/debian']
    """
    for text in texts:
        for line in text.splitlines():
            one_line = re.match(r"\s*deb\s+(?:\[[^\]]*\]\s+)?(\S+)", line)
            if one_line:
                yield one_line[1]
            elif line.lower().startswith("uris:"):
                yield from line.partition(":")[2].split()


def _texts(apt: Path) -> Iterator[str]:
    folder = apt / "sources.list.d"
    for path in (apt / "sources.list", *sorted(folder.glob("*.list")), *folder.glob("*.sources")):
        with suppress(OSError, UnicodeDecodeError):
            yield path.read_text(encoding="utf-8")
