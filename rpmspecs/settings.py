"""What the person who builds decides, apart from the target: mirrors, proxy, isolation."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class Isolation(Enum):
    """How mock keeps a build apart from its host."""

    AUTO = "auto"
    """nspawn where systemd runs, simple elsewhere."""
    SIMPLE = "simple"
    NSPAWN = "nspawn"


@dataclass(frozen=True, slots=True)
class BuildSettings:
    """Settings of one builder, the same for all its targets."""

    mirrors: Mapping[str, str] = field(default_factory=dict)
    """What a repository's URL begins with, and what stands there instead; the longest wins."""
    proxy: str | None = None
    """`http://HOST:PORT`, for http and https."""
    bootstrap: bool = True
    """mock: install the target's package manager first and let that make the build root."""
    bootstrap_image: str | None = None
    """mock: take the bootstrap from this container image; absent: from packages."""
    isolation: Isolation = Isolation.AUTO
