"""Programs that tests need and that a machine may lack."""

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")
"""Where a PATH of an ordinary user does not look and most servers are."""


def require_tool(name: str, package: str | None = None) -> Path:
    """The program's path. Without it the test fails where `CI` is set, and is skipped elsewhere."""
    search = os.pathsep.join((os.environ.get("PATH", os.defpath), *SYSTEM_FOLDERS))
    if found := shutil.which(name, path=search):
        return Path(found)
    return missing(f"{name} is not installed; it is in the package {package or name}")


def require_root() -> None:
    """Namespaces and ports below 1024 need root."""
    if os.geteuid() != 0:
        missing("needs root: it makes namespaces")


def missing(reason: str) -> NoReturn:
    """Fail where `CI` is set, skip elsewhere."""
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
