"""A finished image is asked for what its recipe promises about GPUs."""

import gzip
import lzma
from pathlib import Path

import pytest

from imagebuild.gpucheck import modules, problems
from imagebuild.inside import initramfs
from imagebuild.inside.errors import Unreadable
from imagebuild.inside.folder import open_folder
from imagebuild.inside.tree import Tree
from imagebuild.recipes import load_recipe
from tests.unsealed import make

READY, DRIVER = load_recipe("debian-12-gpu"), load_recipe("debian-12-gpu-driver")
KERNEL = "6.1.0-1-amd64"
OFF = "# ours\nblacklist nouveau\noptions nouveau modeset=0\n"
SYSTEM = {
    f"lib/modules/{KERNEL}/kernel/": "",
    f"boot/vmlinuz-{KERNEL}": "kernel",
    "boot/grub/grub.cfg": "linux /vmlinuz root=LABEL=x modprobe.blacklist=nouveau\n",
    "etc/modprobe.d/rackseed-nouveau.conf": OFF,
    "etc/systemd/system/multi-user.target.wants/nvidia-persistenced.service": "-> /lib/x.service",
}


def archive(files: dict[str, bytes]) -> bytes:
    """A cpio archive of the newc format."""
    made = b""
    for name, content in {**files, "TRAILER!!!": b""}.items():
        numbers = [0] * 13
        numbers[1], numbers[6], numbers[11] = 0o100644, len(content), len(name) + 1
        head = b"070701" + b"".join(b"%08X" % number for number in numbers)
        entry = head + name.encode() + b"\0"
        entry += bytes(-len(entry) % 4)
        made += entry + content + bytes(-len(content) % 4)
    return made


def module(version: str, kernel: str = KERNEL) -> bytes:
    """As much of one as its maker's words."""
    words = ("license=NVIDIA", f"version={version}", "srcversion=0F", f"vermagic={kernel} SMP")
    return b"\x7fELF" + b"".join(b"\0" + word.encode() for word in words) + b"\0"


def found(folder: Path, recipe, files: dict[str, str | None], ramdisk: bytes, driver=None):
    system = {name: text for name, text in {**SYSTEM, **files}.items() if text is not None}
    make(folder, system)
    if ramdisk:
        (folder / f"boot/initrd.img-{KERNEL}").write_bytes(ramdisk)
    for name, content in (driver or {}).items():
        path = folder / f"lib/modules/{KERNEL}/updates/dkms/{name}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    with open_folder(folder) as root:
        return list(problems(Tree(root), recipe))


PLAIN = archive({"init": b"#!/bin/sh\n", "etc/modprobe.d/rackseed-nouveau.conf": OFF.encode()})
NOUVEAU = {"usr/lib/modules/6/kernel/drivers/gpu/drm/nouveau/nouveau.ko.xz": b"x"}


@pytest.mark.parametrize(
    ("files", "ramdisk", "said"),
    [
        ({}, PLAIN, None),
        ({}, archive(NOUVEAU) + gzip.compress(PLAIN), None),
        ({}, gzip.compress(archive({"init": b""})), None),
        ({}, archive(NOUVEAU), f"nouveau is in /boot/initrd.img-{KERNEL}, and nothing there"),
        ({}, b"", f"there is no initramfs for the kernel {KERNEL}"),
        ({"etc/modprobe.d/rackseed-nouveau.conf": "#blacklist nouveau\n"}, PLAIN, "modprobe.d"),
        ({"boot/grub/grub.cfg": "linux /vmlinuz\n"}, PLAIN, "not off on the kernel's command"),
        (
            {
                "boot/grub/grub.cfg": "blscfg\n",
                "etc/default/grub": 'GRUB_CMDLINE_LINUX="modprobe.blacklist=nouveau"\n',
            },
            PLAIN,
            "not off on the kernel's command",
        ),
        (
            {
                "boot/grub/grub.cfg": "blscfg\n",
                "boot/loader/entries/x.conf": "options ro modprobe.blacklist=nouveau\n",
            },
            PLAIN,
            None,
        ),
        ({f"boot/vmlinuz-{KERNEL}": None}, PLAIN, "there is no kernel to boot"),
        ({}, PLAIN[:-200], f"/boot/initrd.img-{KERNEL} cannot be read: an initramfs ends within"),
        ({}, b"\x02!L\x18", f"/boot/initrd.img-{KERNEL} cannot be read: an initramfs goes on"),
    ],
)
def test_nouveau_is_off_everywhere(tmp_path, files, ramdisk, said):
    told = found(tmp_path / "root", READY, files, ramdisk)
    assert told == [] if said is None else (len(told) == 1 and said in told[0]), told


@pytest.mark.parametrize(
    ("files", "driver", "said"),
    [
        ({}, {"nvidia-current.ko": module("535.261.03")}, None),
        ({}, {"nvidia.ko.xz": lzma.compress(module("535.1"))}, None),
        ({}, {}, f"there is no NVIDIA module for the kernel {KERNEL}"),
        ({}, {"nvidia-current-uvm.ko": module("535.1")}, "there is no NVIDIA module"),
        ({}, {"nvidia.ko": module("550.1")}, "nvidia.ko is 550.1, expected branch 535"),
        ({}, {"nvidia.ko": module("535.1", "6.1.0-9")}, f"is for 6.1.0-9, expected {KERNEL}"),
        ({}, {"nvidia.ko": b"\x7fELF"}, "is for no kernel"),
        ({}, {"nvidia.ko.zst": b"torn"}, "is for no kernel"),
        ({}, {"nvidia.ko.xz": lzma.compress(module("535.1"))[:-9]}, "is for no kernel"),
        (
            {"etc/systemd/system/multi-user.target.wants/nvidia-persistenced.service": None},
            {"nvidia.ko": module("535.1")},
            "nvidia-persistenced is not enabled",
        ),
    ],
)
def test_the_driver_is_there_for_the_images_own_kernel(tmp_path, files, driver, said):
    told = found(tmp_path / "root", DRIVER, files, PLAIN, driver)
    assert told == [] if said is None else said in "\n".join(told), told


def test_a_module_of_an_earlier_kernel_may_be_linked_where_its_symbols_are(tmp_path):
    driver = {"../../../6.1.0-0/extra/nvidia.ko.xz": lzma.compress(module("535.1", "6.1.0-0"))}
    weak = f"lib/modules/{KERNEL}/weak-updates/nvidia.ko.xz"
    files = {weak: "-> ../../6.1.0-0/extra/nvidia.ko.xz"}
    assert found(tmp_path / "root", DRIVER, files, PLAIN, driver) == []
    (tmp_path / "root" / weak).unlink()
    with open_folder(tmp_path / "root") as root:
        (told,) = problems(Tree(root), DRIVER)
    assert "there is no NVIDIA module" in told


@pytest.mark.parametrize("folder", ["etc", "lib"])
def test_udev_may_start_the_daemon_when_there_is_a_gpu(tmp_path, folder):
    rule = 'DEVPATH=="/bus/pci/drivers/nvidia", ENV{SYSTEMD_WANTS}="nvidia-persistenced.service"\n'
    files = {
        "etc/systemd/system/multi-user.target.wants/nvidia-persistenced.service": None,
        f"{folder}/udev/rules.d/71-nvidia.rules": rule,
    }
    assert found(tmp_path / "root", DRIVER, files, PLAIN, {"nvidia.ko": module("535.1")}) == []


def test_a_module_says_for_which_kernel_it_is(tmp_path):
    found(tmp_path / "root", DRIVER, {}, PLAIN, {"nvidia.ko": module("535.1")})
    with open_folder(tmp_path / "root") as root:
        (one,) = modules(Tree(root), KERNEL)
    assert (one.version, one.kernel) == ("535.1", KERNEL)


@pytest.mark.parametrize(
    "data",
    [PLAIN[:200], PLAIN[:-120], b"\x28\xb5\x2f\xfdno", b"\x1f\x8bno", b"no archive", b"070701zz"],
)
def test_a_broken_initramfs_is_told(data):
    with pytest.raises(Unreadable):
        list(initramfs.files(data))


def test_archives_follow_one_another():
    both = archive({"./kernel/x.bin": b"micro"}) + bytes(512) + gzip.compress(PLAIN)
    assert [name for name, _ in initramfs.files(both)] == [
        "kernel/x.bin",
        "init",
        "etc/modprobe.d/rackseed-nouveau.conf",
    ]
