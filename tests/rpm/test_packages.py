"""All packages of ours as a host meets them: installed with signatures checked, upgraded, removed.

They are built by one call of the command, published as one does, and dnf gets them over HTTP by
the release package alone. What they require of others and the fixture distribution has not is
stood in for by empty packages.
"""

import hashlib
import re
import shutil
import struct
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rpmspecs.repo import Change, publish, write_release
from rpmspecs.signing import Signer
from rpmspecs.spec import FOLDER, RELEASE, own_specs
from tests.fixture_distribution import packages
from tests.fixture_distribution.names import words
from tests.fixture_distribution.root import Root
from tests.repository import PROGRAMS, make_repository, serving

OTHERS = words(
    "chrony conntrack-tools cryptsetup curl dnsmasq dnsmasq-utils haproxy httpd ipset iptables"
    " iscsi-initiator-utils keepalived libvirt-client libvirt-daemon-driver-nodedev"
    " libvirt-daemon-driver-nwfilter libvirt-daemon-driver-qemu libvirt-daemon-driver-secret"
    " libvirt-daemon-driver-storage-core kmod lvm2 mariadb-server memcached novnc openssh-clients"
    " openvswitch ovn-host pciutils python3-libvirt qemu-img qemu-kvm-core rabbitmq-server rsync"
    " sudo targetcli tuned xorriso"
)
"""Whatever of these the fixture distribution gets is a newer version, and taken instead."""

SERVICE = "placement"
SPEC = "openstack-placement"
PACKAGE = "openstack-placement-api"
"""Of which a release before is made, too: all services have the same shape."""

CONFIGURATION = "etc/placement/placement.conf"
ROTATION = "etc/logrotate.d/openstack-placement"
DECIDED = "usr/share/placement/placement-dist.conf"

STATE = re.compile(r"(etc|var/(lib|log))/placement(/.*)?")
"""What may be left of a removed package: what its service or its operator wrote."""

LEAD = 96
"""Octets of an RPM before its signatures."""

NOT_OURS = re.compile(
    r"dev/|var/(lib/(rpm|dnf)|cache|log/(dnf|hawkey))"
    r"|etc/(dnf/|\.pwd\.lock|passwd|group|g?shadow|sub[ug]id)"
)


def stand_ins(top: Path) -> Path:
    spec = top / "stand-ins.spec"
    parts = (
        f"%package -n {name}\nSummary: Stands in\nVersion: 0\n%description -n {name}\nStands in.\n"
        f"%files -n {name}\n"
        for name in OTHERS
    )
    spec.write_text(
        "Name: fixture-others\nVersion: 0\nRelease: 0\nSummary: Stands in\nLicense: Apache-2.0\n"
        "BuildArch: noarch\n%description\nStands in.\n" + "".join(parts)
    )
    macros = ["--define", f"_topdir {top}", "--define", f"_dbpath {top}/db"]
    subprocess.run(["rpmbuild", "-bb", "--quiet", *macros, str(spec)], check=True)
    return make_repository(top / "repository", top.glob("RPMS/*/*.rpm"))


@pytest.fixture(scope="module")
def before(fixture_target: Path, tmp_path_factory: pytest.TempPathFactory) -> Sequence[Path]:
    """The packages of a release before, which decided and configured other things."""
    folder = tmp_path_factory.mktemp("before")
    shutil.copytree(FOLDER / SPEC, folder / SPEC, symlinks=False)
    spec = folder / SPEC / f"{SPEC}.spec"
    text = spec.read_text("utf-8")
    assert text.count("Release:        1%{?dist}") == 1
    text = text.replace("Release:        1%{?dist}", "Release:        0%{?dist}")
    others = f"for file in {CONFIGURATION} {ROTATION} {DECIDED}; do\n"
    others += "  echo '# of the release before' >> %{buildroot}/$file\ndone\n"
    spec.write_text(text.replace("\n%check\n", f"\n{others}\n%check\n", 1), "utf-8")
    return packages.build([str(spec.parent)], fixture_target, folder / "results")


@dataclass(frozen=True)
class Site:
    """A repository that is served, and what a host needs to use it."""

    folder: Path
    url: str
    signer: Signer
    release: Path
    """The repository that holds the release package."""

    def publish(self, rpms: Sequence[Path]) -> None:
        publish(Change(tuple(rpms), url=self.url), self.folder, self.signer, PROGRAMS)


@pytest.fixture(scope="module")
def site(
    fixture_target: Path, signer: Signer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    top = tmp_path_factory.mktemp("site")
    with serving(top / "served") as server:
        url = f"{server}/rpm/fixture-1"
        source = top / RELEASE
        write_release(source, url, signer.public_key(), datetime(2026, 5, 4, tzinfo=UTC))
        rpms = packages.build([str(source)], fixture_target, top / "results")
        release = make_repository(top / "release", rpms)
        yield Site(top / "served/rpm/fixture-1", url, signer, release)


class HostRoot:
    """A root that has the release package, and dnf that goes by what it says."""

    def __init__(self, root: Root) -> None:
        self.root = root
        root.install("@core", RELEASE)

    def dnf(self, *words: str) -> str:
        """Only what the root's own files name is checked; all of ours comes by them."""
        done = self.root.own_dnf(*words)
        assert done.returncode == 0, done.stderr
        assert "scriptlet failed" not in done.stdout + done.stderr, done.stdout + done.stderr
        return done.stdout

    def versions(self) -> Mapping[str, str]:
        argv = ["rpm", "--dbpath", str(self.root.path / "var/lib/rpm"), "-qa"]
        argv += ["--qf", "%{NAME} %{EPOCHNUM}:%{VERSION}-%{RELEASE}\n"]
        said = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
        return dict(line.split() for line in said.splitlines())

    def files(self) -> set[str]:
        """Every file in the root that is not dnf's own or of the accounts."""
        found = (path for path in self.root.path.rglob("*") if path.is_symlink() or path.is_file())
        names = (str(path.relative_to(self.root.path)) for path in found)
        return {name for name in names if not NOT_OURS.match(name)}


@pytest.fixture(scope="module")
def others(fixture_tools: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stand_ins(tmp_path_factory.mktemp("others"))


@pytest.fixture(scope="module")
def repositories(fixture_distribution: Path, others: Path, site: Site) -> Mapping[str, Path]:
    return {"fixture": fixture_distribution, "others": others, "release": site.release}


def names_of(rpms: Sequence[Path]) -> list[str]:
    argv = ["rpm", "-qp", "--nosignature", "--qf", "%{NAME}\n", *map(str, rpms)]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split()


def of_the_release_before(rpm: Path, folder: Path) -> Path:
    """The same package as release 0: building all again would take as long as all else here.

    Its header says so in as many octets, and its digests are those of the new header.
    """
    whole = rpm.read_bytes()
    begin = -(-_end_of_header(whole, LEAD) // 8) * 8
    end = _end_of_header(whole, begin)
    header = whole[begin:end].replace(b"1.fixture1", b"0.fixture1")
    signature = whole[:begin].replace(
        hashlib.md5(whole[begin:]).digest(), hashlib.md5(header + whole[end:]).digest()
    )
    for name in ("sha1", "sha256"):
        old, new = (hashlib.new(name, each).hexdigest() for each in (whole[begin:end], header))
        signature = signature.replace(old.encode(), new.encode())
    made = folder / rpm.name.replace("-1.fixture1.", "-0.fixture1.")
    made.write_bytes(signature + header + whole[end:])
    return made


def _end_of_header(whole: bytes, begin: int) -> int:
    entries, size = struct.unpack_from(">II", whole, begin + 8)
    return int(begin + 16 + 16 * entries + size)


NOT_CONFIGURATION = {
    "/etc/neutron/conf.d/README": "tells an operator what the folder is for",
    "/etc/pki/rpm-gpg/RPM-GPG-KEY-rackseed": "a key is replaced with its package",
}
"""What in /etc comes anew with each version, and why."""


def test_what_lies_in_etc_is_never_overwritten(our_packages: Sequence[Path], site: Site):
    query = r"[%{FILEFLAGS:fflags} %{FILEMODES:perms} %{FILENAMES}\n]"
    rpms = map(str, [*our_packages, *site.release.glob("*.rpm")])
    argv = ["rpm", "-qp", "--nosignature", "--qf", query, *rpms]
    said = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    rows = [line.rsplit(" ", 2) for line in said.splitlines()]
    found = [
        (flags, path) for flags, mode, path in rows if path.startswith("/etc/") and mode[0] != "d"
    ]
    assert {path for flags, path in found if "c" not in flags} == set(NOT_CONFIGURATION)
    assert [path for flags, path in found if "c" in flags and "n" not in flags] == []
    assert len(found) > 50


def test_a_link_that_the_operator_pointed_elsewhere_stays(
    our_packages: Sequence[Path], tmp_path: Path
):
    """dnf would bring all of Neutron; rpm itself decides about the links."""
    (package,) = (rpm for rpm in our_packages if rpm.name.startswith("openstack-neutron-ml2-"))
    root = tmp_path / "root"
    rpm = ["rpm", f"--root={root}", "--dbpath=/var/lib/rpm", "--nodeps", "--noscripts"]

    def run(*words: object) -> None:
        subprocess.run([*rpm, *map(str, words)], check=True, capture_output=True)

    run("--install", of_the_release_before(package, tmp_path))
    link, replaced = root / "etc/neutron/plugin.ini", root / "etc/neutron/ovn.ini"
    assert link.readlink() == replaced.readlink() == Path("plugins/ml2/ml2_conf.ini")
    link.unlink()
    link.symlink_to("/etc/neutron/site.ini")
    replaced.unlink()
    replaced.write_text("[ovn]\n")

    run("--upgrade", package)
    assert link.readlink() == Path("/etc/neutron/site.ini")
    assert replaced.read_text() == "[ovn]\n"
    run("--erase", "openstack-neutron-ml2")
    assert link.with_name("plugin.ini.rpmsave").readlink() == Path("/etc/neutron/site.ini")


def account(root: Root) -> str:
    lines = (root.path / "etc/passwd").read_text("utf-8").splitlines()
    (line,) = (line for line in lines if line.startswith(f"{SERVICE}:"))
    return line


def test_a_service_is_upgraded_with_what_its_operator_wrote(
    repositories: Mapping[str, Path],
    site: Site,
    before: Sequence[Path],
    our_packages: Sequence[Path],
    tmp_path: Path,
):
    site.publish(before)
    host = HostRoot(Root(tmp_path, repositories))
    clean = host.files()
    host.dnf("install", PACKAGE)
    path = host.root.path
    for file in (CONFIGURATION, ROTATION, DECIDED):
        assert "of the release before" in (path / file).read_text("utf-8"), file
    mine = path / CONFIGURATION
    text = f"{mine.read_text('utf-8')}[api]\nauth_strategy = keystone\n"
    mine.write_text(text, "utf-8")
    mode = mine.stat()
    own = path / "etc/placement/placement.conf.d/site.conf"
    own.parent.mkdir()
    own.write_text("[DEFAULT]\ndebug = true\n", "utf-8")
    state = path / "var/lib/placement/placement.sqlite"
    state.write_bytes(b"what the service keeps")
    user = account(host.root)
    was = host.versions()

    site.publish([rpm for rpm in our_packages if rpm.name.startswith(f"{SPEC}-")])
    host.dnf("upgrade")
    assert host.versions()[PACKAGE] == was[PACKAGE].replace("-0.", "-1.")
    assert mine.read_text("utf-8") == text
    assert (mine.stat().st_mode, mine.stat().st_gid) == (mode.st_mode, mode.st_gid)
    for file in (f"{CONFIGURATION}.rpmnew", ROTATION, DECIDED):
        assert "of the release before" not in (path / file).read_text("utf-8"), file
    assert own.exists()
    assert state.read_bytes() == b"what the service keeps"
    assert account(host.root) == user

    host.dnf("remove", PACKAGE)
    left = host.files() - clean
    assert {path for path in left if not STATE.fullmatch(path)} == set()
    assert (path / f"{CONFIGURATION}.rpmsave").read_text("utf-8") == text
    assert not mine.exists()
    assert own.exists()
    assert state.exists()
    assert account(host.root) == user, "its files are left, and belong to somebody"


def test_every_package_is_installed_upgraded_verified_and_removed_without_a_trace(
    repositories: Mapping[str, Path],
    site: Site,
    before: Sequence[Path],
    our_packages: Sequence[Path],
    tmp_path: Path,
):
    older = tmp_path / "older"
    older.mkdir()
    others = [rpm for rpm in our_packages if not rpm.name.startswith(f"{SPEC}-")]
    site.publish([*before, *(of_the_release_before(rpm, older) for rpm in others)])
    host = HostRoot(Root(tmp_path, repositories))
    clean = host.files()
    ours = names_of(our_packages)
    assert len(ours) > len(own_specs())
    host.dnf("install", *(f"{name}-*-0.fixture1" for name in ours))
    was = host.versions()
    assert {was[name].rpartition("-")[2] for name in ours} == {"0.fixture1"}
    users = (host.root.path / "etc/passwd").read_text("utf-8")
    site.publish(our_packages)
    host.dnf("upgrade")
    now = {name: was[name].replace("-0.fixture1", "-1.fixture1") for name in ours}
    assert host.versions() == was | now
    assert host.root.altered() == []
    assert (host.root.path / "etc/passwd").read_text("utf-8") == users
    host.dnf("remove", *ours)
    assert not set(ours) & set(host.versions())
    assert host.files() - clean == set()


def test_a_package_that_was_changed_on_the_way_is_not_installed(
    repositories: Mapping[str, Path],
    site: Site,
    our_packages: Sequence[Path],
    tmp_path: Path,
):
    site.publish(our_packages)
    host = HostRoot(Root(tmp_path, repositories))
    (package,) = (site.folder / "current").resolve().rglob("python3-openstackclient-*-1.*.rpm")
    content = package.read_bytes()
    package.write_bytes(content[:-4096] + bytes(4096))
    try:
        with pytest.raises(AssertionError, match="python3-openstackclient"):
            host.dnf("install", "python3-openstackclient")
    finally:
        package.write_bytes(content)
    assert "python3-openstackclient" not in host.versions()
