"""How the disk of an image is divided, in diskimage-builder's words."""

import uuid
from dataclasses import dataclass

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
          opts: "-F 32{volume_id}"
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
{uuid}          mount:
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
{volume_id}"""

_IDS = uuid.UUID("5f0f3c5b-6f0e-4a57-9a34-0d8f4e2f7a11")
"""Of the ids that two builds of the same have alike."""


@dataclass(frozen=True, slots=True)
class Ids:
    """By which the file systems of an image are known; empty: made by chance."""

    root: str = ""
    esp: str = ""
    """FAT has 8 hexadecimal digits."""


def same_ids(recipe: Recipe, epoch: int) -> Ids:
    """Those of every build of a recipe with this SOURCE_DATE_EPOCH; boot loaders name them."""
    root = uuid.uuid5(_IDS, f"{recipe.name} {epoch}")
    return Ids(str(root), root.hex[:8].upper())


def disk_config(recipe: Recipe, device_mapper: bool, vfat: bool, ids: Ids = Ids()) -> str:
    """The configuration of the block device layer: the same disk on every machine.

    Without device mapper the kernel's own partition nodes are used, and without vfat in the
    kernel the EFI system partition is filled by mtools.
    """
    own = f"          uuid: {ids.root}\n" if ids.root else ""
    node = "partitioning" if device_mapper else "rackseed_partitions"
    if recipe.block_device is BlockDevice.MBR:
        root = ROOT.format(kind="flags: [ boot, primary ]", filesystem=recipe.filesystem, uuid=own)
        return LOOP + PARTITIONS.format(node=node, label="mbr") + root
    root = ROOT.format(kind="type: '8300'", filesystem=recipe.filesystem, uuid=own)
    volume_id = f" -i {ids.esp}" if ids.esp else ""
    esp = ESP.format(size=ESP_SIZE) + (ESP_MOUNTED.format(volume_id=volume_id) if vfat else "")
    text = LOOP + PARTITIONS.format(node=node, label="gpt") + esp + BIOS + root
    if vfat:
        return text
    own = f"    volume_id: '{ids.esp}'\n" if ids.esp else ""
    return text + ESP_FILLED.format(label=ESP_LABEL, volume_id=own)
