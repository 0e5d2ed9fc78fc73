"""Specs as rpm itself reads them for a target."""

import difflib
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rpmspecs.capture import Said, capture
from rpmspecs.errors import BadInput
from rpmspecs.running import Programs
from rpmspecs.target import ServicePackages, Target, has_rich_dependencies, macros_of

FOLDER = Path(__file__).with_name("specs")
"""Our own specs, one folder each: NAME/NAME.spec."""

SERVICE_MARK = "openstack-service.inc"
"""Lies beside the spec of a service package that targets with RDO's have no use for."""

RELEASE = "rackseed-release"
"""Our spec whose sources are made when a repository is published: its file and its key."""


@dataclass(frozen=True, slots=True)
class Package:
    """One binary package that a spec makes."""

    name: str
    arch: str
    requires: tuple[str, ...]
    """As in the spec: `python3 >= 3.11`, `(a or b)`."""
    provides: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Spec:
    """One spec, read for one target."""

    name: str
    path: Path
    epoch: int
    version: str
    release: str
    packages: tuple[Package, ...]
    build_requires: tuple[str, ...]
    sources: tuple[str, ...]
    """File names of sources and patches, in no order that means anything."""
    digest: str
    """SHA-256 of the text with every macro expanded."""

    @property
    def nvr(self) -> str:
        """`NAME-VERSION-RELEASE`."""
        return f"{self.name}-{self.version}-{self.release}"

    @property
    def requires(self) -> tuple[str, ...]:
        """What its packages need to be installed."""
        return tuple(dict.fromkeys(need for p in self.packages for need in p.requires))

    @property
    def provides(self) -> tuple[str, ...]:
        """What its packages are good for, their names too."""
        return tuple(dict.fromkeys(what for p in self.packages for what in p.provides))


def own_specs(target: Target | None = None) -> list[str]:
    """The names of our own specs, of those that a target can use when one is given.

    Without `RELEASE`, which nobody can build from what lies here. None for a target without rich
    dependencies: the metapackages ask by them, and the services are for what has no RDO.
    """
    if target is not None and not has_rich_dependencies(target):
        return []
    paths = [path for path in sorted(FOLDER.glob("*/*.spec")) if path.stem != RELEASE]
    rdo = target is not None and target.services is ServicePackages.RDO
    return [p.stem for p in paths if not (rdo and (p.parent / SERVICE_MARK).exists())]


def find_spec(name: str | Path) -> Path:
    """The file of a spec: one of ours by its name, or a file or folder of a person's own.

    Raises BadInput.
    """
    ours = FOLDER / str(name) / f"{name}.spec"
    path = Path(name)
    if len(path.parts) == 1 and path.suffix != ".spec" and ours.exists():
        return ours
    if path.is_dir():
        found = sorted(path.glob("*.spec"))
        if len(found) == 1:
            return found[0]
        names = ", ".join(spec.name for spec in found) or "none"
        raise BadInput(f"{path}: found {names}, expected a folder with one spec")
    if path.suffix == ".spec" or len(path.parts) > 1:
        if path.is_file():
            return path
        raise BadInput(f"{path}: there is no such file, expected a spec")
    known = own_specs()
    near = difflib.get_close_matches(str(name), known, n=1)
    error = BadInput(f"there is no spec {str(name)!r}")
    if near:
        error.add_note(f"did you mean {near[0]!r}?")
    error.add_note(f"ours: {', '.join(known)}; one of your own is named by its path")
    raise error


def find_specs(names: Sequence[str], target: Target) -> list[Path]:
    """The specs of these names, else all of ours that a target can use, each once.

    Raises BadInput, also for ours where a target can use none.
    """
    known = own_specs(target)
    paths = [find_spec(name) for name in names or known]
    ours = {FOLDER / name / f"{name}.spec" for name in own_specs()}
    if not known and (not paths or ours & {path.absolute() for path in paths}):
        error = BadInput(
            f"{target.name} cannot have our packages: its RPM has no rich dependencies"
        )
        error.add_note("a spec of your own is named by its path")
        raise error
    return list({path.resolve(): path for path in paths}.values())


def read_spec(path: Path, target: Target, programs: Programs) -> Spec:
    """Read a spec as it reads with the macros of a target.

    Raises BadInput with rpm's own line number, ToolMissing.
    """
    path = path.absolute()
    options = _options(path, target)
    said = [capture(programs.start, ["rpmspec", *options, *query, str(path)]) for query in QUERIES]
    for one in said:
        if one.status:
            raise syntax_error(path, one)
    source, binary, text = (one.out for one in said)
    wherever = text.replace(str(path.parent), "%{_sourcedir}")
    return spec_from(path, source, binary, hashlib.sha256(wherever.encode()).hexdigest())


QUERIES: Sequence[Sequence[str]] = (
    (
        *("-q", "--srpm", "--qf"),
        r"N\t%{NAME}\t%{EPOCHNUM}\t%{VERSION}\t%{RELEASE}\n"
        r"[R\t%{REQUIRENAME}\t%{REQUIREFLAGS:depflags}\t%{REQUIREVERSION}\n]"
        r"[S\t%{SOURCE}\n][S\t%{PATCH}\n]",
    ),
    (
        *("-q", "--qf"),
        r"N\t%{NAME}\t%{ARCH}\n"
        r"[R\t%{REQUIRENAME}\t%{REQUIREFLAGS:depflags}\t%{REQUIREVERSION}\n]"
        r"[P\t%{PROVIDENAME}\n]",
    ),
    ("-P",),
)
"""The source package, the binary packages, the expanded text."""


def _options(path: Path, target: Target) -> list[str]:
    values: Mapping[str, str] = {"_sourcedir": str(path.parent), **macros_of(target)}
    defines = [word for name, value in values.items() for word in ("-D", f"{name} {value}")]
    return ["--target", target.arch, *defines]


def spec_from(path: Path, source: str, binary: str, digest: str) -> Spec:
    """The value behind the answers to `QUERIES`. Raises BadInput."""
    rows = [line.split("\t") for line in source.splitlines()]
    name, epoch, version, release = next(row[1:5] for row in rows if row[0] == "N")
    for what, value in (("Name", name), ("Version", version), ("Release", release)):
        if "%" in value or "/" in value:
            raise BadInput(f"{path}: {what} is {value!r}, expected one without macros or slashes")
    return Spec(
        name=name,
        path=path,
        epoch=int(epoch),
        version=version,
        release=release,
        packages=tuple(_packages(binary)),
        build_requires=_values(rows, "R"),
        sources=_values(rows, "S"),
        digest=digest,
    )


def _packages(text: str) -> list[Package]:
    found = []
    for block in re.split(r"^(?=N\t)", text, flags=re.MULTILINE)[1:]:
        rows = [line.split("\t") for line in block.splitlines()]
        _, name, arch = rows[0]
        found.append(Package(name, arch, _values(rows, "R"), _values(rows, "P")))
    return found


def _values(rows: Sequence[Sequence[str]], kind: str) -> tuple[str, ...]:
    values = (
        " ".join(part.strip() for part in row[1:] if part.strip()) for row in rows if row[0] == kind
    )
    return tuple(dict.fromkeys(value for value in values if not value.startswith("rpmlib(")))


def syntax_error(path: Path, said: Said) -> BadInput:
    """rpm's complaints about a spec, each with the file and the line that rpm names."""
    lines = [line.removeprefix("error: ") for line in said.err.splitlines()]
    told = [line for line in lines if "warning: " not in line and "can't parse" not in line]
    found = []
    for line in told or [f"rpmspec ended with status {said.status}"]:
        number = re.match(r"(?:.*?\b)?line (\d+): ?(.*)", line)
        found.append(f"{path}:{number[1]}: {number[2]}" if number else f"{path}: {line}")
    return BadInput("\n".join(dict.fromkeys(found)))
