"""What builds packages: one protocol for mock, the chroot and Koji."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from rpmspecs.target import Target


class Backend(Protocol):
    """Builds for one target at a time; several builds may run at once, from several threads.

    Each call writes `build.log` (what rpmbuild said), `root.log` (what installing the build root
    said) and `installed_pkgs.log` (one NEVRA and size a line) to `result`, which it makes, also
    when it fails. Ctrl-C and failure leave no mount, chroot or process.

    Raises BuildFailed with the failing lines, MissingRequirement when a build requirement has no
    provider, RepositoryUnavailable, ToolMissing.
    """

    name: str
    """`mock`, `chroot` or `koji`, for the record of the build."""

    def build_srpm(self, spec: Path, sources: Path, target: Target, result: Path) -> Path:
        """The source package of a spec, in `result`; `sources` holds every source and patch."""

    def build_rpms(
        self, srpm: Path, target: Target, offered: Sequence[Path], result: Path
    ) -> Sequence[Path]:
        """The binary packages, in `result`.

        `offered` are folders with repodata whose packages may be installed beside the target's.
        """

    def stop(self) -> None:
        """End every build that runs; their calls raise. Safe from another thread."""
