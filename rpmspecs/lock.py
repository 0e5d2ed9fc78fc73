"""Locks the Python projects of a service: versions by a release's constraints, files by digest.

What a person writes is `requirements.in`, beside the spec; what comes out is its `sources`.
"""

import hashlib
import operator
import re
import tempfile
import textwrap
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from rpmspecs.capture import capture
from rpmspecs.errors import BadInput, SourceUnavailable
from rpmspecs.pypi import BUILD_CONSTRAINTS, NEWEST_GLIBC, SCHEME, Distribution
from rpmspecs.running import Programs

REQUIREMENTS = "requirements.in"

PYTHONS = ("3.11", "3.12")
"""Versions that a service package can be built for, each with its own compiled files."""

OLD_NAMES = {"manylinux1": 5, "manylinux2010": 12, "manylinux2014": 17}
"""Tags from before PEP 600, and the minor version of glibc 2 that each means."""

COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}

WIDTH = 98
"""Of the comment above a lock."""

TIMEOUT = 900.0
"""Seconds to resolve one service for one Python."""


@dataclass(frozen=True, slots=True)
class Constraints:
    """The versions that an OpenStack release is tested with."""

    path: Path
    release: str
    """As its branch is called: `stable/2025.1`."""
    commit: str | None
    """Of OpenStack's repository requirements, if it is known."""
    digest: str
    """SHA-256 of the file, in hexadecimal."""
    names: frozenset[str]
    """The projects that it constrains for our Pythons, normalized."""


def read_constraints(path: Path, release: str, commit: str | None = None) -> Constraints:
    """An upper-constraints.txt. Raises BadInput for another file."""
    try:
        content = path.read_bytes()
        text = content.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: cannot be read: {error}") from None
    lines = re.findall(r"^([\w.-]+)===[^;\s]+ *;?(.*)$", text, re.MULTILINE)
    names = frozenset(normalized(name) for name, marker in lines if applies(marker))
    if not names:
        raise BadInput(f"{path}: found no line NAME===VERSION, expected an upper-constraints.txt")
    digest = hashlib.sha256(content).hexdigest()
    return Constraints(path, release, commit, digest, names)


def applies(marker: str) -> bool:
    """Whether a line of constraints is for one of our Pythons; others than versions all are."""
    found = re.fullmatch(r"\s*python_version\s*(==|>=|<=|>|<)\s*'(\d+)\.(\d+)'\s*", marker)
    if not found:
        return True
    compare, wanted = COMPARISONS[found[1]], (int(found[2]), int(found[3]))
    return any(compare(tuple(map(int, python.split("."))), wanted) for python in PYTHONS)


def normalized(name: str) -> str:
    """A project's name as all its spellings are compared (PyPA's name normalization)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def lock(folder: Path, constraints: Constraints, programs: Programs) -> Sequence[Distribution]:
    """Resolve what the spec in `folder` requires; one file of each project for each Python.

    Raises BadInput where the requirements contradict the constraints, SourceUnavailable where a
    project has no file that suits, ToolMissing without uv.
    """
    found: dict[str, Distribution] = {}
    for python in PYTHONS:
        for package in resolve(folder / REQUIREMENTS, constraints.path, python, programs):
            one = choose(package, python)
            found[one.filename] = one
    return sorted(found.values(), key=lambda one: one.filename.lower())


def resolve(
    requirements: Path, constraints: Path, python: str, programs: Programs
) -> Sequence[Mapping[str, Any]]:
    """The packages of a PEP 751 lock file, which uv writes."""
    if not requirements.exists():
        raise BadInput(f"{requirements}: there is no such file, expected the projects to lock")
    with tempfile.TemporaryDirectory(prefix="rackseed-") as scratch:
        output = Path(scratch) / "pylock.toml"
        asked = Path(scratch) / "build.txt"
        asked.write_text(BUILD_CONSTRAINTS, encoding="utf-8")
        said = capture(
            programs.start,
            [
                *("uv", "pip", "compile", "--quiet", "--no-config", "--format=pylock.toml"),
                f"--python-version={python}",
                f"--python-platform=x86_64-manylinux_2_{NEWEST_GLIBC}",
                f"--constraints={constraints}",
                f"--build-constraints={asked}",
                f"--output-file={output}",
                str(requirements),
            ],
            env={"TMPDIR": scratch},  # uv leaves its locks there
            timeout=TIMEOUT,
        )
        if said.status:
            raise BadInput(f"{requirements}: cannot be resolved:\n{said.err.strip()}")
        packages: Sequence[Mapping[str, Any]] = tomllib.loads(output.read_text("utf-8"))["packages"]
    return packages


def choose(package: Mapping[str, Any], python: str) -> Distribution:
    """The file of a project to carry: compiled for this Python before pure, else the sources.

    Of several for one Python the one for the oldest glibc.
    """
    named = {
        unquote(urlsplit(file["url"]).path).rpartition("/")[2]: file for file in files(package)
    }
    suited = [(rank, name) for name in named if (rank := suitability(name, python)) is not None]
    if not suited:
        raise SourceUnavailable(
            f"{package['name']} {package['version']} has no file that suits Python {python}"
        )
    name = min(suited)[1]
    return Distribution(
        named[name]["hashes"]["sha256"], name, f"{package['name']}=={package['version']}"
    )


def files(package: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from package.get("wheels", ())
    if "sdist" in package:
        yield package["sdist"]


def suitability(filename: str, python: str) -> tuple[int, int] | None:
    """How well a file suits: kind, then minor version of glibc; less is better, None is not."""
    if not filename.endswith(".whl"):
        return (4, 0)
    interpreters, abi, platform = filename.removesuffix(".whl").split("-")[-3:]
    glibc = 0 if platform == "any" else oldest_glibc(platform)
    if glibc is None:
        return None
    minor = python.partition(".")[2]
    names = set(interpreters.split("."))
    if abi == f"cp3{minor}" and abi in names:
        return (0, glibc)
    if abi == "abi3":
        since = [int(name[3:]) for name in names if re.fullmatch(r"cp3\d+", name)]
        return (1, glibc) if any(one <= int(minor) for one in since) else None
    if abi == "none" and names & {"py3", f"py3{minor}", f"cp3{minor}"}:
        return (3 if platform == "any" else 2, glibc)
    return None


def oldest_glibc(platform: str) -> int | None:
    """The oldest glibc 2 that a wheel for this platform runs on; None on another system."""
    minors = [int(minor) for minor in re.findall(r"manylinux_2_(\d+)_x86_64", platform)]
    minors += [minor for name, minor in OLD_NAMES.items() if f"{name}_x86_64" in platform]
    return min(minors) if minors and min(minors) <= NEWEST_GLIBC else None


def render(locked: Iterable[Distribution], constraints: Constraints) -> str:
    """The text of `sources`: above, which file of constraints held, and what it left open."""
    locked = list(locked)
    names = {normalized(one.requirement.partition("==")[0]) for one in locked}
    free = ", ".join(sorted(names - constraints.names))
    of = f" of commit {constraints.commit}" if constraints.commit else ""
    told = [
        f"Locked by rackseed rpm lock: {REQUIREMENTS}, with the constraints of "
        f"{constraints.release}: upper-constraints.txt{of}, SHA-256 {constraints.digest}."
    ]
    if free:
        told.append(f"Not constrained there: {free}.")
    head = [line for words in told for line in textwrap.wrap(words, WIDTH, break_on_hyphens=False)]
    lines = [f"{one.digest}  {one.filename}  {SCHEME}{one.requirement}" for one in locked]
    return "".join(f"{line}\n" for line in [*(f"# {line}" for line in head), *lines])
