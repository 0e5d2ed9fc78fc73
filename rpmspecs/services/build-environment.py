"""Builds the virtual environment of an OpenStack service from the files that its SRPM carries.

Runs in %install with the interpreter that the service will run on, without a network. What it
writes depends on its input alone: no path of the build root, no time and no order of folders.
"""

import argparse
import ast
import compileall
import hashlib
import os
import py_compile
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

BUILD_ONLY = frozenset({"installer"})
"""Carried for this program; no service imports it."""

NOT_INSTALLED = re.compile(
    r"(^|/)tests/|\.(exe|po|pot|pyx|pxd|h|c|cpp)$"
    r"|^googleapiclient/discovery_cache/documents/(?!storage\.)"
)
"""Tests are most of a service's files; launchers are for another system; Cinder speaks to one of
Google's interfaces, and the descriptions of all take 82 MB."""

LICENSE = re.compile(r"licen[cs]e|copying|notice", re.IGNORECASE)

AUTHORITIES = Path("/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem")
"""The certificate authorities that the host trusts, in place of certifi's own list."""


@dataclass(frozen=True)
class Source:
    """One line of the list of sources."""

    digest: str
    filename: str
    project: str

    @property
    def is_wheel(self) -> bool:
        return self.filename.endswith(".whl")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sources", type=Path, required=True, help="folder of the SRPM's files")
    parser.add_argument("--buildroot", type=Path, required=True)
    parser.add_argument("--home", type=Path, required=True, help="the environment's final path")
    parser.add_argument("--licenses", type=Path, required=True, help="final path of its licences")
    options = parser.parse_args()
    listed = (options.sources / "sources").read_text(encoding="utf-8")
    chosen = choose(read(listed), sys.version_info[:2])
    for source in chosen:
        verify(source, options.sources / source.filename)
    carried = [options.sources / source.filename for source in chosen if source.is_wheel]
    sys.path[:0] = [str(wheel) for wheel in carried if project(wheel) in BUILD_ONLY]
    environment = Environment(options.buildroot, options.home, options.licenses)
    for wheel in carried:
        if project(wheel) not in BUILD_ONLY:
            environment.install(wheel)
    with tempfile.TemporaryDirectory() as scratch:
        for source in chosen:
            if not source.is_wheel:
                environment.install(
                    environment.build_wheel(options.sources / source.filename, Path(scratch))
                )
    environment.finish()


def read(listed: str) -> Iterator[Source]:
    """The Python distributions among the sources: `sha256  FILENAME  pypi:NAME==VERSION`."""
    for line in listed.splitlines():
        digest, filename, origin = [*line.split(maxsplit=2), "", ""][:3]
        if origin.startswith("pypi:"):
            yield Source(digest, filename, origin.removeprefix("pypi:").partition("==")[0])


def choose(listed: Iterable[Source], version: tuple[int, int]) -> list[Source]:
    """The files for this interpreter: of each project a wheel, or else its sources."""
    suited = [source for source in listed if fits(source, version)]
    compiled = {source.project for source in suited if source.is_wheel}
    return [source for source in suited if source.is_wheel or source.project not in compiled]


def fits(source: Source, version: tuple[int, int]) -> bool:
    """Whether a file is for this interpreter."""
    if not source.is_wheel:
        return True
    interpreters, abi, _ = source.filename.removesuffix(".whl").split("-")[-3:]
    names = set(interpreters.split("."))
    if abi == "abi3":
        minors = [int(name[3:]) for name in names if re.fullmatch(r"cp3\d+", name)]
        return any(minor <= version[1] for minor in minors)
    return bool(names & {"py3", f"py3{version[1]}", f"cp3{version[1]}"})


def verify(source: Source, path: Path) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != source.digest:
        sys.exit(f"error: {source.filename}: the sha256 is {found}, expected {source.digest}")


def project(wheel: Path) -> str:
    return wheel.name.partition("-")[0].lower()


class Environment:
    """A virtual environment that is written below a build root."""

    def __init__(self, buildroot: Path, home: Path, licenses: Path) -> None:
        self.buildroot = buildroot
        self.home = home
        self.licenses = self.written(licenses)
        self.packages = (
            home / f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
        )
        self.interpreter = Path("/usr/bin") / self.packages.parent.name
        self.written(self.packages).mkdir(parents=True)
        (self.written(home) / "bin").mkdir()
        self.link_interpreter()

    def written(self, final: Path) -> Path:
        """Where a path of the installed system is while we build."""
        return self.buildroot / final.relative_to("/")

    def build_wheel(self, archive: Path, scratch: Path) -> Path:
        """Builds a source distribution with the setuptools of the environment.

        Without site: what is installed of a namespace would hide the part that is built.
        """
        shutil.unpack_archive(archive, scratch)
        top = scratch / archive.name.removesuffix(".tar.gz").removesuffix(".zip")
        output = scratch / "wheels" / top.name
        output.mkdir(parents=True)
        build = (
            "import sys; sys.path.append(sys.argv.pop()); from setuptools import build_meta as it; "
            "it.build_wheel(sys.argv[1])"
        )
        told = {
            "PYTHONDONTWRITEBYTECODE": "1",
            "CFLAGS": f"-O2 -g0 -fstack-protector-strong -ffile-prefix-map={top}=.",
        }
        subprocess.run(
            [
                str(self.written(self.home) / "bin/python3"),
                *("-S", "-c", build, str(output), str(self.written(self.packages))),
            ],
            cwd=top,
            env={**os.environ, **told},
            check=True,
            stdout=subprocess.DEVNULL,
        )
        (wheel,) = output.glob("*.whl")
        return wheel

    def install(self, wheel: Path) -> None:
        from installer import install
        from installer.destinations import SchemeDictionaryDestination
        from installer.records import RecordEntry
        from installer.sources import WheelFile

        class Destination(SchemeDictionaryDestination):
            """As installer's own, without the files that no service needs."""

            def write_file(
                self, scheme: str, path: str, stream: BinaryIO, is_executable: bool
            ) -> RecordEntry:
                if NOT_INSTALLED.search(str(path)):
                    return RecordEntry(str(path), None, None)
                return super().write_file(scheme, path, stream, is_executable)

            def finalize_installation(
                self, scheme: str, record_file_path: str, records: Iterable[tuple[str, RecordEntry]]
            ) -> None:
                kept = [(s, record) for s, record in records if record.hash_ is not None]
                super().finalize_installation(scheme, record_file_path, kept)

        destination = Destination(
            scheme_dict={
                "purelib": str(self.packages),
                "platlib": str(self.packages),
                "scripts": str(self.home / "bin"),
                "data": str(self.home),
                "headers": str(self.home / "include"),
            },
            interpreter=str(self.home / "bin/python3"),
            script_kind="posix",
            destdir=str(self.buildroot),
            overwrite_existing=True,
        )
        with WheelFile.open(wheel) as source:
            install(source, destination, additional_metadata={"INSTALLER": b"rpm\n"})
            self.copy_licenses(self.written(self.packages) / source.dist_info_dir)

    def copy_licenses(self, dist_info: Path) -> None:
        for file in sorted(dist_info.rglob("*")):
            if file.is_file() and LICENSE.match(file.name):
                copy = self.licenses / dist_info.name.removesuffix(".dist-info") / file.name
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, copy)

    def finish(self) -> None:
        self.read_distribution_defaults()
        self.trust_the_host()
        self.compile()

    def link_interpreter(self) -> None:
        home = self.written(self.home)
        (home / "bin/python3").symlink_to(self.interpreter)
        (home / "lib64").symlink_to("lib")
        version = ".".join(str(part) for part in sys.version_info[:2])
        (home / "pyvenv.cfg").write_text(
            f"home = {self.interpreter.parent}\n"
            "include-system-site-packages = false\n"
            f"version = {version}\n",
            encoding="utf-8",
        )

    def read_distribution_defaults(self) -> None:
        """Lets oslo.config read /usr/share/SERVICE/NAME-dist.conf before what is in /etc.

        As RDO's packages do: the operator's own file stays free of what the packages decided.
        """
        module = self.written(self.packages) / "oslo_config/cfg.py"
        if not module.exists():
            return
        text = module.read_text(encoding="utf-8")
        anchor = (
            "            default_config_files = find_config_files(project, prog)\n\n"
            "        if default_config_dirs is None:\n"
        )
        if text.count(anchor) != 1:
            sys.exit(f"error: {module}: the place that finds the default files has changed")
        before, after = anchor.split("\n\n")
        addition = (
            "        default_config_files = [\n"
            "            path for name in dict.fromkeys([project, prog]) if name and project\n"
            "            for path in [f'/usr/share/{project}/{name}-dist.conf']\n"
            "            if os.path.exists(path)\n"
            "        ] + list(default_config_files)"
        )
        changed = text.replace(anchor, f"{before}\n\n{addition}\n\n{after}")
        ast.parse(changed)
        module.write_text(changed, encoding="utf-8")

    def trust_the_host(self) -> None:
        """Lets certifi name the authorities that the host trusts, where it has a list of them."""
        module = self.written(self.packages) / "certifi/core.py"
        if module.exists():
            with module.open("a", encoding="utf-8") as file:
                file.write(
                    "\n\n_own = where\n\n\n"
                    "def where() -> str:\n"
                    "    import os\n\n"
                    f"    host = {str(AUTHORITIES)!r}\n"
                    "    return host if os.path.exists(host) else _own()\n\n\n"
                    "def contents() -> str:\n"
                    "    with open(where(), encoding='ascii') as data:\n"
                    "        return data.read()\n"
                )

    def compile(self) -> None:
        """Byte code that names its source by digest and is not checked against it again.

        The service may not write beside its modules, and would compile them at each start. A few
        modules are templates, or for another Python: they stay as they are.
        """
        compileall.compile_dir(
            self.written(self.packages),
            stripdir=str(self.buildroot),
            prependdir="/",
            quiet=2,
            workers=0,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )


if __name__ == "__main__":
    main()
