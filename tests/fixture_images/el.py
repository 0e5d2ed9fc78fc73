"""Debian's boot programs under the names and in the places that EL has."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.fixture_distribution.cut import Rpm
from tests.fixture_distribution.names import words

RENAMED = {
    "/usr/sbin/grub-install": "/usr/sbin/grub2-install",
    "/usr/sbin/grub-mkconfig": "/usr/sbin/grub2-mkconfig",
}
"""What is looked for by name; the programs behind keep Debian's."""

EFI = "boot/efi/EFI"
SHIM: Mapping[str, tuple[str, ...]] = {
    "shimx64.efi.signed": ("BOOT/BOOTX64.EFI", "rocky/shimx64.efi"),
    "fbx64.efi.signed": ("BOOT/fbx64.efi",),
    "mmx64.efi.signed": ("rocky/mmx64.efi",),
}
BOOT_CSV = "shimx64.efi,Fixture of Rocky Linux,,This is the boot entry for it\n"
"""By which the fallback program finds the system's folder."""
GRUB_MODULES = words(
    "all_video boot cat configfile echo ext2 fat gfxterm gzio halt linux loadenv ls normal"
    " part_gpt part_msdos reboot search search_fs_uuid search_label serial sleep test xfs"
)


def give_el_its_names(root: Path, rpms: dict[str, Rpm], dist: str) -> None:
    """Change the tree at `root` and what its packages have."""
    tools = rpms["grub2-tools"]
    for old, new in RENAMED.items():
        (root / old.lstrip("/")).rename(root / new.lstrip("/"))
        tools.files = (tools.files - {old}) | {new}
    (root / "boot/grub2").mkdir(parents=True)
    (root / "boot/grub").symlink_to("grub2")
    tools.folders.add("/boot/grub2")
    tools.files.add("/boot/grub")
    rpms["grub2-pc"] = Rpm("grub2-pc", tools.version, tools.release, "fixture: GRUB for BIOS")
    _name_initramfs(root / "usr/bin/dracut")
    _place_shim(root, rpms["shim-x64"])
    efi = Rpm("grub2-efi-x64", tools.version, tools.release, "fixture: GRUB for UEFI, unsigned")
    image = root / EFI / "rocky/grubx64.efi"
    make = ["chroot", str(root), "grub-mkimage", "--format=x86_64-efi", "--prefix=/EFI/rocky"]
    subprocess.run([*make, f"--output=/{image.relative_to(root)}", *GRUB_MODULES], check=True)
    efi.files.add(f"/{image.relative_to(root)}")
    rpms["grub2-efi-x64"] = efi


def _name_initramfs(dracut: Path) -> None:
    """Debian's dracut writes to /boot/initrd.img-VERSION unless it is told otherwise."""
    text = dracut.read_text(encoding="utf-8")
    changed = re.sub(r"/boot/initrd\.img-(\$\{?kernel\}?)", r"/boot/initramfs-\1.img", text)
    if changed == text:
        raise LookupError("dracut names its initramfs otherwise than it did")
    dracut.write_text(changed, encoding="utf-8")


def _place_shim(root: Path, shim: Rpm) -> None:
    for source, places in SHIM.items():
        for place in places:
            target = root / EFI / place
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / "usr/lib/shim" / source, target)
            shim.files.add(f"/{target.relative_to(root)}")
    listed = root / EFI / "rocky/BOOTX64.CSV"
    listed.write_text(BOOT_CSV, encoding="utf-16")
    shim.files.add(f"/{listed.relative_to(root)}")
