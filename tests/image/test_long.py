"""What takes long, and so runs by itself: `bin/test long`."""

import http.server
import json
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.request import urlopen

import pytest

from imagebuild.build import Built, Way, build_image
from imagebuild.gpucheck import kernels, modules, problems
from imagebuild.inside.image import open_image
from imagebuild.inside.packages import packages
from imagebuild.mirrors import snapshot_time
from imagebuild.recipe import Recipe
from imagebuild.recipes import load_recipe
from imagebuild.systems import SYSTEMS

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

STAMP = "20261101T060000Z"


@pytest.fixture(scope="module")
def driver(build_way: Way, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Debian 12 with NVIDIA's driver from its own non-free packages, booted without a GPU."""
    settings = replace(build_way.settings, output=tmp_path_factory.mktemp("driver"))
    way = replace(build_way, settings=settings, proof=True)
    return build_image(load_recipe("debian-12-gpu-driver"), way)


def test_the_driver_is_built_for_the_images_own_kernel(driver: Built):
    with open_image(driver.path) as image:
        tree = image.tree
        (kernel,) = kernels(tree)
        (module,) = modules(tree, kernel)
        assert module.kernel == kernel
        assert module.version.startswith("535.")
        built = {path.rpartition("/")[2] for path in tree.glob(f"lib/modules/{kernel}/updates/*/*")}
        names = {re.sub(r"\.ko.*", "", name).removeprefix("nvidia-current") for name in built}
        assert {"", "-modeset", "-drm", "-uvm"} <= names
        installed = {one.name: one.version for one in packages(tree)}
        assert f"linux-headers-{kernel}" in installed
        assert installed["nvidia-kernel-dkms"].startswith(module.version)
        assert "nvidia-persistenced" in installed
        assert not tree.exists("var/lib/dkms/mok.key"), "it would open every machine"
        assert list(problems(tree, driver.recipe)) == []
        assert list(problems(tree, asked_for(driver.recipe, branch=550))) != []


def asked_for(recipe: Recipe, branch: int) -> Recipe:
    """The recipe with another branch, which the image has not."""
    return replace(recipe, nvidia_branch=branch)


def test_the_driver_image_boots_without_a_gpu_and_without_a_failed_unit(driver: Built):
    assert driver.proven
    beside = driver.path.with_name(f"{driver.path.name}.boot.json")
    told = json.loads(beside.read_text(encoding="utf-8"))
    assert [boot["failed_units"] for boot in told["boots"]] == [[], []]


@pytest.mark.parametrize("name", ["debian-13", "ubuntu-22.04", "ubuntu-24.04", "ubuntu-26.04"])
def test_other_releases_are_built_and_boot_by_bios_and_by_uefi(
    name: str, build_way: Way, tmp_path: Path
):
    settings = replace(build_way.settings, output=tmp_path)
    built = build_image(load_recipe(name), replace(build_way, settings=settings, proof=True))
    assert built.report.sealed
    assert built.proven


@contextmanager
def archive() -> Iterator[tuple[str, list[str]]]:
    """A server of snapshots, each of them the mirror of today; its address and what was asked."""
    asked: list[str] = []
    debian = SYSTEMS["debian"]
    mirrors = {"debian": debian.mirror, "debian-security": debian.security_mirror}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            found = re.fullmatch(rf"/archive/([\w-]+)/{STAMP}/(.*)", self.path)
            try:
                kept = urlopen(f"{mirrors[found[1]]}/{found[2]}" if found else "", timeout=60)
            except (OSError, ValueError):
                self.send_error(404)
                return
            with kept:
                self.send_response(200)
                self.send_header("Content-Length", kept.headers["Content-Length"])
                self.end_headers()
                shutil.copyfileobj(kept, self.wfile)

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/archive", asked
    finally:
        server.shutdown()
        server.server_close()


def test_a_build_from_a_snapshot_asks_for_nothing_else(build_way: Way, tmp_path: Path):
    with archive() as (address, asked):
        settings = replace(
            build_way.settings,
            output=tmp_path / "images",
            cache=tmp_path / "cache",
            mirror=f"{address}/debian",
            security_mirror=f"{address}/debian-security",
            snapshot=STAMP,
        )
        built = build_image(load_recipe("debian-12"), replace(build_way, settings=settings))
    assert any("bookworm-security" in path for path in asked)
    assert all(STAMP in path for path in asked)
    assert any(path.endswith(".deb") for path in asked)
    with open_image(built.path) as image:
        sources = image.tree.text("etc/apt/sources.list.d/default.list") or ""
        assert STAMP not in sources
        assert not image.tree.exists("etc/apt/apt.conf.d/95rackseed-snapshot")
        times = {path: entry.modified for path, entry in image.tree.walk("etc")}
    assert max(times.values()) <= snapshot_time(STAMP), "what the build made has the stamp's time"
    assert datetime.fromtimestamp(max(times.values()), UTC).year == 2026
