"""The image that several tests look at, built once, for real."""

from dataclasses import replace
from pathlib import Path

import pytest

from imagebuild.build import Built, Way, build_image
from imagebuild.machine import this_machine
from imagebuild.phases import Phase
from imagebuild.plan import Settings
from imagebuild.recipes import load_recipe
from imagebuild.running import Programs
from provision.cli.image.build import default_cache
from provision.run import run, start
from tests.builds import Again
from tests.tools import require_root, require_tool

TOOLS = {"unshare": "util-linux", "qemu-img": "qemu-utils", "debootstrap": "debootstrap",
         "sgdisk": "gdisk", "mkfs.vfat": "dosfstools", "mcopy": "mtools"}  # fmt: skip


EPOCH = 1793512800
"""SOURCE_DATE_EPOCH of what tests build: the first of November 2026, six o'clock."""


@pytest.fixture(scope="session")
def image_cache() -> Path:
    """What image builds keep, across sessions of tests too."""
    return default_cache()


@pytest.fixture(scope="session")
def build_way(tmp_path_factory: pytest.TempPathFactory, image_cache: Path) -> Way:
    """How the tests build: as `build-image` does."""
    require_root()
    for tool, package in TOOLS.items():
        require_tool(tool, package)
    output = tmp_path_factory.mktemp("images")
    settings = Settings(output=output, cache=image_cache, work=Path("/tmp"), epoch=EPOCH)
    return Way(settings, this_machine(run), Programs(run, start))


@pytest.fixture(scope="session")
def debian_12(build_way: Way) -> Built:
    """`build-image debian-12`, sealed."""
    return build_image(load_recipe("debian-12"), build_way)


@pytest.fixture(scope="session")
def again(debian_12: Built, build_way: Way, tmp_path_factory: pytest.TempPathFactory) -> Again:
    """`build-image debian-12` once more, from what the first kept."""
    came: list[Phase] = []
    settings = replace(build_way.settings, output=tmp_path_factory.mktemp("again"))
    way = replace(build_way, settings=settings, watch=lambda event: came.append(event.phase))
    return Again(build_image(load_recipe("debian-12"), way), tuple(came))


@pytest.fixture(scope="session")
def debian_12_gpu(
    debian_12: Built, build_way: Way, tmp_path_factory: pytest.TempPathFactory
) -> Built:
    """`build-image debian-12-gpu`: ready for GPUs, from the first root of the other."""
    settings = replace(build_way.settings, output=tmp_path_factory.mktemp("gpu"))
    return build_image(load_recipe("debian-12-gpu"), replace(build_way, settings=settings))
