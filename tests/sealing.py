"""Looks for leftovers in a system that lies in a folder, and takes them away as an image's are."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from imagebuild.inside.disk import Disk, Raw
from imagebuild.inside.folder import open_folder
from imagebuild.inside.image import Image, fstab
from imagebuild.inside.tree import Tree
from imagebuild.seal import script
from imagebuild.seal.report import SealReport
from imagebuild.seal.row import Row
from imagebuild.seal.table import TABLE
from imagebuild.seal.verify import verify


@contextmanager
def _image(folder: Path) -> Iterator[Image]:
    with open_folder(folder) as root, (folder / "etc/os-release").open("rb") as file:
        disk = Disk(Path("folder"), "raw", None, 0, Raw(file))
        tree = Tree(root)
        yield Image(disk, (), tree, fstab(tree.text("etc/fstab") or ""), ())


def verified(folder: Path, table: Sequence[Row] = TABLE) -> SealReport:
    """What the verifier finds."""
    with _image(folder) as image:
        return verify(image, table)


def seal(folder: Path) -> None:
    """Run the script that the table renders; it must have nothing to say."""
    path = folder.with_suffix(".sh")
    path.write_text(script.render())
    done = subprocess.run(["sh", path, folder], check=True, timeout=60, capture_output=True)
    assert (done.stdout, done.stderr) == (b"", b"")
