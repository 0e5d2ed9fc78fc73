"""Packages are looked for in a tree that can be reached: over HTTP, or where we serve it."""

import gzip
import hashlib
import lzma
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from provision.inventory.load import load
from provision.verify_names import verify_names
from tests.unit.provision.test_kickstarts import KEY

RACK = """\
network: {{interface: br-prov, subnet: 10.20.0.0/22, server: 10.20.0.3}}
administrators: {{ada: {{ssh_keys: ["{key}"]}}}}
store: sqlite:///store.db
systems:
  rocky-9: {{kernel: k, initrd: i, tree: "{tree}"}}
  debian-13: {{kernel: k, initrd: i, tree: "{deb}"}}
  ubuntu-24.04: {{kernel: k, initrd: i, tree: "{deb}", arguments: ["url=http://10.20.0.3/u.iso"]}}
roles:
  rpm: {{install: kickstart, os: rocky-9, more_packages: [vim-enhanced, "@development"]}}
  deb: {{install: preseed, os: debian-13, more_packages: [lldpd]}}
  auto: {{install: autoinstall, os: ubuntu-24.04, more_packages: [htop]}}
racks:
  r1:
    one: {{mac: "52:54:00:aa:00:01", address: 10.20.0.11, role: rpm}}
    two: {{mac: "52:54:00:aa:00:02", address: 10.20.0.12, role: rpm}}
    deb: {{mac: "52:54:00:aa:00:03", address: 10.20.0.13, role: deb}}
    auto: {{mac: "52:54:00:aa:00:04", address: 10.20.0.14, role: auto}}
"""
BASE = ("chrony", "firewalld", "openssh-server", "curl")
DEB = ("openssh-server", "sudo", "chrony", "curl")
TREEINFO = """\
[general]
name = Rocky Linux 9
[variant-BaseOS]
repository = .
[variant-AppStream]
repository = ../../../AppStream/x86_64/os
"""


def write_repository(folder: Path, names: tuple[str, ...]) -> None:
    """A repository's metadata, as createrepo_c writes it."""
    packages = "".join(
        f"<package type='rpm'><name>{name}</name><arch>x86_64</arch>"
        "<version epoch='0' ver='1' rel='1'/><format xmlns:rpm='http://linux.duke.edu/metadata/rpm'>"
        f"<rpm:provides><rpm:entry name='{name}'/></rpm:provides></format></package>"
        for name in names
    )
    primary = gzip.compress(
        f"<metadata xmlns='http://linux.duke.edu/metadata/common'>{packages}</metadata>".encode()
    )
    digest = hashlib.sha256(primary).hexdigest()
    (folder / "repodata").mkdir(parents=True)
    (folder / "repodata" / "primary.xml.gz").write_bytes(primary)
    (folder / "repodata" / "repomd.xml").write_text(
        "<repomd xmlns='http://linux.duke.edu/metadata/repo'><data type='primary'>"
        f"<checksum type='sha256'>{digest}</checksum>"
        "<location href='repodata/primary.xml.gz'/></data></repomd>"
    )


def write_archive(folder: Path, part: str, *names: str) -> None:
    listed = "".join(f"Package: {name}\nVersion: 1\nProvides: {name}-x (= 1)\n\n" for name in names)
    place = folder / "dists" / part / "binary-amd64"
    place.mkdir(parents=True)
    (place / "Packages.xz").write_bytes(lzma.compress(listed.encode()))


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, str]]:
    """A mirror's folder and its URL."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "artifacts"
    tree = folder / "rocky/9/BaseOS/x86_64/os"
    write_repository(tree, BASE)
    (tree / ".treeinfo").write_text(TREEINFO)
    write_repository(folder / "rocky/9/AppStream/x86_64/os", ("vim-enhanced",))
    write_archive(folder / "debian", "trixie/main", *DEB, "lldpd")
    for part, names in (
        ("main", DEB),
        ("restricted", ()),
        ("universe", ["htop"]),
        ("multiverse", ()),
    ):
        write_archive(folder / "debian", f"noble/{part}", *names)
    handler = partial(_Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def rack(folder: Path, url: str, text: str = RACK):
    path = folder / "rack.yaml"
    made = text.format(key=KEY, tree=f"{url}/rocky/9/BaseOS/x86_64/os/", deb=f"{url}/debian/")
    path.write_text(made, encoding="utf-8")
    return load(path)


def test_every_package_is_found_in_a_tree_and_its_variants(tmp_path, mirror):
    assert verify_names(rack(tmp_path, mirror[1])) == []


def test_a_misspelt_package_is_told_once_with_the_nearest(tmp_path, mirror):
    text = RACK.replace("vim-enhanced", "vim-enhaced").replace("lldpd", "lldp")
    text = text.replace("[htop]", "[htpo]")
    rpm, deb, auto = verify_names(rack(tmp_path, mirror[1], text))
    assert rpm.text.endswith(
        f"rack.yaml:9: roles.rpm: the package vim-enhaced is not in "
        f"{mirror[1]}/rocky/9/BaseOS/x86_64/os/, expected it there"
    )
    assert rpm.hint == "did you mean 'vim-enhanced'?"
    assert deb.hint == "did you mean 'lldpd'?"
    assert auto.hint == "did you mean 'htop'?"


def test_a_tree_that_we_serve_is_read_where_it_lies(tmp_path, mirror):
    text = RACK.replace("vim-enhanced", "vim-enhaced")
    (problem,) = verify_names(rack(tmp_path, "http://10.20.0.3/artifacts", text))
    assert "the package vim-enhaced is not in http://10.20.0.3/artifacts/rocky" in problem.message


def test_a_mirror_that_is_away_is_no_mistake_of_the_inventory(tmp_path, mirror, caplog):
    assert verify_names(rack(tmp_path, "http://127.0.0.1:9")) == []
    assert "names of packages are not checked system=rocky-9: " in caplog.text
    assert "names of packages are not checked system=debian-13: " in caplog.text


def test_metadata_that_is_none_is_no_crash(tmp_path, mirror, caplog):
    folder, url = mirror
    (folder / "rocky/9/BaseOS/x86_64/os/repodata/repomd.xml").write_text("<nonsense")
    (folder / "debian/dists/trixie/main/binary-amd64/Packages.xz").write_bytes(b"nonsense")
    assert verify_names(rack(tmp_path, url)) == []
    assert caplog.text.count("names of packages are not checked") == 2
