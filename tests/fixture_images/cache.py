"""The mirrors and the base image, made once and found again."""

import fcntl
import hashlib
import os
import shutil
from pathlib import Path

from tests.fixture_distribution import cache
from tests.fixture_distribution.names import BASE
from tests.fixture_images import names
from tests.fixture_images.base_image import make_base_image
from tests.fixture_images.make import make_mirror

KEPT = 2
MIRROR, BASE_IMAGE = "mirror", "fixture-centos-7.qcow2"


def cached(base: Path) -> Path:
    """The folder with MIRROR and BASE_IMAGE, for which the base is the repository `base`.

    One process makes them, others wait.
    """
    digest = hashlib.sha256(cache.key([*BASE, *names.IMAGE, names.KERNEL]).encode())
    digest.update(base.name.encode())
    here = Path(__file__).parent
    for path in sorted(here.rglob("*")):
        if path.is_symlink() or (path.is_file() and "__pycache__" not in path.parts):
            content = os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes()
            digest.update(f"{path.relative_to(here)}\0".encode() + content)
    top = cache.folder().with_name("fixture-images")
    top.mkdir(parents=True, exist_ok=True)
    place = top / digest.hexdigest()[:16]
    with (top / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.is_dir():
            made = top / ".made"
            shutil.rmtree(made, ignore_errors=True)
            made.mkdir()
            make_mirror(made / MIRROR, base)
            make_base_image(made / BASE_IMAGE, made / MIRROR)
            made.rename(place)
        os.utime(place)
        states = sorted(top.glob("[0-9a-f]*/"), key=lambda path: path.stat().st_mtime)
        for old in states[:-KEPT]:
            shutil.rmtree(old)
    return place
