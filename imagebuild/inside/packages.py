"""The packages of a system, from its own database."""

from collections.abc import Iterator
from dataclasses import dataclass

from imagebuild.inside.errors import Unreadable
from imagebuild.inside.rpmdb import Header, Tag, headers
from imagebuild.inside.tree import Tree

DPKG = "var/lib/dpkg/status"
RPM = tuple(
    f"{folder}/{name}"
    for folder in ("usr/lib/sysimage/rpm", "var/lib/rpm")
    for name in ("rpmdb.sqlite", "Packages")
)
_INSTALLED = "install ok installed"
_KEYS = "gpg-pubkey"
"""Not a package: rpm keeps imported keys so."""


@dataclass(frozen=True, slots=True, order=True)
class Package:
    """One installed package."""

    name: str
    version: str
    """As its package manager writes it: `1:2.3-4`."""
    arch: str
    kind: str
    """`deb` or `rpm`, as in package URLs."""
    source: str = ""
    """The source package's name, or the file name of a source RPM."""
    size: int = 0
    """Bytes installed, as the package says."""
    license: str = ""
    """Empty for Debian, whose packages do not say it in the database."""


def packages(tree: Tree) -> list[Package]:
    """All packages, sorted; none where there is no database. Raises Unreadable."""
    status = tree.text(DPKG)
    if status:
        return sorted(dpkg(status))
    for path in RPM:
        if data := tree.read(path):
            return sorted(_from_header(one) for one in headers(data) if one.get(Tag.NAME) != _KEYS)
    if tree.exists("var/lib/rpm/Packages.db") or tree.exists("usr/lib/sysimage/rpm/Packages.db"):
        raise Unreadable("rpm's database is of the ndb kind, which we do not read")
    return []


def dpkg(status: str) -> Iterator[Package]:
    """The installed packages of a dpkg status file (deb-control(5) paragraphs)."""
    for paragraph in status.split("\n\n"):
        fields = {
            name: value.strip()
            for name, mark, value in (line.partition(":") for line in paragraph.splitlines())
            if mark and not name.startswith((" ", "\t"))
        }
        if fields.get("Status") == _INSTALLED:
            yield Package(
                name=fields["Package"],
                version=fields.get("Version", ""),
                arch=fields.get("Architecture", ""),
                kind="deb",
                source=fields.get("Source", fields["Package"]).split(" ")[0],
                size=int(fields.get("Installed-Size", "0")) << 10,
            )


def _from_header(found: Header) -> Package:
    version = f"{found.get(Tag.VERSION, '')}-{found.get(Tag.RELEASE, '')}"
    if epoch := found.get(Tag.EPOCH):
        version = f"{epoch}:{version}"
    return Package(
        name=str(found.get(Tag.NAME, "")),
        version=version,
        arch=str(found.get(Tag.ARCH, "")),
        kind="rpm",
        source=str(found.get(Tag.SOURCE_RPM, "")),
        size=int(found.get(Tag.LONG_SIZE) or found.get(Tag.SIZE) or 0),
        license=str(found.get(Tag.LICENSE, "")),
    )
