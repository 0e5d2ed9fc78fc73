"""Built packages as files: what their headers say."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rpmspecs.errors import BadInput
from rpmspecs.running import Run
from rpmspecs.tools import require_tool

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


def read_rpms(paths: Sequence[Path], run: Run) -> list[RpmFile]:
    """What the headers of these files say, in their order.

    Raises BadInput for a file that is not a package.
    """
    for path in paths:
        _check_lead(path)
    query = "\\t".join(_FIELDS) + "\\n"
    lines: list[str] = []
    rpm = require_tool("rpm", "rpm")
    for at in range(0, len(paths), FILES_AT_ONCE):
        part = paths[at : at + FILES_AT_ONCE]
        argv = [rpm, "--query", "--nosignature", "--nodigest", "--nomanifest", "--queryformat"]
        lines += run([*argv, query, "--package", *map(str, part)]).splitlines()
    return [_rpm_file(path, line) for path, line in zip(paths, lines, strict=True)]


def _check_lead(path: Path) -> None:
    try:
        with path.open("rb") as file:
            begin = file.read(len(LEAD))
    except OSError as cause:
        raise BadInput(f"{path}: {cause.strerror}, expected an RPM") from None
    if begin != LEAD:
        raise BadInput(f"{path} is not an RPM")


def _rpm_file(path: Path, line: str) -> RpmFile:
    name, nevra, nvr, arch, source, built, content = line.split("\t")
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
