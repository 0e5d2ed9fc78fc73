"""What the person who builds decides, apart from the target: proxy, isolation, bootstrap."""

from dataclasses import dataclass
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

    proxy: str | None = None
    """`http://HOST:PORT`, for http and https."""
    bootstrap: bool = True
    """mock: install the target's package manager first and let that make the build root."""
    bootstrap_image: str | None = None
    """mock: take the bootstrap from this container image; absent: from packages."""
    isolation: Isolation = Isolation.AUTO
