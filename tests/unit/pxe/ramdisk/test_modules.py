"""Which modules the ramdisk takes, and in which order."""

import pytest

from pxe.ramdisk import modules

DEP = """\
kernel/drivers/net/virtio_net.ko.xz: kernel/net/net_failover.ko.xz kernel/core/failover.ko.xz
kernel/net/net_failover.ko.xz: kernel/core/failover.ko.xz
kernel/core/failover.ko.xz:
kernel/drivers/scsi/sd-mod.ko.zst: kernel/block/t10-pi.ko
kernel/block/t10-pi.ko:
kernel/crypto/crct10dif-pclmul.ko: kernel/crypto/crct10dif_common.ko
kernel/crypto/crct10dif_common.ko:
kernel/fs/ring_a.ko: kernel/fs/ring_b.ko
kernel/fs/ring_b.ko: kernel/fs/ring_a.ko
"""
INDEX = modules.parse(
    dep=DEP,
    builtin="kernel/net/packet/af_packet.ko\n",
    softdep="# words\nsoftdep t10_pi pre: crct10dif post: later\nsoftdep sd_mod plain\n",
    alias="alias crct10dif crct10dif_pclmul\nalias pci:v1AF4* virtio_net\nalias x other\n",
)


@pytest.mark.parametrize(
    "path",
    ["kernel/fs/nls/nls_utf8.ko", "nls-utf8.ko.xz", "a/nls_utf8.ko.zst", "nls_utf8"],
)
def test_a_module_has_one_name_whatever_its_file_is_called(path: str) -> None:
    assert modules.module_name(path) == "nls_utf8"


@pytest.mark.parametrize(
    ("wanted", "order"),
    [
        (["failover"], ("failover",)),
        (["virtio_net"], ("failover", "net_failover", "virtio_net")),
        (["af_packet", "nothing"], ()),
        (["t10_pi"], ("crct10dif_common", "crct10dif_pclmul", "t10_pi")),
        (["sd_mod"], ("crct10dif_common", "crct10dif_pclmul", "t10_pi", "sd_mod")),
        (["failover", "net_failover"], ("failover", "net_failover")),
    ],
)
def test_what_a_module_needs_is_loaded_before_it(wanted: list[str], order: tuple[str]) -> None:
    assert modules.closure(INDEX, wanted) == order


def test_modules_that_need_each_other_do_not_loop() -> None:
    assert set(modules.closure(INDEX, ["ring_a"])) == {"ring_a", "ring_b"}


def test_builtin_drivers_are_not_missing() -> None:
    assert modules.missing(INDEX, ["af_packet", "sd_mod", "e1000e"]) == ("e1000e",)


def test_soft_dependencies_become_plain_ones_nearest_first() -> None:
    paths = {name: f"{name}.ko" for name in INDEX.files}
    text = modules.render_dep(INDEX, ["t10_pi", "failover"], paths)
    assert text == "failover.ko:\nt10_pi.ko: crct10dif_pclmul.ko crct10dif_common.ko\n"


def test_only_aliases_of_what_is_inside_are_kept() -> None:
    assert modules.render_alias(INDEX, ["virtio_net"]) == "alias pci:v1AF4* virtio_net\n"
