"""The fixture distribution as a target that packages are built for."""

import platform
from collections.abc import Mapping
from pathlib import Path

import yaml

from tests.fixture_distribution.make import DIST

NAME = "fixture-1"


def write_target(folder: Path, repositories: Mapping[str, Path]) -> Path:
    """A file for `rpmspecs.target.load_target`: the folders are the repositories by their ids."""
    target = {
        "family": "fedora",
        "release": "1",
        "dist": DIST,
        "arch": platform.machine(),
        "repositories": {
            name: {"baseurl": path.resolve().as_uri(), "gpgcheck": False}
            for name, path in repositories.items()
        },
        "build_packages": ["@buildsys-build"],
        "services": "own",
        "python": "3.11",
        "package_manager": "dnf4",
        "macros": {"_dbpath": "/var/lib/rpm"},
    }
    folder.mkdir(parents=True, exist_ok=True)
    written = folder / f"{NAME}.yaml"
    written.write_text(yaml.safe_dump(target, sort_keys=False), encoding="utf-8")
    return written
