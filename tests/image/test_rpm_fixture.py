"""RPM images by the code that builds all others, from a fixture of their distributions.

The recipes and elements are those that we ship; a mirror and a base image cut from Debian stand
for Rocky Linux 9 and CentOS 7. What that proves, and what not, is in `tests.fixture_images`. Making
the fixtures takes two minutes of CPU time once, the images one and a half, from kept layers less.
"""

import subprocess
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from imagebuild.build import Built, Way, build_image
from imagebuild.inside.image import Image, open_image
from imagebuild.proof import demand, prove
from imagebuild.proof_machine import Firmware
from imagebuild.recipes import load_recipe
from imagebuild.running import Programs
from imagebuild.seal.verify import verify_image
from provision.run import run, start
from tests.fixture_distribution import cache, make, names
from tests.fixture_images.base_image import LEFT
from tests.fixture_images.cache import BASE_IMAGE, MIRROR, cached
from tests.repository import serving
from tests.tools import require_tool

pytestmark = pytest.mark.timeout(1800)

HOST = "mirror.example.org"
"""The mirror's name, whichever port serves it: what is kept of a build is found by its address."""

TOOLS = {
    "apt-cache": "apt",
    "createrepo_c": "createrepo-c",
    "depmod": "kmod",
    "dnf": "dnf",
    "gpg": "gnupg",
    "mkfs.xfs": "xfsprogs",
    "mmdebstrap": "mmdebstrap",
    "rpmbuild": "rpm",
    "sfdisk": "fdisk",
}

ZSTD = bytes.fromhex("28b52ffd")


@pytest.fixture(scope="session")
def fixtures(build_way: Way) -> Path:
    """The folder with the fixture mirrors and the fixture base image."""
    for tool, package in TOOLS.items():
        require_tool(tool, package)
    return cached(cache.cached("base", names.BASE, make.make_base))


@pytest.fixture(scope="session")
def fixture_way(
    build_way: Way, fixtures: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Way]:
    """How the fixtures are built: by a proxy that answers for their mirrors."""
    top = tmp_path_factory.mktemp("proxy")
    (top / "http:").mkdir()  # a proxy is asked for whole addresses
    (top / "http:" / HOST).symlink_to(fixtures / MIRROR)
    with serving(top) as proxy:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": proxy}))

        def fetch(url: str) -> bytes:
            with opener.open(url) as answer:
                content: bytes = answer.read()
                return content

        machine = replace(build_way.machine, proxies=(("http_proxy", proxy),))
        yield replace(build_way, machine=machine, fetch=fetch)


def build(name: str, way: Way, folder: Path, **settings: object) -> Built:
    """The image of a recipe of ours, under a name that says what it is made of."""
    recipe = folder / f"fixture-{name}.yaml"
    recipe.write_text(f"extends: {name}\ntitle: Fixture of {name}\n", encoding="utf-8")
    return build_image(
        load_recipe(str(recipe)), replace(way, settings=replace(way.settings, **settings))
    )


@pytest.fixture(scope="session")
def rocky_9(fixture_way: Way, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """`build-image rocky-9`, of the fixture."""
    folder = tmp_path_factory.mktemp("recipes")
    return build("rocky-9", fixture_way, folder, mirror=f"http://{HOST}/rocky")


@pytest.fixture(scope="session")
def centos7_gpu(
    fixture_way: Way, fixtures: Path, tmp_path_factory: pytest.TempPathFactory
) -> Built:
    """`build-image centos7-gpu --local-base FIXTURE`."""
    folder = tmp_path_factory.mktemp("recipes")
    base, mirror = fixtures / BASE_IMAGE, f"http://{HOST}/centos"
    return build("centos7-gpu", fixture_way, folder, mirror=mirror, local_base=base)


def kernels(image: Image) -> list[str]:
    """The versions of the kernels that can boot."""
    found = [name for name in image.tree.names("boot") if name.startswith("vmlinuz-")]
    return [name.removeprefix("vmlinuz-") for name in found]


def test_a_fixture_of_rocky_9_is_built_whole_and_sealed(rocky_9: Built):
    assert rocky_9.report.sealed
    assert rocky_9.path.name == "fixture-rocky-9.qcow2"
    with open_image(rocky_9.path) as image:
        tree = image.tree
        assert 'NAME="Fixture of Rocky Linux"' in (tree.text("etc/os-release") or "")
        (kernel,) = kernels(image)
        assert (tree.read(f"boot/initramfs-{kernel}.img") or b"").startswith(ZSTD)
        config = tree.text("boot/grub2/grub.cfg") or ""
        assert f"/boot/initramfs-{kernel}.img" in config
        assert "net.ifnames=1" in config
        for unit in ("sshd", "cloud-init", "NetworkManager"):
            assert tree.glob(f"etc/systemd/system/*.wants/{unit}.service"), unit


def test_the_mirror_of_the_builder_is_not_in_the_image(rocky_9: Built):
    with open_image(rocky_9.path) as image:
        assert image.tree.names("etc/yum.repos.d") == ["rocky.repo"]
        text = image.tree.text("etc/yum.repos.d/rocky.repo") or ""
        assert "mirrors.rockylinux.org" in text
        assert HOST not in text


def test_packages_of_the_mirror_were_checked_by_the_distributions_key(rocky_9: Built):
    """dnf takes a key into the database only when it checks a package by it."""
    with open_image(rocky_9.path) as image:
        assert b"gpg-pubkey" in (image.tree.read("var/lib/rpm/rpmdb.sqlite") or b"")
        assert image.tree.exists("etc/pki/rpm-gpg/RPM-GPG-KEY-Rocky-9")
    packages = rocky_9.path.with_name(f"{rocky_9.path.name}.packages").read_text(encoding="utf-8")
    assert {"kernel-core", "rocky-release"} <= {line.split()[0] for line in packages.splitlines()}


def test_a_fixture_of_centos_7_ready_for_gpus_is_built_whole_and_sealed(centos7_gpu: Built):
    assert centos7_gpu.report.sealed
    with open_image(centos7_gpu.path) as image:
        tree = image.tree
        assert 'ID="centos"' in (tree.text("etc/os-release") or "")
        assert "blacklist nouveau" in (tree.text("etc/modprobe.d/rackseed-nouveau.conf") or "")
        (kernel,) = kernels(image)
        assert tree.exists(f"boot/initramfs-{kernel}.img")
        assert "modprobe.blacklist=nouveau" in (tree.text("boot/grub2/grub.cfg") or "")


def test_what_an_image_of_others_carries_is_found_and_ours_has_none_of_it(
    fixtures: Path, centos7_gpu: Built
):
    report = verify_image(fixtures / BASE_IMAGE)
    found = {finding.path for finding in report.findings}
    rows = {finding.row.name for finding in report.findings}
    assert set(LEFT) & found == set(LEFT) - {"etc/dracut.conf.d/fixture.conf", "etc/default/grub"}
    assert {"account-backups", "temporary-files"} <= rows, "what installing packages left"
    assert verify_image(centos7_gpu.path).findings == ()


def test_an_old_systemd_gets_an_empty_machine_id(centos7_gpu: Built):
    with open_image(centos7_gpu.path) as image:
        assert image.tree.text("etc/machine-id") == ""


def test_what_stood_in_for_newer_tools_is_gone_and_the_vault_is_named(centos7_gpu: Built):
    with open_image(centos7_gpu.path) as image:
        tree = image.tree
        assert not tree.exists("usr/local/bin/dnf")
        assert not tree.exists("usr/libexec/platform-python")
        assert tree.names("etc/yum.repos.d") == ["CentOS-Vault.repo"]
        text = tree.text("etc/yum.repos.d/CentOS-Vault.repo") or ""
        assert "baseurl=https://vault.centos.org/centos/7.9.2009/os/$basearch/" in text
        assert HOST not in text


def test_the_root_of_centos_7_has_only_what_its_e2fsck_knows(centos7_gpu: Built, tmp_path: Path):
    raw = tmp_path / "raw"
    convert = ["qemu-img", "convert", "-O", "raw", str(centos7_gpu.path), str(raw)]
    subprocess.run(convert, check=True)
    shown = subprocess.check_output(
        ["dumpe2fs", "-h", f"{raw}?offset={1 << 20}"], text=True, stderr=subprocess.DEVNULL
    )
    (features,) = [line for line in shown.splitlines() if line.startswith("Filesystem features:")]
    assert "extent" in features
    assert not {"metadata_csum", "64bit", "orphan_file", "metadata_csum_seed"} & set(
        features.split()
    )


def test_what_was_kept_needs_no_mirror(rocky_9: Built, fixture_way: Way, tmp_path: Path):
    machine = replace(fixture_way.machine, proxies=(("http_proxy", "http://127.0.0.1:9"),))
    way = replace(fixture_way, machine=machine)
    mirror = f"http://{HOST}/rocky"
    again = build("rocky-9", way, tmp_path, mirror=mirror, offline=True, output=tmp_path)
    assert again.skipped == "system"
    assert again.report.sealed


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "firmwares"),
    [("rocky_9", (Firmware.BIOS, Firmware.UEFI)), ("centos7_gpu", (Firmware.BIOS,))],
)
def test_a_fixture_boots(
    name: str, firmwares: Sequence[Firmware], request: pytest.FixtureRequest, tmp_path: Path
):
    built: Built = request.getfixturevalue(name)
    programs = Programs(run, start)
    demand(prove(built.path, firmwares, programs, tmp_path, memory=built.recipe.memory))
