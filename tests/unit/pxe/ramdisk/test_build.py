"""Finding a kernel that is fit, and building from it."""

import gzip
import lzma
import struct
from pathlib import Path

import pytest

from pxe.errors import MissingProgram
from pxe.ramdisk import compression, modules
from pxe.ramdisk.build import build, find_busybox
from pxe.ramdisk.elf import is_static
from pxe.ramdisk.kernel import KernelTree, find_kernel


def elf(*segments: int) -> bytes:
    header = b"\x7fELF\x02\x01".ljust(32, b"\0") + struct.pack("<Q", 64)
    header = header.ljust(54, b"\0") + struct.pack("<HH", 56, len(segments))
    return header.ljust(64, b"\0") + b"".join(
        struct.pack("<I", s).ljust(56, b"\0") for s in segments
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small system with a busybox and the kernel 6.1.0-9."""
    (tmp_path / "boot").mkdir()
    (tmp_path / "busybox").write_bytes(elf(1, 1))
    install(tmp_path, "6.1.0-9")
    return tmp_path


def install(root: Path, version: str, without: str = "", suffix: str = ".ko") -> None:
    folder = root / "lib/modules" / version
    (folder / "kernel").mkdir(parents=True)
    names = [name for name in modules.REQUIRED if name != without]
    (folder / "modules.dep").write_text("".join(f"kernel/{n}{suffix}:\n" for n in names))
    (folder / "modules.alias").write_text("alias pci:v8086* e1000e\n")
    pack = {".ko": bytes, ".ko.xz": lzma.compress, ".ko.gz": gzip.compress}[suffix]
    for name in names:
        code = f"code of {name}\0firmware=fw/{name}.bin\0\0license=GPL\0"
        (folder / f"kernel/{name}{suffix}").write_bytes(pack(code.encode()))
    (root / f"boot/vmlinuz-{version}").write_bytes(b"kernel " + version.encode())
    (root / f"boot/config-{version}").write_text("CONFIG_RD_GZIP=y\n# CONFIG_RD_ZSTD is not set\n")


def made(root: Path) -> tuple[bytes, bytes]:
    ramdisk = build(find_kernel(root), root / "busybox", root / "out", zstd=None)
    return ramdisk.kernel.read_bytes(), ramdisk.initrd.read_bytes()


def test_the_newest_kernel_by_number_is_taken(root: Path) -> None:
    install(root, "6.1.0-10")
    assert find_kernel(root).version == "6.1.0-10"


def test_a_newer_kernel_without_a_driver_is_passed_over(root: Path) -> None:
    install(root, "6.1.0-10-cloud", without="e1000e")
    assert find_kernel(root).version == "6.1.0-9"


def test_a_kernel_of_fedora_lies_beside_its_modules(root: Path) -> None:
    (root / "boot/vmlinuz-6.1.0-9").rename(root / "lib/modules/6.1.0-9/vmlinuz")
    assert find_kernel(root).image == root / "lib/modules/6.1.0-9/vmlinuz"


def test_a_missing_driver_is_named_with_a_package_that_has_it(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "boot").mkdir(parents=True)
    install(other, "6.1.0-10-cloud", without="e1000e")
    with pytest.raises(MissingProgram, match=r"6\.1\.0-10-cloud has no driver e1000e") as caught:
        find_kernel(other)
    assert "linux-image-amd64" in caught.value.__notes__[0]
    assert "kernel-modules" in caught.value.__notes__[0]


def test_no_kernel_at_all_names_the_packages(tmp_path: Path) -> None:
    with pytest.raises(MissingProgram, match="no kernel") as caught:
        find_kernel(tmp_path)
    assert "linux-image-amd64" in caught.value.__notes__[0]


def test_the_kernel_is_copied_as_it_is_and_the_archive_holds_scripts_and_modules(
    root: Path,
) -> None:
    kernel, initrd = made(root)
    assert kernel == b"kernel 6.1.0-9"
    archive = gzip.decompress(initrd)
    assert b"code of megaraid_sas" in archive
    assert b"lib/modules/6.1.0-9/modules.dep\0" in archive
    assert b"alias pci:v8086* e1000e" in archive
    assert b"lib/rackseed/hardware.sh\0" in archive


@pytest.mark.parametrize("suffix", [".ko.xz", ".ko.gz"])
def test_modules_are_carried_plain_so_that_the_whole_compresses(root: Path, suffix: str) -> None:
    install(root, "6.2", suffix=suffix)
    archive = gzip.decompress(made(root)[1])
    assert b"code of e1000e" in archive
    assert b"kernel/e1000e.ko\0" in archive
    assert suffix.encode() not in archive


def test_a_module_compressed_with_zstd_is_read(tmp_path: Path) -> None:
    packed, method = compression.compress(b"module", frozenset({"CONFIG_RD_ZSTD"}))
    assert method == "zstd"
    (tmp_path / "x.ko.zst").write_bytes(packed)
    assert compression.read(tmp_path / "x.ko.zst") == b"module"


def test_firmware_that_a_module_names_is_taken_where_it_is_installed(root: Path) -> None:
    (root / "lib/firmware/fw").mkdir(parents=True)
    (root / "lib/firmware/fw/igb.bin.xz").write_bytes(lzma.compress(b"blob of igb"))
    ramdisk = build(find_kernel(root), root / "busybox", root / "out", zstd=None)
    assert ramdisk.firmware == ("fw/igb.bin",)
    archive = gzip.decompress(ramdisk.initrd.read_bytes())
    assert b"lib/firmware/fw/igb.bin\0" in archive
    assert b"blob of igb" in archive


def test_firmware_that_was_installed_later_is_taken(root: Path) -> None:
    build(find_kernel(root), root / "busybox", root / "out", zstd=None)
    (root / "lib/firmware/fw").mkdir(parents=True)
    (root / "lib/firmware/fw/igb.bin").write_bytes(b"blob of igb")
    assert build(find_kernel(root), root / "busybox", root / "out", zstd=None).firmware == (
        "fw/igb.bin",
    )


def test_two_builds_are_the_same_bytes(root: Path) -> None:
    first = made(root)
    for path in (root / "out").iterdir():
        path.unlink()
    assert made(root) == first


def stamp(root: Path) -> int:
    return (root / "out/initrd.img").stat().st_mtime_ns


def test_nothing_is_built_again_until_an_input_changes(root: Path) -> None:
    made(root)
    before = stamp(root)
    made(root)
    assert stamp(root) == before
    (root / "lib/modules/6.1.0-9/kernel/nvme.ko").write_bytes(b"another")
    assert b"another" in gzip.decompress(made(root)[1])


def test_a_damaged_cache_is_built_again(root: Path) -> None:
    before = made(root)
    (root / "out/initrd.img").write_bytes(b"cut")
    assert made(root) == before
    (root / "out/ramdisk.json").write_text('{"key": 1}')
    assert made(root) == before


@pytest.mark.parametrize(
    ("program", "static"), [(elf(1, 1), True), (elf(1, 3), False), (b"#!/bin/sh", False)]
)
def test_a_program_is_static_when_it_asks_for_no_loader(program: bytes, static: bool) -> None:
    assert is_static(program) is static


def test_a_dynamic_busybox_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "busybox").write_bytes(elf(3))
    with pytest.raises(MissingProgram, match="linked dynamically") as caught:
        find_busybox([tmp_path / "busybox"])
    assert "busybox-static" in caught.value.__notes__[0]


def test_a_kernel_that_may_not_be_read_says_what_to_do(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree: KernelTree = find_kernel(root)
    plain = Path.read_bytes

    def read_bytes(path: Path) -> bytes:
        if path == tree.image:
            raise PermissionError(path)
        return plain(path)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    with pytest.raises(MissingProgram, match="may not be read") as caught:
        build(tree, root / "busybox", root / "out", zstd=None)
    assert "chmod" in caught.value.__notes__[0]
