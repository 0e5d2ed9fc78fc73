"""Locks the Python projects of a service: versions by a release's constraints, files by digest.

What a person writes is `requirements.in`, beside the spec; what comes out is its `sources`.
"""

import re
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
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

TIMEOUT = 900.0
"""Seconds to resolve one service for one Python."""


def lock(folder: Path, constraints: Path, programs: Programs) -> Sequence[Distribution]:
    """Resolve what the spec in `folder` requires; one file of each project for each Python.

    Raises BadInput where the requirements contradict the constraints, SourceUnavailable where a
    project has no file that suits, ToolMissing without uv.
    """
    found: dict[str, Distribution] = {}
    for python in PYTHONS:
        for package in resolve(folder / REQUIREMENTS, constraints, python, programs):
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


def render(locked: Iterable[Distribution], release: str) -> str:
    """The text of `sources`; `release` says whose constraints these are."""
    lines = [f"{one.digest}  {one.filename}  {SCHEME}{one.requirement}\n" for one in locked]
    head = f"# Locked by rackseed rpm lock: {REQUIREMENTS}, with the constraints of {release}.\n"
    return head + "".join(lines)
