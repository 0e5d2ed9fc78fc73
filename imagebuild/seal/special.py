"""Rules that need more than a pattern."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from imagebuild.inside.image import Image, matches
from imagebuild.inside.tree import Kind
from imagebuild.seal.rules import MOST_TEXT, Trace
from imagebuild.seal.system import UNINITIALIZED_SINCE, Family, System

UNINITIALIZED = b"uninitialized\n"
GENERIC_NAMES = frozenset({"", "localhost", "localhost.localdomain", "localhost.localdomain6"})
_UUID = re.compile(r"\b(?:UUID|PARTUUID|LABEL|PARTLABEL)=\S+")
_ROOT = re.compile(r"\broot=((?:UUID|PARTUUID|LABEL|PARTLABEL)=\S+)")
_BOOT_CONFIGURATION = (
    "boot/grub/grub.cfg",
    "boot/grub2/grub.cfg",
    "boot/loader/entries/*.conf",
    "etc/kernel/cmdline",
)


@dataclass(frozen=True, slots=True)
class MachineId:
    """/etc/machine-id in the form that its systemd wants; machine-id(5), "First Boot Semantics".

    An empty file is right for every systemd. The word `uninitialized` is understood from 247 on
    and makes the boot a first boot. A missing file cannot be made on a read-only root.
    """

    path = "etc/machine-id"

    def traces(self, image: Image, system: System) -> Iterator[Trace]:
        if system.systemd is None and not image.tree.exists(self.path):
            return
        content = image.tree.read(self.path, 64)
        if content is None:
            yield Trace(self.path, "missing")
        elif content == UNINITIALIZED or content == UNINITIALIZED.strip():
            if (system.systemd or 0) < UNINITIALIZED_SINCE:
                version = f"systemd {system.systemd}" if system.systemd else "this system"
                yield Trace(self.path, f"the word `uninitialized`, which {version} does not know")
        elif content.strip():
            yield Trace(self.path, "a machine's own id")

    def shell(self) -> Sequence[str]:
        return ["machine_id"]


@dataclass(frozen=True, slots=True)
class DbusMachineId:
    """D-Bus's copy is a link to systemd's file, or there is none."""

    path = "var/lib/dbus/machine-id"

    def traces(self, image: Image, system: System) -> Iterator[Trace]:
        entry = image.tree.entry(self.path)
        if entry is None:
            return
        if entry.kind is not Kind.LINK:
            yield Trace(self.path, "a file of its own, expected a link to /etc/machine-id")
        elif image.tree.follow(self.path) != MachineId.path:
            yield Trace(self.path, "a link to something else than /etc/machine-id")

    def shell(self) -> Sequence[str]:
        return ["dbus_machine_id"]


@dataclass(frozen=True, slots=True)
class Hostname:
    """/etc/hostname names no machine: it is absent, empty, a loopback name or the system's own."""

    path = "etc/hostname"

    def traces(self, image: Image, system: System) -> Iterator[Trace]:
        text = image.tree.text(self.path, 256) or ""
        lines = [line.strip() for line in text.splitlines() if not line.startswith("#")]
        name = next((line for line in lines if line), "")
        if name not in GENERIC_NAMES and name != system.id:
            yield Trace(self.path, "a host's own name")

    def shell(self) -> Sequence[str]:
        return ["absent '' etc/hostname"]


@dataclass(frozen=True, slots=True)
class IscsiInitiator:
    """open-iscsi makes a name at its first start where it finds its sign for that.

    Debian's start script looks for `GenerateName=yes`, iscsi-init.service of EL for no file.
    """

    path = "etc/iscsi/initiatorname.iscsi"

    def traces(self, image: Image, system: System) -> Iterator[Trace]:
        text = image.tree.text(self.path, MOST_TEXT) or ""
        if re.search(r"^\s*InitiatorName\s*=", text, re.MULTILINE):
            yield Trace(self.path, "an initiator's own name")
        elif system.family is Family.RPM and image.tree.exists(self.path):
            yield Trace(self.path, "a file, which keeps the system from making a name")

    def shell(self) -> Sequence[str]:
        return ["iscsi_initiator"]


@dataclass(frozen=True, slots=True)
class NoSnapshots:
    """The file carries no older state of the disk."""

    def traces(self, image: Image, system: System) -> Iterator[Trace]:
        if image.disk.snapshots:
            yield Trace("", f"{image.disk.snapshots} internal snapshots in the qcow2 file")

    def shell(self) -> Sequence[str]:
        return []


@dataclass(frozen=True, slots=True)
class NoSwap:
    """No partition holds pages of the builder's memory."""

    def traces(self, image: Image, system: System) -> Iterator[Trace]:
        for volume in image.volumes:
            if volume.signature is not None and volume.signature.type == "swap":
                yield Trace("", f"partition {volume.partition.number} is swap space")

    def shell(self) -> Sequence[str]:
        return []


@dataclass(frozen=True, slots=True)
class KnownDevices:
    """What is mounted and booted by UUID or label is in this image, not in the builder."""

    def traces(self, image: Image, system: System) -> Iterator[Trace]:
        for mount in image.mounts:
            if "nofail" not in mount.options and not self._known(mount.device, image):
                yield Trace("etc/fstab", f"{mount.device}, which no partition here has")
        for pattern in _BOOT_CONFIGURATION:
            for path in image.tree.glob(pattern):
                text = image.tree.text(path, MOST_TEXT) or ""
                for device in dict.fromkeys(_ROOT.findall(text)):
                    if not self._known(device, image):
                        yield Trace(path, f"root={device}, which no partition here has")

    def _known(self, device: str, image: Image) -> bool:
        if not _UUID.match(device):
            return True
        return any(matches(device, volume) for volume in image.volumes)

    def shell(self) -> Sequence[str]:
        return []
