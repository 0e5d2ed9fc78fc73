"""From nothing to a repository, step by step."""

import os
import shutil
import stat
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.fixture_distribution import cut, debian, extra, names, own, repository, rpms

DIST = ".fixture1"
RECORD = "debian-packages.txt"
"""What the repository was cut from, one `name version` a line."""
STAND_IN_EPOCH = 1_700_000_000
"""When packages without files were made, as they say."""


def make_base(output: Path) -> None:
    """Write the base repository to `output`; it appears there whole or not at all."""
    with tempfile.TemporaryDirectory(prefix="fixture-distribution-") as name:
        work = Path(name)
        debian.grow(work / "tree", names.BASE)
        tree = debian.read(work / "tree")
        epoch = newest(tree)
        packages = cut.cut(tree, DIST)
        own.add(tree.root, packages, DIST, own.FILES / "base")
        clamp(tree.root, packages, epoch)
        made = rpms.build(tree.root, packages, DIST, epoch, work / "rpmbuild")
        publish(made, record(tree), names.GROUPS, epoch, output)


def make_extra(output: Path, base: Path) -> None:
    """Write the repository `fixture-extra`, for use beside the one at `base`."""
    with tempfile.TemporaryDirectory(prefix="fixture-distribution-") as name:
        work = Path(name)
        debian.grow(work / "tree", [*names.BASE, *extra.EXTRA])
        tree = debian.read(work / "tree")
        epoch = newest(tree)
        packages = cut.beyond(cut.cut(tree, DIST), recorded(base))
        own.add(tree.root, packages, DIST, own.FILES / "extra")
        own.add_services(tree.root, packages)
        clamp(tree.root, packages, epoch)
        packages |= own.stand_ins(extra.STAND_INS, DIST)
        made = rpms.build(tree.root, packages, DIST, epoch, work / "rpmbuild")
        publish(made, record(tree), {}, epoch, output)


def make_openstack(output: Path) -> None:
    """Write the repository `fixture-openstack`: stand-ins for RDO's packages."""
    with tempfile.TemporaryDirectory(prefix="fixture-distribution-") as name:
        work = Path(name)
        (work / "tree").mkdir()
        packages = own.stand_ins(extra.OPENSTACK, DIST)
        made = rpms.build(work / "tree", packages, DIST, STAND_IN_EPOCH, work / "rpmbuild")
        publish(made, "", {}, STAND_IN_EPOCH, output)


def record(tree: debian.Tree) -> str:
    """The text of RECORD."""
    return "".join(f"{package.name} {package.version}\n" for package in tree.packages.values())


def recorded(repository: Path) -> frozenset[str]:
    """The Debian packages that a repository was cut from."""
    lines = (repository / RECORD).read_text(encoding="utf-8").splitlines()
    return frozenset(line.split()[0] for line in lines)


def newest(tree: debian.Tree) -> int:
    """The modification time of the youngest packaged file: an input, not our clock."""
    times = [0]
    for package in tree.packages.values():
        for path in package.files:
            inside = tree.root / tree.resolve(path).lstrip("/")
            if inside.is_file() and not inside.is_symlink():
                times.append(int(inside.stat().st_mtime))
    return max(times)


def clamp(root: Path, packages: Mapping[str, cut.Rpm], epoch: int) -> None:
    """Folders and generated files get one time."""
    for package in packages.values():
        for path in (*package.files, *package.folders):
            inside = root / path.lstrip("/")
            status = inside.lstat()
            if stat.S_ISDIR(status.st_mode) or status.st_mtime > epoch:
                os.utime(inside, (epoch, epoch), follow_symlinks=False)


def publish(
    made: Sequence[Path], cut_from: str, groups: Mapping[str, str], epoch: int, output: Path
) -> None:
    """Move the packages to `output` with their metadata, in one step at the end."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{output.name}-", dir=output.parent) as name:
        folder = Path(name, "repository")
        folder.mkdir()
        for path in made:
            shutil.move(path, folder / path.name)
        (folder / RECORD).write_text(cut_from, encoding="utf-8")
        repository.index(folder, groups, epoch)
        folder.rename(output)
