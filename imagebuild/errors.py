"""What can go wrong while images are built, named for what a person must do about it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar


class ImageError(Exception):
    """Base of every expected error of this package; a hint is a note (`add_note`)."""


class BadInput(ImageError):
    """Something a person wrote is wrong: a recipe, an option, a name, a file that is no image."""


Wrong = TypeVar("Wrong", bound=BadInput)


def joined(problems: Sequence[Wrong]) -> Wrong:
    """Several as one, each line and each hint once."""
    together = type(problems[0])("\n".join(dict.fromkeys(map(str, problems))))
    for note in dict.fromkeys(n for one in problems for n in getattr(one, "__notes__", ())):
        together.add_note(note)
    return together


class ToolMissing(ImageError):
    """A program or right that this machine needs for the work is absent; says what brings it."""


class SourceUnavailable(ImageError):
    """Something to build from cannot be had, or is not what its checksum says."""


class DiskFull(ImageError):
    """The file system of a folder has no room left; names the folder."""


class Stopped(ImageError):
    """A build was ended because somebody asked for it."""


class NotSealed(ImageError):
    """A finished image still carries an identity or a leftover; its report names each."""


class NotAsPromised(ImageError):
    """A finished image lacks what its recipe says it has."""


class NotProven(ImageError):
    """A finished image did not boot as it should."""


class PublishFailed(ImageError):
    """An image did not arrive whole where it was to be published."""


class BuildFailed(ImageError):
    """A build ended badly; says which log tells it and quotes the lines that matter."""

    def __init__(self, name: str, log: Path, lines: Sequence[str]) -> None:
        self.name = name
        self.log = log
        self.lines = tuple(lines)
        super().__init__("\n".join([f"{name} was not built, see {log}:", *self.lines]))
