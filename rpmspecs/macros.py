"""The RPM macros that every build of a target sees, whichever backend builds."""

from collections.abc import Mapping

from rpmspecs.target import Target, macros_of

BUILD_HOST = "rackseed"
"""`%_buildhost` of all packages: the machine that built one is no part of it."""

REPRODUCIBLE = {
    "_buildhost": BUILD_HOST,
    "source_date_epoch_from_changelog": "1",
    "use_source_date_epoch_as_buildtime": "1",
    "clamp_mtime_to_source_date_epoch": "1",
    "build_mtime_policy": "clamp_to_source_date_epoch",  # its name since RPM 4.20
}
"""The same sources and build root give the same package: times come from the changelog."""


def macros(target: Target) -> Mapping[str, str]:
    """Macros without `%`; those of the target win."""
    return {**REPRODUCIBLE, **macros_of(target)}
