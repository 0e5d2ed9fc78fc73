"""How the disk of an image is divided, in diskimage-builder's words."""

from imagebuild.recipe import BlockDevice, Recipe

ESP_SIZE = "128MiB"
"""Holds shim, GRUB and firmware updates many times over."""
ESP_LABEL = "MKFS_ESP"

LOOP = """\
- local_loop:
    name: image0
"""

PARTITIONS = """\
- {node}:
    base: image0
    label: {label}
    partitions:
"""

ESP = """\
      - name: ESP
        type: 'EF00'
        size: {size}
"""

ESP_MOUNTED = """\
        mkfs:
          type: vfat
          opts: "-F 32"
          mount:
            mount_point: /boot/efi
            fstab:
              options: "umask=0077"
              fsck-passno: 2
"""

BIOS = """\
      - name: BSP
        type: 'EF02'
        size: 2MiB
"""

ROOT = """\
      - name: root
        {kind}
        size: 100%
        mkfs:
          type: {filesystem}
          mount:
            mount_point: /
            fstab:
              options: "defaults"
              fsck-passno: 1
"""

ESP_FILLED = """\
- rackseed_esp:
    name: mkfs_ESP
    base: ESP
    after: mount_mkfs_root
    mount_point: /boot/efi
    label: {label}
    options: "umask=0077"
"""


def disk_config(recipe: Recipe, device_mapper: bool, vfat: bool) -> str:
    """The configuration of the block device layer: the same disk on every machine.

    Without device mapper the kernel's own partition nodes are used, and without vfat in the
    kernel the EFI system partition is filled by mtools.
    """
    node = "partitioning" if device_mapper else "rackseed_partitions"
    if recipe.block_device is BlockDevice.MBR:
        root = ROOT.format(kind="flags: [ boot, primary ]", filesystem=recipe.filesystem)
        return LOOP + PARTITIONS.format(node=node, label="mbr") + root
    root = ROOT.format(kind="type: '8300'", filesystem=recipe.filesystem)
    esp = ESP.format(size=ESP_SIZE) + (ESP_MOUNTED if vfat else "")
    text = LOOP + PARTITIONS.format(node=node, label="gpt") + esp + BIOS + root
    return text if vfat else text + ESP_FILLED.format(label=ESP_LABEL)
