"""Debian's kernel as EL packages it, with the modules that tests need."""

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from tests.fixture_distribution.cut import Rpm, rpm_version
from tests.fixture_distribution.debian import UNCOUNTED
from tests.fixture_images.names import KERNEL, MODULES

BUILTIN = ("modules.builtin", "modules.builtin.modinfo", "modules.order")

POSTTRANS = """\
install -m 644 /lib/modules/{kernel}/config /boot/config-{kernel}
install -m 644 /lib/modules/{kernel}/System.map /boot/System.map-{kernel}
install -m 755 /lib/modules/{kernel}/vmlinuz /boot/vmlinuz-{kernel}
depmod -a {kernel}
[ -n "$FIXTURE_NO_INITRAMFS" ] || dracut --force /boot/initramfs-{kernel}.img {kernel}"""
"""What EL leaves to kernel-install. Without an initramfs: for a base image that gets another."""

POSTUN = """\
[ "$1" != 0 ] || rm -f /boot/*-{kernel} /boot/initramfs-{kernel}.img"""


def add(root: Path, rpms: dict[str, Rpm], dist: str, work: Path) -> str:
    """Put the kernel into the tree at `root` and into its packages; returns its own version."""
    unpacked, version = _fetch(work)
    kernel = next((unpacked / "lib/modules").iterdir()).name
    found = unpacked / "lib/modules" / kernel
    subprocess.run(["depmod", "-b", str(unpacked), kernel], check=True)
    chosen = needed(found / "modules.dep", MODULES)
    home = root / "usr/lib/modules" / kernel
    core, modules = (
        Rpm(name, *_versions(version, dist), f"fixture: {name}, of Debian's {KERNEL}")
        for name in ("kernel-core", "kernel-modules")
    )
    for name in ("config", "System.map", "vmlinuz"):
        _move(unpacked / f"boot/{name}-{kernel}", home / name, root, core)
    for name in BUILTIN:
        _move(found / name, home / name, root, core)
    for module in chosen:
        _move(found / module, home / module, root, modules)
    core.folders |= {f"/usr/lib/modules/{kernel}"}
    core.provides.add("installonlypkg(kernel)")
    filled = {"posttrans": POSTTRANS, "postun": POSTUN}
    core.scripts = {name: text.format(kernel=kernel) for name, text in filled.items()}
    whole = Rpm("kernel", *_versions(version, dist), "fixture: kernel, which is its parts")
    whole.provides.add("installonlypkg(kernel)")
    rpms |= {rpm.name: rpm for rpm in (core, modules, whole)}
    return kernel


def needed(dependencies: Path, wanted: Sequence[str]) -> list[str]:
    """The paths of modules, and of all that they need. Raises LookupError for one not there."""
    lines = dependencies.read_text(encoding="utf-8").splitlines()
    table: Mapping[str, Sequence[str]] = {
        line.partition(":")[0]: line.partition(":")[2].split() for line in lines
    }
    paths = {PurePosixPath(path).name.partition(".")[0]: path for path in table}
    builtin = (dependencies.parent / "modules.builtin").read_text(encoding="utf-8")
    absent = [name for name in wanted if name not in paths and f"/{name}.ko" not in builtin]
    if absent:
        raise LookupError(f"the kernel has no module {', '.join(absent)}")
    chosen = {
        path for name in wanted if name in paths for path in (paths[name], *table[paths[name]])
    }
    return sorted(chosen)


def _fetch(work: Path) -> tuple[Path, str]:
    """The kernel's Debian package, unpacked, and its version."""
    lacking = [f"--no-{kind}" for kind in UNCOUNTED]
    listed = _output(["apt-cache", "depends", *lacking, KERNEL])
    (name,) = re.findall(r"^ *Depends: (linux-image-\S+)$", listed, re.MULTILINE)
    folder = work / "kernel"
    folder.mkdir()
    # As root: nobody else can write to the folder, which apt would only warn about.
    _output(["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", name], cwd=folder)
    (package,) = folder.glob("*.deb")
    _output(["dpkg-deb", "--extract", str(package), str(folder / "unpacked")])
    return folder / "unpacked", _output(["dpkg-deb", "--field", str(package), "Version"]).strip()


def _versions(debian: str, dist: str) -> tuple[str, str]:
    version, release = rpm_version(debian)
    return version, release + dist


def _move(source: Path, target: Path, root: Path, rpm: Rpm) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(source, target)
    rpm.files.add(f"/{target.relative_to(root)}")


def _output(argv: Sequence[str], cwd: Path | None = None) -> str:
    done = subprocess.run(argv, check=False, capture_output=True, text=True, cwd=cwd)
    if done.returncode:
        raise RuntimeError(f"{argv[0]} failed:\n{done.stderr[-3000:]}")
    return done.stdout
