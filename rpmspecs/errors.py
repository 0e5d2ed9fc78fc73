"""What can go wrong in this package, named for what a person must do about it."""

from collections.abc import Sequence
from pathlib import Path


class RpmError(Exception):
    """Base of every error that this package raises on purpose; a hint is a note (`add_note`)."""


class BadInput(RpmError):
    """Something a person wrote is wrong: a spec, a target, a list of sources, an option."""


class SourceUnavailable(RpmError):
    """A source cannot be fetched, or is not what its digest says."""


class RepositoryUnavailable(RpmError):
    """A repository does not answer, or what it gives is broken or wrongly signed."""


class MissingRequirement(RpmError):
    """No repository of the target provides what a spec needs to be built or installed."""


class ToolMissing(RpmError):
    """A program that this machine needs for the work is not installed; says its package."""


class SigningFailed(RpmError):
    """A signature could not be made or verified."""


class DiskFull(RpmError):
    """The file system of a folder has no room left; names the folder."""


class Stopped(RpmError):
    """A build was ended because somebody asked for it."""


class BuildFailed(RpmError):
    """A build ended badly; says which log tells it and quotes the lines that matter."""

    def __init__(self, name: str, log: Path, lines: Sequence[str]) -> None:
        self.name = name
        self.log = log
        self.lines = tuple(lines)
        super().__init__("\n".join([f"{name} was not built, see {log}:", *self.lines]))
