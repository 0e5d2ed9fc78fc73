"""The decision which packages a new state of a repository has, and where each comes from."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from enum import Enum
from itertools import groupby
from pathlib import Path

from rpmspecs.errors import BadInput
from rpmspecs.rpmfile import RpmFile
from rpmspecs.states import SOURCES, Entry, State


@dataclass(frozen=True, slots=True)
class Change:
    """What a new state is to have that the live one has not."""

    add: tuple[Path, ...] = ()
    remove: tuple[str, ...] = ()
    """Names, or names with version and so on as rpm's NEVRA."""
    replace: bool = False
    """Whether a package may take the place of another of its NEVRA."""
    url: str | None = None
    """Where clients reach the repository's folder; None: as before."""
    epoch: int | None = None
    """Least revision of the metadata, as SOURCE_DATE_EPOCH; None: the newest build time."""


class Make(Enum):
    """How a package comes into a new state."""

    LINK = "link"
    COPY = "copy"
    SIGN = "sign"


@dataclass(frozen=True, slots=True)
class Placed:
    """A package of a new state."""

    entry: Entry
    origin: Path
    make: Make
    mtime: int | None = None
    """Seconds since 1970; None: the origin's."""


def arrange(
    before: State | None,
    kept: Sequence[State],
    add: Sequence[RpmFile],
    change: Change,
    key: str,
    signed: Collection[Path] = (),
) -> list[Placed]:
    """Which packages a new state has, under which paths, and where they come from.

    A path of a kept state never gets other bytes. `signed` are those of `add` that are signed by
    `key`. Raises BadInput with every conflict.
    """
    number = 1 + max((state.number for state in kept), default=0)
    taken = {entry.path: (entry, state) for state in kept for entry in state.packages}
    stay = _without(before.packages if before else (), change.remove)
    resigned = before is not None and before.key != key
    added = _distinct(add)
    by_nevra = {entry.nevra: entry for entry in stay}
    conflicts = [
        f"{rpm.path}: {rpm.nevra} is in the repository with other content"
        for rpm in added
        if rpm.nevra in by_nevra and by_nevra[rpm.nevra].content != rpm.content
    ]
    if conflicts and not change.replace:
        error = BadInput("\n".join(conflicts))
        error.add_note("raise the release; or --replace, and clients with the old one keep it")
        raise error
    placed = []
    new = {rpm.nevra: rpm for rpm in added}
    for entry in stay:
        assert before is not None
        origin = before.folder / entry.path
        if entry.nevra in new and new[entry.nevra].content != entry.content:
            continue
        new.pop(entry.nevra, None)
        if resigned:
            moved = replace(entry, path=_free_path(Path(entry.path).name, taken, entry, number))
            mtime = int(origin.stat().st_mtime) + number
            placed.append(Placed(moved, origin, Make.SIGN, mtime))
        else:
            placed.append(Placed(entry, origin, Make.LINK))
    for rpm in new.values():
        entry = Entry("", rpm.nevra, rpm.name, rpm.content)
        usual = _path(rpm.file_name, rpm.source)
        known, state = taken.get(usual, (None, None))
        if known and state and known.content == rpm.content and state.key == key:
            placed.append(Placed(known, state.folder / usual, Make.LINK))
            continue
        path = _free_path(rpm.file_name, taken, entry, number)
        # createrepo_c takes a file of the same name, size and time for the same.
        mtime = rpm.built + (0 if path == usual else number)
        make = Make.COPY if rpm.path in signed else Make.SIGN
        placed.append(Placed(replace(entry, path=path), rpm.path, make, mtime))
    return placed


def _without(entries: Iterable[Entry], remove: Sequence[str]) -> list[Entry]:
    entries = list(entries)
    known = {word for entry in entries for word in (entry.name, entry.nevra)}
    if unknown := [word for word in remove if word not in known]:
        error = BadInput(f"the repository has no package {', '.join(unknown)} to remove")
        names = sorted({entry.name for entry in entries})
        near = [best for word in unknown for best in get_close_matches(word, names, n=1)]
        if near:
            error.add_note(f"did you mean {' or '.join(map(repr, near))}?")
        raise error
    return [entry for entry in entries if not {entry.name, entry.nevra} & set(remove)]


def _distinct(add: Sequence[RpmFile]) -> list[RpmFile]:
    """Each NEVRA once. Raises BadInput when two files with different content have the same."""
    found: list[RpmFile] = []
    for _, group in groupby(sorted(add, key=lambda rpm: rpm.nevra), key=lambda rpm: rpm.nevra):
        first, *others = group
        for other in others:
            if other.content != first.content:
                message = f"{first.path} and {other.path} are both {first.nevra} and differ"
                raise BadInput(f"{message}, expected one")
        found.append(first)
    return found


def _path(file_name: str, source: bool, folder: str = "") -> str:
    parts = (SOURCES if source else "", "Packages", folder, file_name)
    return "/".join(part for part in parts if part)


def _free_path(file_name: str, taken: Mapping[str, object], entry: Entry, number: int) -> str:
    source = entry.nevra.endswith(".src")
    usual = _path(file_name, source)
    return usual if usual not in taken else _path(file_name, source, f"state-{number}")
