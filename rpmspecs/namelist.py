"""Recorded names: which packages a target is known to have, and where that was seen."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

from rpmspecs.target import Target
from rpmspecs.yamlfile import Section, read_yaml

FOLDER = Path(__file__).with_name("names")


@dataclass(frozen=True, slots=True)
class Source:
    """Where names were seen."""

    what: str
    version: str
    date: str
    """Of what was seen, not of the look."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One name."""

    seen: tuple[str, ...]
    """The keys of the sources it was seen in; none when it was not verified."""
    note: str


@dataclass(frozen=True)
class NameList:
    """What is recorded for some targets."""

    path: Path
    targets: tuple[str, ...]
    recorded: str
    """The day the list was made."""
    sources: Mapping[str, Source]
    names: Mapping[str, Recorded]
    renamed: Mapping[str, str]
    """By the name it had."""
    gone: Mapping[str, str]
    """What takes its place, or why nothing does."""

    @cached_property
    def origin(self) -> str:
        """The list in a few words."""
        return f"the list {self.path.name} of {self.recorded}"


KEYS = tuple(item.name for item in fields(NameList) if item.name != "path")
SOURCE_KEYS = tuple(item.name for item in fields(Source))


def find_names(target: Target, folder: Path = FOLDER) -> NameList | None:
    """The list for a target; None when none is recorded. Raises BadInput."""
    lists = (read_names(path) for path in sorted(folder.glob("*.yaml")))
    return next((found for found in lists if target.name in found.targets), None)


def read_names(path: Path) -> NameList:
    """A list from its file. Raises BadInput with every problem."""
    top, problems = read_yaml(path, KEYS)
    sources = {
        key: Source(
            section.text("what", "what was looked at"),
            section.text("version", "its version or commit"),
            section.text("date", "a date", form=r"20\d\d(-\d\d){0,2}"),
        )
        for key, section in top.sections("sources", SOURCE_KEYS)
    }
    found = NameList(
        path=path,
        targets=top.texts("targets", "names of targets", None),
        recorded=top.text("recorded", "a date", form=r"20\d\d-\d\d-\d\d"),
        sources=sources,
        names={
            name: _recorded(section, sources)
            for name, section in top.sections("names", ("seen", "verified", "note"))
        },
        renamed=top.pairs("renamed"),
        gone=top.pairs("gone"),
    )
    problems.raise_any()
    return found


def _recorded(section: Section, sources: Mapping[str, Source]) -> Recorded:
    seen = section.texts("seen", "keys of sources")
    verified = section.flag("verified", default=True)
    for key in seen:
        if key not in sources:
            section.wrong("seen", f"{key!r} is none of the sources, expected {', '.join(sources)}")
    if verified and not seen:
        section.wrong("seen", "missing, expected the sources it was seen in, or verified: false")
    if seen and not verified:
        section.wrong("verified", "what was seen is verified, expected one of the two")
    return Recorded(seen, section.text("note", "a sentence", default=""))
