"""Built packages as files: what their headers say."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rpmspecs.capture import capture
from rpmspecs.errors import BadInput
from rpmspecs.running import Start

LEAD: Final = b"\xed\xab\xee\xdb"
"""How every RPM begins (rpm's docs/manual/format_lead.md)."""
FILES_AT_ONCE: Final = 200
"""Files on one command line."""

_FIELDS: Final = (
    "%{NAME}",
    "%{NEVRA}",
    "%{NAME}-%{VERSION}-%{RELEASE}",
    "%{ARCH}",
    "%|SOURCEPACKAGE?{source}:{}|",
    "%{BUILDTIME}",
    # What signing leaves alone. The header holds the payload's digest since rpm 4.14, under a name
    # that rpm 6 changed; packages of older ones have only the other.
    "%|SHA256HEADER?{%{SHA256HEADER}}:{%{SIGMD5}}|",
)


@dataclass(frozen=True, slots=True)
class RpmFile:
    """A package file, binary or source."""

    path: Path
    name: str
    nevra: str
    """A source package's ends in `.src`, whatever it was made on."""
    file_name: str
    """As rpmbuild calls it."""
    source: bool
    built: int
    """Seconds since 1970."""
    content: str
    """Equal for equal headers and payloads, whoever signed them."""


def read_rpms(paths: Sequence[Path], start: Start) -> list[RpmFile]:
    """What the headers of these files say, in their order.

    Raises BadInput with every file that is not a package, or whose header is damaged.
    """
    for path in paths:
        _check_lead(path)
    found: list[RpmFile | None] = []
    for at in range(0, len(paths), FILES_AT_ONCE):
        part = paths[at : at + FILES_AT_ONCE]
        read = _query(part, start)
        if None in read:  # which one it was, rpm tells in words only
            read = [each for path in part for each in _query([path], start)]
        found += read
    whole = [rpm for rpm in found if rpm is not None]
    if len(whole) < len(paths):
        raise damaged([p for p, rpm in zip(paths, found, strict=True) if rpm is None])
    return whole


def damaged(paths: Sequence[Path]) -> BadInput:
    """The error for files that were a package once."""
    error = BadInput("\n".join(f"{path} is damaged, expected a whole RPM" for path in paths))
    error.add_note("copy it again from where it was built, or build it again")
    return error


def _query(paths: Sequence[Path], start: Start) -> Sequence[RpmFile | None]:
    """What rpm says of these files; None of each where it failed."""
    argv = ["rpm", "--query", "--nosignature", "--nodigest", "--nomanifest", "--queryformat"]
    query = "\\t".join(_FIELDS) + "\\n"
    said = capture(start, [*argv, query, "--package", *map(str, paths)])
    lines = [line.split("\t") for line in said.out.split("\n")[:-1]]
    if said.status or len(lines) != len(paths) or not all(map(_are_whole, lines)):
        return [None] * len(paths)
    return [_rpm_file(path, fields) for path, fields in zip(paths, lines, strict=True)]


def _are_whole(fields: Sequence[str]) -> bool:
    """Whether these can be a package's: rpm also shows what a damaged header happens to hold."""
    if len(fields) != len(_FIELDS):
        return False
    _, _, nvr, _, _, built, _ = fields
    return built.isdecimal() and "/" not in nvr


def _check_lead(path: Path) -> None:
    try:
        with path.open("rb") as file:
            begin = file.read(len(LEAD))
    except OSError as cause:
        raise BadInput(f"{path}: {cause.strerror}, expected an RPM") from None
    if begin != LEAD:
        raise BadInput(f"{path} is not an RPM, expected one")


def _rpm_file(path: Path, fields: Sequence[str]) -> RpmFile:
    name, nevra, nvr, arch, source, built, content = fields
    if source:
        nevra = f"{nevra.removesuffix(f'.{arch}')}.src"
    return RpmFile(
        path=path,
        name=name,
        nevra=nevra,
        file_name=f"{nvr}.{'src' if source else arch}.rpm",
        source=bool(source),
        built=int(built),
        content=content,
    )
