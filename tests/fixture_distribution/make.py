"""From nothing to a repository, step by step."""

import os
import shutil
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.fixture_distribution import cut, debian, names, own, repository, rpms

DIST = ".fixture1"
RECORD = "debian-packages.txt"
"""What the repository was cut from, one `name version` a line."""


def make_base(output: Path) -> None:
    """Write the base repository to `output`; it appears there whole or not at all."""
    with tempfile.TemporaryDirectory(prefix="fixture-distribution-") as name:
        root = Path(name, "tree")
        debian.grow(root, names.BASE)
        cut_tree(debian.read(root), output, Path(name))


def cut_tree(tree: debian.Tree, output: Path, work: Path) -> None:
    """Cut a tree into the repository `output`. The tree is changed."""
    epoch = newest(tree)
    packages = cut.cut(tree, DIST)
    own.add(tree.root, packages, DIST)
    clamp(tree.root, packages, epoch)
    made = rpms.build(tree.root, packages, DIST, epoch, work / "rpmbuild")
    publish(tree, made, names.GROUPS, epoch, output)


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
    tree: debian.Tree, made: list[Path], groups: Mapping[str, str], epoch: int, output: Path
) -> None:
    """Move the packages to `output` with their metadata, in one step at the end."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{output.name}-", dir=output.parent) as name:
        folder = Path(name, "repository")
        folder.mkdir()
        for path in made:
            shutil.move(path, folder / path.name)
        record = "".join(f"{p.name} {p.version}\n" for p in tree.packages.values())
        (folder / RECORD).write_text(record, encoding="utf-8")
        repository.index(folder, groups, epoch)
        folder.rename(output)
