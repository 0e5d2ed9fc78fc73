"""Fetches Python distributions with pip, from whatever index its user configured."""

import re
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rpmspecs.errors import BadInput, SourceUnavailable
from rpmspecs.running import Run

SCHEME = "pypi:"
"""Begins the origin of a source that pip fetches: `pypi:NAME==VERSION`."""

NEWEST_GLIBC = 34
"""Wheels may need glibc 2.34, as EL9 has it, and nothing newer."""

PLATFORMS = tuple(
    [f"manylinux_2_{minor}_x86_64" for minor in range(NEWEST_GLIBC, 4, -1)]
    + [f"manylinux{year}_x86_64" for year in ("2014", "2010", "1")]
)
"""What pip shall take for suitable, whatever it runs on."""

BUILD_CONSTRAINTS = "setuptools<81\n"
"""For sources that are asked what they are: old ones import pkg_resources, which 81 has not."""

DEFAULT_PYTHON = "3.12"
"""Asked for where a file suits every Python."""

TIMEOUT = 1800.0
"""Seconds for all files of one Python."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """One file of a Python project."""

    digest: str
    """SHA-256, in hexadecimal."""
    filename: str
    requirement: str
    """`NAME==VERSION`."""


def parse_origin(digest: str, filename: str, origin: str) -> Distribution:
    """The distribution behind one line of a list of sources. Raises BadInput."""
    requirement = origin.removeprefix(SCHEME)
    if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9._+!-]+", requirement):
        raise BadInput(f"{filename}: {origin} is no {SCHEME}NAME==VERSION")
    return Distribution(digest, filename, requirement)


def fetch(wanted: Iterable[Distribution], folder: Path, run: Run, pip: Sequence[str]) -> None:
    """Puts every file, with its digest verified by pip, into `folder`.

    `pip` is how pip is called: `("pip",)`, or `(sys.executable, "-m", "pip")`.

    Raises SourceUnavailable for files that came not; errors of `run` where pip failed.
    """
    for version, group in sorted(by_python(wanted).items()):
        with tempfile.TemporaryDirectory() as scratch:
            requirements = Path(scratch) / "requirements.txt"
            requirements.write_text(render(group), encoding="utf-8")
            asked = Path(scratch) / "build.txt"
            asked.write_text(BUILD_CONSTRAINTS, encoding="utf-8")
            # pip 25.3 has an option of its own for it; before, one held for all.
            env = {"PIP_BUILD_CONSTRAINT": str(asked), "PIP_CONSTRAINT": str(asked)}
            run(download(pip, version, requirements, folder), env=env, timeout=TIMEOUT)
        for missing in [one for one in group if not (folder / one.filename).exists()]:
            raise SourceUnavailable(f"pip did not bring {missing.filename}")


def by_python(wanted: Iterable[Distribution]) -> Mapping[str, Sequence[Distribution]]:
    """The files that one call of pip can fetch: its choice depends on one version of Python."""
    groups: dict[str, list[Distribution]] = defaultdict(list)
    for one in wanted:
        own = re.search(r"-cp3(\d+)-cp3\1-", one.filename)
        groups[f"3.{own[1]}" if own else DEFAULT_PYTHON].append(one)
    return groups


def render(group: Iterable[Distribution]) -> str:
    """The requirements: one digest each, so that pip has one file to choose."""
    return "".join(f"{one.requirement} --hash=sha256:{one.digest}\n" for one in group)


def download(pip: Sequence[str], version: str, requirements: Path, folder: Path) -> Sequence[str]:
    """The call of pip for the files that suit one version of Python."""
    platforms = [f"--platform={platform}" for platform in PLATFORMS]
    abis = [f"--abi={abi}" for abi in (f"cp{version.replace('.', '')}", "abi3", "none")]
    return [
        *pip,
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--require-hashes",
        "--implementation=cp",
        f"--python-version={version}",
        *abis,
        *platforms,
        f"--dest={folder}",
        f"--requirement={requirements}",
    ]
