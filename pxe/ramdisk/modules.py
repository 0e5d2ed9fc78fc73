"""Which kernel modules the ramdisk carries, and in which order they load.

File formats: modules.dep(5), modprobe.d(5) for `softdep`, and depmod(8). A dependency list in
modules.dep is to be loaded from its end to its beginning.
"""

import fnmatch
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

REQUIRED = (
    "virtio_pci",
    "virtio_net",
    "virtio_blk",
    "virtio_scsi",
    "e1000e",
    "igb",
    "ixgbe",
    "i40e",
    "mlx5_core",
    "bnxt_en",
    "nvme",
    "ahci",
    "sd_mod",
    "megaraid_sas",
    "mpt3sas",
)
"""Without one of these a kernel is not fit for real servers, and the build refuses it."""

WANTED = (
    *("e1000", "igc", "ice", "iavf", "ixgbevf", "igbvf"),
    *("mlx4_en", "bnx2", "bnx2x", "tg3", "r8169", "qede", "cxgb4", "be2net", "sfc", "enic"),
    *("ena", "gve", "atlantic", "vmxnet3", "hv_netvsc", "xen_netfront"),
    *("ata_piix", "ata_generic", "sr_mod", "isci", "mpi3mr", "aacraid", "hpsa", "smartpqi"),
    *("megaraid_mbox", "mptsas", "mptspi", "vmw_pvscsi", "hv_storvsc", "xen_blkfront"),
    *("efivarfs", "af_packet"),
)
"""Carried where the kernel has them."""


@dataclass(frozen=True, slots=True)
class ModuleIndex:
    """What depmod knows of one kernel. Module names are spelled with underscores."""

    files: Mapping[str, str]
    """Name to path below the kernel's module folder."""
    needs: Mapping[str, tuple[str, ...]]
    """Name to the modules that must be loaded before, the nearest first."""
    soft: Mapping[str, tuple[str, ...]]
    """Name to names or aliases that should be loaded before, if they exist."""
    builtin: frozenset[str]
    aliases: tuple[tuple[str, str], ...]
    """Pattern and module, in the order of modules.alias."""

    def has(self, name: str) -> bool:
        """Whether the kernel carries the driver, as a module or built in."""
        return name in self.files or name in self.builtin


def module_name(path: str) -> str:
    """`kernel/fs/nls/nls_utf8.ko.xz` and `nls-utf8` are both `nls_utf8`."""
    return PurePosixPath(path).name.partition(".ko")[0].replace("-", "_")


def parse(*, dep: str, builtin: str, softdep: str, alias: str) -> ModuleIndex:
    """Read the texts of modules.dep, modules.builtin, modules.softdep and modules.alias."""
    files: dict[str, str] = {}
    needs: dict[str, tuple[str, ...]] = {}
    for line in dep.splitlines():
        path, _, rest = line.partition(":")
        name = module_name(path)
        files[name] = path
        needs[name] = tuple(module_name(word) for word in rest.split())
    soft: dict[str, tuple[str, ...]] = {}
    for fields in _statements(softdep, "softdep", 3):
        name = module_name(fields[0])
        soft[name] = (*soft.get(name, ()), *_before(fields[1:]))
    return ModuleIndex(
        files=files,
        needs=needs,
        soft=soft,
        builtin=frozenset(module_name(line) for line in builtin.split()),
        aliases=tuple((f[0], module_name(f[1])) for f in _statements(alias, "alias", 3)),
    )


def read(folder: Path) -> ModuleIndex:
    """Read the index of /lib/modules/VERSION; a file that is absent counts as empty."""
    texts = {
        kind: path.read_text() if (path := folder / f"modules.{kind}").exists() else ""
        for kind in ("dep", "builtin", "softdep", "alias")
    }
    return parse(**texts)


def missing(index: ModuleIndex, names: Iterable[str] = REQUIRED) -> tuple[str, ...]:
    """Those of `names` that the kernel does not have at all."""
    return tuple(name for name in names if not index.has(name))


def closure(index: ModuleIndex, names: Iterable[str]) -> tuple[str, ...]:
    """`names` and all they need, each after what it needs; names without a file are left out."""
    order: list[str] = []
    entered: set[str] = set()

    def enter(name: str) -> None:
        if name in entered or name not in index.files:
            return
        entered.add(name)
        for needed in before(index, name):
            enter(needed)
        order.append(name)

    for name in names:
        enter(name)
    return tuple(order)


def before(index: ModuleIndex, name: str) -> Iterator[str]:
    """The modules that must or should be loaded before `name`, the farthest first."""
    for wish in index.soft.get(name, ()):
        yield from _meant(index, wish)
    yield from reversed(index.needs[name])


def render_dep(index: ModuleIndex, names: Iterable[str], paths: Mapping[str, str]) -> str:
    """A modules.dep of `names`, in which soft dependencies have become plain ones."""
    lines = []
    for name in sorted(names):
        needed = [paths[n] for n in reversed(closure(index, [name])) if n != name]
        lines.append(f"{paths[name]}:{''.join(f' {path}' for path in needed)}\n")
    return "".join(lines)


def render_alias(index: ModuleIndex, names: Iterable[str]) -> str:
    """The lines of modules.alias that lead to `names`."""
    kept = frozenset(names)
    return "".join(f"alias {alias} {name}\n" for alias, name in index.aliases if name in kept)


def _meant(index: ModuleIndex, wish: str) -> list[str]:
    name = module_name(wish)
    if index.has(name):
        return [name]
    return [name for alias, name in index.aliases if fnmatch.fnmatchcase(wish, alias)]


def _before(fields: Iterable[str]) -> Iterator[str]:
    """The names after `pre:` in a softdep line, up to `post:`."""
    kept = False
    for field in fields:
        if field.endswith(":"):
            kept = field == "pre:"
        elif kept:
            yield field


def _statements(text: str, keyword: str, at_least: int) -> Iterator[list[str]]:
    for line in text.splitlines():
        fields = line.split()
        if len(fields) >= at_least and fields[0] == keyword:
            yield fields[1:]
