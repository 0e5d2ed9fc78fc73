"""The metapackages on the fixture distribution: built, installed, upgraded, removed.

What they require of OpenStack, databases and hypervisors is stood in for by empty packages of the
same names: these tests are about our packages, not about those.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from provision.run import run, start
from rpmspecs.capabilities import FolderCache, merged, read_target
from rpmspecs.check import Finding, FromRepositories, check, read_needs
from rpmspecs.chroot import ChrootBackend
from rpmspecs.errors import BuildFailed
from rpmspecs.repo import Change, publish, write_release
from rpmspecs.running import Programs
from rpmspecs.settings import BuildSettings
from rpmspecs.signing import Signer
from rpmspecs.spec import FOLDER, RELEASE, find_spec
from rpmspecs.target import Repository, Target, load_target
from tests.fixture_distribution.names import words
from tests.fixture_distribution.root import Root
from tests.repository import make_rpm, serving
from tests.tools import require_tool

MakeRoot = Callable[..., Root]

PROGRAMS = Programs(run, start)
RPMLINT = FOLDER.parent / "rpmlint.toml"

ROLES = ("common", "full", "compute", "gpu")
PACKAGES = tuple(f"openstack-node-{role}" for role in ROLES)

NEEDED: Mapping[str, Sequence[str]] = {
    "openstack-node-common": [],
    "openstack-node-full": ["openstack-node-common"],
    "openstack-node-compute": ["openstack-node-common"],
    "openstack-node-gpu": ["openstack-node-common", "openstack-node-compute"],
}
"""What each brings of the others."""

VARIABLES = "etc/tuned/openstack-node-gpu-variables.conf"
DEVICES = "etc/modprobe.d/openstack-node-gpu-devices.conf"

STOOD_IN = words(
    "chrony tuned mariadb-server rabbitmq-server memcached dnsmasq openstack-keystone "
    "openstack-glance openstack-placement-api openstack-nova-api openstack-nova-conductor "
    "openstack-nova-scheduler openstack-nova-novncproxy openstack-nova-compute "
    "openstack-neutron openstack-neutron-ml2 openstack-neutron-ovn-agent "
    "openstack-neutron-ovn-metadata-agent openstack-neutron-openvswitch openstack-cinder "
    "openstack-heat-api openstack-heat-api-cfn openstack-heat-engine python3-openstackclient "
    "openstack-dashboard "
    "qemu-kvm-core libvirt-client libvirt-daemon-driver-nodedev "
    "libvirt-daemon-driver-nwfilter libvirt-daemon-driver-qemu libvirt-daemon-driver-secret "
    "libvirt-daemon-driver-storage-core pciutils ovn-host ovn-central"
)

NEXT_RELEASE = {
    "openstack-keystone": "1:28.0.0",
    "openstack-glance": "1:31.0.0",
    "openstack-placement-api": "14.0.0",
    "openstack-nova-common": "1:32.0.0",
    "openstack-neutron-common": "1:27.0.0",
    "openstack-cinder": "1:27.0.0",
    "openstack-heat-common": "1:25.0.0",
    "openstack-dashboard": "1:25.5.0",
}
"""The first versions of the OpenStack release after ours, 2025.2, with RDO's epochs."""


def stand_in(name: str, version: str) -> str:
    epoch, _, number = version.rpartition(":")
    return (
        f"%package -n {name}\nSummary: Stands in for {name} in tests\n"
        f"Epoch: {epoch or 0}\nVersion: {number}\n"
        f"%description -n {name}\nStands in for {name} in tests.\n%files -n {name}\n"
    )


def make_stand_ins(top: Path, versions: Mapping[str, str]) -> Path:
    """A repository of empty packages."""
    spec = top / "stand-ins.spec"
    spec.write_text(
        "Name: fixture-stand-ins\nVersion: 1\nRelease: 1\nSummary: Stands in\n"
        "License: Apache-2.0\nBuildArch: noarch\n%description\nStands in.\n"
        + "".join(stand_in(name, version) for name, version in versions.items())
    )
    macros = ["--define", f"_topdir {top}", "--define", f"_dbpath {top}/db"]
    subprocess.run(["rpmbuild", "-bb", "--quiet", *macros, str(spec)], check=True)
    return repository(top / "RPMS")


@pytest.fixture(scope="session")
def stand_ins(fixture_tools: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_stand_ins(tmp_path_factory.mktemp("stand-ins"), dict.fromkeys(STOOD_IN, "1"))


@pytest.fixture(scope="session")
def next_release(fixture_tools: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_stand_ins(tmp_path_factory.mktemp("next"), NEXT_RELEASE)


def repository(folder: Path) -> Path:
    subprocess.run(["createrepo_c", "--quiet", str(folder)], check=True)
    return folder


@pytest.fixture(scope="session")
def target(fixture_target: Path) -> Target:
    return load_target(fixture_target)


class Builder:
    """Builds specs for the fixture distribution by the chroot backend."""

    def __init__(self, target: Target, folder: Path) -> None:
        self.target = target
        self.folder = folder
        self.backend = ChrootBackend(PROGRAMS, BuildSettings(), folder / "cache")

    def __call__(self, spec: Path, result: str, **macros: str) -> Path:
        """The folder of the packages that a spec makes, a repository."""
        target = replace(self.target, macros={**self.target.macros, **macros})
        folder = self.folder / result
        srpm = self.backend.build_srpm(spec, spec.parent, target, folder / "srpm")
        self.backend.build_rpms(srpm, target, (), folder / "rpms")
        for old in (folder / "rpms").glob("*.src.rpm"):
            old.unlink()
        return repository(folder / "rpms")


@pytest.fixture(scope="session")
def builder(
    fixture_tools: None, target: Target, tmp_path_factory: pytest.TempPathFactory
) -> Builder:
    return Builder(target, tmp_path_factory.mktemp("metapackages"))


@pytest.fixture(scope="session")
def built(builder: Builder) -> Path:
    """The metapackages, as a repository."""
    return builder(find_spec("openstack-node"), "now")


@pytest.fixture(scope="session")
def previous(builder: Builder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version before, in which a vendor's file and a file of configuration were others."""
    folder = tmp_path_factory.mktemp("previous") / "openstack-node"
    shutil.copytree(FOLDER / "openstack-node", folder)
    spec = folder / "openstack-node.spec"
    text = spec.read_text()
    version = next(line.split()[1] for line in text.splitlines() if line.startswith("Version:"))
    spec.write_text(text.replace(version, "2024.2.0"))
    for name in ("modprobe-gpu-devices.conf", "sysctl-common.conf"):
        with (folder / name).open("a") as file:
            file.write("# of the version before\n")
    return builder(spec, "before")


@pytest.fixture
def root(fixture_root: MakeRoot, stand_ins: Path, built: Path) -> Root:
    """An empty root with our packages at hand."""
    return fixture_root(standins=stand_ins, ours=built)


@pytest.fixture(scope="module")
def everything(
    fixture_distribution: Path,
    stand_ins: Path,
    built: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Root:
    """A host that is controller, compute node and GPU node at once; to be looked at only."""
    repositories = {"fixture": fixture_distribution, "standins": stand_ins, "ours": built}
    root = Root(tmp_path_factory.mktemp("everything"), repositories)
    root.install("openstack-node-full", "openstack-node-gpu")
    return root


def installed(root: Root) -> set[str]:
    """The names in a root's database, which need not have rpm itself."""
    argv = ["rpm", "--dbpath", str(root.path / "var/lib/rpm"), "-qa", "--qf", "%{NAME}\n"]
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    return set(done.stdout.split())


def resolve(root: Root, *words: str) -> set[str]:
    """What dnf would install, written to the database alone."""
    root.install("--setopt=tsflags=justdb", "--setopt=install_weak_deps=True", *words)
    return installed(root)


def files(root: Root) -> set[str]:
    """What lies where our packages put things."""
    tops = ("etc", "usr/lib", "usr/share", "usr/bin")
    found = (path for top in tops for path in (root.path / top).rglob("*"))
    ours = ("openstack-node", "node-check", "rackseed")
    return {
        str(path.relative_to(root.path))
        for path in found
        if any(name in path.name or name in path.parent.name for name in ours)
    }


def test_each_package_holds_what_it_should(built: Path) -> None:
    names = {
        subprocess.run(
            ["rpm", "-qp", "--nosignature", "--qf", "%{NAME}", str(path)],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for path in built.glob("*.rpm")
    }
    assert names == set(PACKAGES)


def test_a_host_may_be_controller_and_compute_node_at_once(everything: Root) -> None:
    assert set(PACKAGES) <= installed(everything)
    everything.check("rpm", "--verify", *PACKAGES)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_metapackage_resolves_by_itself(root: Root, package: str) -> None:
    names = resolve(root, package)
    assert package in names
    assert "openstack-node-common" in names
    assert ("openstack-node-full" in names) is (package == "openstack-node-full")


@pytest.mark.parametrize(
    ("chosen", "agent", "daemon"),
    [
        ((), "openstack-neutron-ovn-agent", True),
        (("openstack-neutron-openvswitch",), "openstack-neutron-openvswitch", False),
        (("openstack-neutron-ovn-metadata-agent",), "openstack-neutron-ovn-metadata-agent", True),
    ],
)
def test_a_compute_node_has_the_agent_that_was_chosen_and_ovns_otherwise(
    root: Root, chosen: tuple[str, ...], agent: str, daemon: bool
) -> None:
    names = resolve(root, "openstack-node-compute", *chosen)
    assert {name for name in names if name.startswith("openstack-neutron-")} == {agent}
    assert ("ovn-host" in names) is daemon


def test_nothing_of_the_next_release_comes_in_by_itself(
    fixture_root: MakeRoot, stand_ins: Path, next_release: Path, built: Path
) -> None:
    root = fixture_root(standins=stand_ins, ours=built, next=next_release)
    resolve(root, "openstack-node-common")
    for name, version in NEXT_RELEASE.items():
        refused = root.dnf("install", f"{name}-{version}")
        assert refused.returncode != 0, name
        assert re.search(rf"conflicts with {name} >= [\d:.]+ provided by {name}-", refused.stderr)
    assert not set(NEXT_RELEASE) & installed(root)


def test_the_check_of_names_says_of_real_metadata_what_dnf_says(
    target: Target, stand_ins: Path, tmp_path: Path
) -> None:
    repository = Repository("standins", stand_ins.as_uri(), gpgcheck=False)
    whole = replace(target, repositories=(*target.repositories, repository))
    needs, own = read_needs([find_spec("openstack-node")], target, PROGRAMS)

    def ask(target: Target) -> list[Finding]:
        found, failed = read_target(target, FolderCache(tmp_path / "cache"))
        assert not failed
        return check(needs, own, FromRepositories(merged(found.values()), "the repositories"))

    findings = ask(whole)
    assert [finding for finding in findings if finding.fatal] == []
    assert {finding.name for finding in findings} == set(
        words("etcd edk2-ovmf swtpm iscsi-initiator-utils grubby driverctl")
    )
    missing = {finding.name for finding in ask(target) if finding.fatal}
    assert {"mariadb-server", "openstack-nova-compute", "openstack-neutron-ovn-agent"} <= missing
    assert not missing & {"python3", "rpm"}


@pytest.fixture
def edited(
    fixture_root: MakeRoot, stand_ins: Path, previous: Path, built: Path
) -> tuple[Root, Path]:
    """A root with the version before, a file of which the operator changed, and ours at hand."""
    root = fixture_root(standins=stand_ins, before=previous, ours=built)
    root.install(*(f"{name}-2024.2.0" for name in PACKAGES))
    changed = root.path / VARIABLES
    changed.write_text(changed.read_text() + "kernel_arguments=quiet\n")
    return root, changed


def test_an_edited_file_survives_an_upgrade(edited: tuple[Root, Path]) -> None:
    root, changed = edited
    text = changed.read_text()
    done = root.dnf("upgrade")
    assert done.returncode == 0, done.stderr
    assert "openstack-node-gpu-2025.1" in done.stdout
    assert changed.read_text() == text
    untouched = root.path / DEVICES
    assert "of the version before" not in untouched.read_text()
    vendors = root.path / "usr/lib/sysctl.d/60-openstack-node.conf"
    assert "of the version before" not in vendors.read_text()


def test_a_file_that_both_changed_stays_and_the_new_one_lies_beside(
    edited: tuple[Root, Path],
) -> None:
    root, _ = edited
    changed = root.path / DEVICES
    changed.write_text("options vfio-pci ids=10de:1028\n")
    root.dnf("upgrade")
    assert changed.read_text() == "options vfio-pci ids=10de:1028\n"
    beside = changed.with_name(changed.name + ".rpmnew")
    assert "of the version before" not in beside.read_text()


def test_removal_leaves_nothing(root: Root) -> None:
    root.install("chrony", "tuned", "python3", "rpm")
    before = files(root)
    root.install(*PACKAGES)
    assert files(root) > before
    done = root.dnf("remove", *PACKAGES)
    assert done.returncode == 0, done.stderr
    assert "scriptlet failed" not in done.stderr + done.stdout
    assert files(root) == before


def test_removal_saves_what_the_operator_wrote(root: Root) -> None:
    root.install("openstack-node-gpu")
    (root.path / DEVICES).write_text("options vfio-pci ids=10de:1028\n")
    own = root.path / "etc/openstack-node/check.d/site.ini"
    own.write_text("[names]\nctl01\n")
    assert root.dnf("remove", *PACKAGES).returncode == 0
    saved = (root.path / DEVICES).with_name(Path(DEVICES).name + ".rpmsave")
    assert saved.read_text() == "options vfio-pci ids=10de:1028\n"
    assert own.exists()


@pytest.fixture
def with_units(root: Root) -> Root:
    """A root in which systemd is installed and the services of the common role have units."""
    root.install("systemd", "chrony", "tuned")
    for name in ("chronyd", "tuned"):
        unit = root.path / f"usr/lib/systemd/system/{name}.service"
        unit.write_text("[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n")
    return root


def enabled(root: Root) -> set[str]:
    wants = root.path / "etc/systemd/system/multi-user.target.wants"
    return {path.name for path in wants.iterdir()} if wants.is_dir() else set()


def test_services_are_enabled_when_the_package_comes_and_stay_as_set_later(
    with_units: Root,
) -> None:
    root = with_units
    root.install("openstack-node-common")
    assert {"chronyd.service", "tuned.service"} <= enabled(root)
    root.check("systemctl", "disable", "tuned.service")
    assert root.dnf("reinstall", "openstack-node-common").returncode == 0
    assert "tuned.service" not in enabled(root)


def test_node_check_names_what_a_fresh_host_lacks(everything: Root) -> None:
    done = everything.run("node-check", "--json")
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)
    assert found["roles"] == sorted(ROLES)
    missing = {(item["check"], item["what"]) for item in found["missing"]}
    assert not any(check == "packages" for check, _ in missing), missing
    assert ("tuned", "all") in missing
    assert ("units", "all") in missing


def test_node_check_names_a_package_that_is_not_there(everything: Root) -> None:
    own = everything.path / "etc/openstack-node/check.d/site.ini"
    own.write_text("[packages]\nchrony\nsomething-of-this-site\n")
    done = everything.run("node-check", "--role", "site")
    own.unlink()
    assert done.returncode == 1
    assert "1 of 2 things" in done.stdout
    assert "packages: something-of-this-site: not installed" in done.stdout


def test_node_check_tells_the_kernel_arguments_of_a_gpu_node(everything: Root) -> None:
    told = everything.check("node-check", "--role", "gpu", "--kernel-arguments").split()
    assert {"iommu=pt", "intel_iommu=on", "modprobe.blacklist=nouveau"} <= set(told)


@pytest.fixture(scope="session")
def public_key(signer: Signer) -> str:
    return signer.public_key()


def release_sources(folder: Path, url: str, key: str) -> Path:
    write_release(folder, url, key, datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC))
    return folder / f"{RELEASE}.spec"


def test_to_use_the_repository_its_package_is_enough(
    builder: Builder, tmp_path: Path, public_key: str, fixture_root: MakeRoot
) -> None:
    url = "http://10.20.0.3:8080/rpm/fixture-1"
    spec = release_sources(tmp_path / "release", url, public_key)
    release = builder(spec, "release")
    root = fixture_root(release=release)
    done = root.dnf("install", RELEASE)
    assert f"{RELEASE}-20260504.030201-1" in done.stdout, done.stderr
    text = (root.path / "etc/yum.repos.d/rackseed.repo").read_text()
    server = (root.path / "etc/dnf/vars/rackseed_server").read_text()
    assert server == "http://10.20.0.3:8080\n"
    assert text.replace("$rackseed_server", server.strip()) == (
        (tmp_path / "release/rackseed.repo").read_text()
    )
    assert "$rackseed_server/rpm/" in text
    assert (root.path / "etc/pki/rpm-gpg/RPM-GPG-KEY-rackseed").read_text() == public_key


@pytest.fixture(scope="module")
def release(
    builder: Builder, built: Path, signer: Signer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """The metapackages are served, signed; this is where the release package lies."""
    top = tmp_path_factory.mktemp("served")
    with serving(top) as server:
        url = f"{server}/rpm/fixture-1"
        publish(
            Change(tuple(built.glob("*.rpm")), url=url), top / "rpm/fixture-1", signer, PROGRAMS
        )
        yield builder(release_sources(top / "release", url, signer.public_key()), "served")


@pytest.mark.parametrize("package", PACKAGES)
def test_each_is_installed_by_the_release_package_with_both_checks(
    release: Path, stand_ins: Path, fixture_root: MakeRoot, package: str
) -> None:
    root = fixture_root(standins=stand_ins, release=release)
    root.install(RELEASE)
    text = (root.path / "etc/yum.repos.d/rackseed.repo").read_text()
    assert {"gpgcheck=1", "repo_gpgcheck=1"} <= set(text.splitlines())
    done = root.own_dnf("install", package)
    assert done.returncode == 0, done.stderr
    assert "scriptlet failed" not in done.stderr + done.stdout
    assert installed(root) & set(PACKAGES) == {package, *NEEDED[package]}


def test_a_host_asks_the_server_that_its_operator_wrote_down(
    release: Path, stand_ins: Path, fixture_root: MakeRoot
) -> None:
    root = fixture_root(standins=stand_ins, release=release)
    root.install(RELEASE)
    (root.path / "etc/dnf/vars/rackseed_server").write_text("http://127.0.0.1:1\n")
    gone = root.own_dnf("install", "openstack-node-gpu")
    assert gone.returncode != 0
    assert "http://127.0.0.1:1/rpm/fixture-1/current/mirrorlist" in gone.stderr


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("repo_gpgcheck=1", "repo_gpgcheck=0", "metadata is not verified"),
        ("\ngpgcheck=1", "\ngpgcheck=0", "packages are not verified"),
        ("file:///etc/pki", "http://10.20.0.3/pki", "the key is not file:///etc/pki"),
    ],
)
def test_a_repository_file_without_signatures_is_not_packaged(
    builder: Builder, tmp_path: Path, public_key: str, old: str, new: str, sentence: str
) -> None:
    spec = release_sources(tmp_path / "release", "http://10.20.0.3/rpm", public_key)
    file = spec.with_name("rackseed.repo")
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(BuildFailed, match=f"error: rackseed.repo: .*{sentence}"):
        builder(spec, f"refused-{sentence.split()[0]}")


LINT = """
import shutil
which = shutil.which
shutil.which = lambda name, *more: None if name == "rpm2archive" else which(name, *more)
from rpmlint.cli import lint
lint()
"""
"""rpmlint without rpm2archive, which packs with gzip what is unpacked at once: half of its time."""

MEMORY = Path("/dev/shm")
"""Where it unpacks: a disk is slow for ten thousands of small files."""


def lint(packages: Sequence[Path]) -> str:
    require_tool("cpio")
    argv = [sys.executable, "-c", LINT, "--config", str(RPMLINT), *map(str, packages)]
    scratch = {"TMPDIR": str(MEMORY)} if MEMORY.is_dir() and has_room(MEMORY) else {}
    environment = {**os.environ, **scratch}
    return subprocess.run(argv, check=False, capture_output=True, text=True, env=environment).stdout


def has_room(folder: Path) -> bool:
    """For two unpacked packages."""
    return shutil.disk_usage(folder).free > 2 << 30


def findings(said: str) -> list[str]:
    """The lines that find something; that all was looked at is in the last."""
    assert " 0 specfiles checked; " in said, said
    return [line for line in said.splitlines() if re.search(r": [WE]: ", line)]


def test_rpmlint_has_nothing_to_say_of_the_release_package(
    builder: Builder, tmp_path: Path, public_key: str
) -> None:
    spec = release_sources(tmp_path / "release", "http://10.20.0.3/rpm", public_key)
    assert findings(lint([*builder(spec, "linted").glob("*.rpm")])) == []


def test_rpmlint_has_nothing_to_say_of_all_others(our_packages: Sequence[Path]) -> None:
    large = sorted(our_packages, key=lambda rpm: rpm.stat().st_size, reverse=True)
    halves = [large[0::2], large[1::2]]
    with ThreadPoolExecutor(len(halves)) as threads:
        said = list(threads.map(lint, halves))
    for half, text in zip(halves, said, strict=True):
        assert f" {len(half)} packages and " in text
        assert findings(text) == []


def test_rpmlint_finds_a_changelog_that_was_forgotten(tmp_path: Path) -> None:
    changelog = "%changelog\n* Fri Nov 20 2026 Somebody <s@example.org> - 1-1\n- First\n"
    tags = f"BuildArch: noarch\n{changelog}"
    (found,) = (
        line
        for line in findings(lint([make_rpm(tmp_path, "tool", "2", tags=tags)]))
        if "changelog" in line
    )
    assert "incoherent-version-in-changelog 1-1" in found
