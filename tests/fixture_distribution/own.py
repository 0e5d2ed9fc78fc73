"""The packages that no Debian package stands behind; their files lie in `files/`."""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.fixture_distribution import extra
from tests.fixture_distribution.cut import Rpm

FILES = Path(__file__).parent / "files"

REQUIRES: Mapping[str, str] = {
    "fixture-release": "filesystem",
    "mod_ssl": "httpd hostname openssl",
    "python-rpm-macros": "filesystem",
    "redhat-rpm-config": "systemd-rpm-macros python-rpm-macros",
    "systemd-rpm-macros": "filesystem",
}
PROVIDES: Mapping[str, tuple[str, ...]] = {
    "fixture-release": ("system-release = 1", "system-release(1)", "system-release-product"),
    "python-rpm-macros": ("python3-rpm-macros", "python-srpm-macros", "pyproject-rpm-macros"),
    "redhat-rpm-config": ("system-rpm-config", "rpm-macros-fixture"),
    "systemd-rpm-macros": (),
}


def add(root: Path, rpms: dict[str, Rpm], dist: str, files: Path) -> None:
    """Copy `files` into the tree at `root` and put them into their packages."""
    for folder in sorted(files.iterdir()):
        rpm = rpms.setdefault(
            folder.name,
            Rpm(folder.name, "1", f"1{dist}", f"fixture: {folder.name}, made for tests"),
        )
        rpm.requires |= set(REQUIRES.get(folder.name, "").split())
        rpm.provides |= set(PROVIDES.get(folder.name, ()))
        for source in sorted(
            path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()
        ):
            path = source.relative_to(folder)
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).unlink(missing_ok=True)
            shutil.copyfile(source, root / path, follow_symlinks=False)
            if not source.is_symlink():
                (root / path).chmod(0o755 if os.access(source, os.X_OK) else 0o644)
            rpm.files.add(f"/{path}")
            if path.parts[0] == "etc" and not source.is_symlink():
                rpm.configs.add(f"/{path}")


def stand_ins(wanted: Sequence[str], dist: str) -> dict[str, Rpm]:
    """Packages that are a name and nothing else, older than any real one."""
    summary = "fixture: empty stand-in for {}"
    return {name: Rpm(name, "0", f"0{dist}", summary.format(name)) for name in wanted}


def add_services(root: Path, rpms: Mapping[str, Rpm]) -> None:
    """Fedora's users and folders of the services."""
    for name, folders in extra.FOLDERS.items():
        for path, user in folders:
            (root / path.lstrip("/")).mkdir(parents=True, exist_ok=True)
            rpms[name].folders.add(path)
            rpms[name].owners[path] = (user, user)
    for name, (user, home) in extra.USERS.items():
        rpms[name].scripts = {"pre": extra.user_script(user, home)}
        rpms[name].requires |= set(extra.ESSENTIAL)
        rpms[name].requires_pre |= {"shadow-utils", "glibc-common"}
