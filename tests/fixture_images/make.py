"""From Debian's packages to the mirrors of two systems, signed, step by step."""

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from provision.run import run, start
from rpmspecs.running import Programs
from rpmspecs.signing import make_key, open_key
from tests.fixture_distribution import cut, debian, make, own, repository, rpms
from tests.fixture_distribution.extra import ESSENTIAL
from tests.fixture_distribution.names import BASE, words
from tests.fixture_images import kernel, names
from tests.fixture_images.el import give_el_its_names

FILES = Path(__file__).parent / "files"
OWNER = "Fixture <fixture@example.org>"

ROCKY = ("rocky/9/BaseOS/x86_64/os", "rocky/9/AppStream/x86_64/os")
CENTOS = (
    "centos/7.9.2009/os/x86_64",
    "centos/7.9.2009/updates/x86_64",
    "centos/7.9.2009/extras/x86_64",
)
"""Where the repositories of each system are below its mirror: the base's packages in the first,
ours in the second, none in the third."""

KEYS = {"rocky-9": ("rocky-gpg-keys", "Rocky-9"), "centos-7": ("centos-release", "CentOS-7")}
"""Which package has the key, and the end of its name."""

HERE = frozenset(
    words(
        "root daemon bin sys adm tty disk lp mail news uucp man proxy kmem dialout staff utmp"
        " shadow systemd-network systemd-journal systemd-timesync"
    )
)
"""Users and groups that the base's `setup` has."""
ALSO = {"dbus": "messagebus", "openssh-server": "sshd", "polkitd": "polkitd"}
"""Users that own no file and run something."""


def make_mirror(output: Path, base: Path) -> None:
    """Write the mirrors of both systems to `output`, for which the base is at `base`."""
    with tempfile.TemporaryDirectory(prefix="fixture-images-") as name:
        work = Path(name)
        debian.grow(work / "tree", [*BASE, *names.IMAGE])
        tree = debian.read(work / "tree")
        epoch = make.newest(tree)
        key = make_key(OWNER, work / "gnupg", Programs(run, start))
        with open_key(key.fingerprint, [key.home], Programs(run, start)) as signer:
            common = make_common(tree, base, epoch, work)
            bases = [
                Path(shutil.copy2(path, work))
                for path in sorted(base.glob("*.rpm"))
                if not path.name.startswith("filesystem-")
            ]
            el9 = make_own("rocky-9", signer.public_key(), epoch, work)
            el7 = make_own("centos-7", signer.public_key(), epoch, work)
            signer.sign_rpms([*bases, *common, *el9, *el7])
        with tempfile.TemporaryDirectory(prefix=f".{output.name}-", dir=output.parent) as place:
            made = Path(place, "mirror")
            lay_out(made, ROCKY, (bases, [*common, *el9]), epoch)
            absent = tuple(f"{name}-0-0" for name in names.NOT_IN_EL7)
            old = [path for path in common if not path.name.startswith(absent)]
            lay_out(made, CENTOS, (bases, [*old, *el7], []), epoch)
            made.rename(output)


def make_common(tree: debian.Tree, base: Path, epoch: int, work: Path) -> list[Path]:
    """The packages that both systems have."""
    everything = cut.cut(tree, make.DIST)
    packages = cut.beyond(everything, make.recorded(base))
    for name, rpm in everything.items():  # two owners of a folder would have to agree on its mode
        if name not in packages:
            for other in packages.values():
                other.folders -= rpm.folders
    # EL's has these two as ghosts: diskimage-builder mounts them before it unpacks the package.
    packages["filesystem"] = everything["filesystem"]
    packages["filesystem"].folders -= {"/proc", "/sys"}
    kernel.add(tree.root, packages, make.DIST, work)
    give_el_its_names(tree.root, packages, make.DIST)
    own.add(tree.root, packages, make.DIST, FILES / "common")
    for name, text in names.POST.items():
        packages[name].scripts = {**packages[name].scripts, "post": text}
    for name in ("cloud-init", "dnf", "dracut"):
        packages[name].requires |= {*ESSENTIAL, "e2fsprogs", "gzip", "iproute", "procps-ng", "tar"}
    add_accounts(packages)
    add_relations(packages)
    make.clamp(tree.root, packages, epoch)
    packages |= own.stand_ins(names.STAND_INS, make.DIST)
    return rpms.build(tree.root, packages, make.DIST, epoch, work / "common")


def make_own(system: str, key: str, epoch: int, work: Path) -> list[Path]:
    """The packages that one system alone has, with the key that all are signed by."""
    root = work / f"{system}-root"
    holder, end = KEYS[system]
    files = root / "files"
    shutil.copytree(FILES / system, files, symlinks=True)
    place = files / holder / "etc/pki/rpm-gpg" / f"RPM-GPG-KEY-{end}"
    place.parent.mkdir(parents=True)
    place.write_text(key, encoding="ascii")
    packages = {
        name: cut.Rpm(name, *version, f"fixture: {name}, made for tests")
        for name, version in names.VERSIONS.items()
        if (files / name).is_dir()
    }
    own.add(root / "tree", packages, make.DIST, files)
    add_relations(packages)
    make.clamp(root / "tree", packages, epoch)
    if system == "rocky-9":
        packages |= own.stand_ins(names.EL9_STAND_INS, make.DIST)
    return rpms.build(root / "tree", packages, make.DIST, epoch, work / system)


def add_relations(packages: Mapping[str, cut.Rpm]) -> None:
    """What packages provide and require under EL's names."""
    for name, rpm in packages.items():
        rpm.provides |= set(names.PROVIDES.get(name, ()))
        rpm.requires |= set(names.REQUIRES.get(name, "").split())


def add_accounts(packages: Mapping[str, cut.Rpm]) -> None:
    """Packages make the users and groups that their files belong to."""
    for name, rpm in packages.items():
        users = {user for user, _ in rpm.owners.values()} - HERE
        users |= {ALSO[name]} if name in ALSO else set()
        groups = {group for _, group in rpm.owners.values()} - HERE - users
        lines = [
            f"getent group {group} >/dev/null || groupadd --system {group}" for group in groups
        ]
        lines += [
            f"getent passwd {user} >/dev/null || useradd --system --user-group --no-create-home"
            f" --home-dir / --shell /usr/sbin/nologin {user}"
            for user in users
        ]
        if lines:
            rpm.scripts = {**rpm.scripts, "pre": "\n".join(sorted(lines))}
            rpm.requires_pre |= {"glibc-common", "shadow-utils"}


def lay_out(
    top: Path, places: Sequence[str], contents: Sequence[Sequence[Path]], epoch: int
) -> None:
    """The repositories of one system; what several have is one file."""
    for place, packages in zip(places, contents, strict=True):
        folder = top / place
        folder.mkdir(parents=True)
        for package in packages:
            linked = folder / package.name
            try:
                os.link(package, linked)
            except OSError:
                shutil.copy2(package, linked)
        repository.index(folder, {}, epoch)
