"""The boot server serves a repository, and dnf installs from it with both checks on.

server: wire0 10.9.0.1/24  ====veth====  eth0 10.9.0.2/24 :client
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rpmspecs.repo import Change, publish
from rpmspecs.signing import make_key, open_key
from tests.lab import Lab, Namespace
from tests.repository import PROGRAMS, Client, make_rpm
from tests.tools import require_tool

URL = "http://10.9.0.1/rpm/fixture-1"

INVENTORY = """\
network: {interface: wire0, subnet: 10.9.0.0/24}
systems: {fixture-1: {kernel: vmlinuz, initrd: initrd.img, packages: rpm}}
roles: {any: {install: inspect}}
racks: {r1: {h1: {mac: 52:54:00:12:34:56, address: 10.9.0.9, role: any}}}
store: sqlite:///rack.db
"""


@pytest.fixture(scope="module")
def rack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an inventory and a repository."""
    folder = tmp_path_factory.mktemp("rack")
    (folder / "rack.yaml").write_text(INVENTORY)
    (folder / "artifacts").mkdir()
    key = make_key("Fixture <fixture@example.org>", folder / "gnupg", PROGRAMS)
    made = make_rpm(folder / "made", "served-fixture", "1")
    with open_key(key.fingerprint, [key.home], PROGRAMS) as signer:
        publish(Change((made,), url=URL), folder / "rpm", signer, PROGRAMS)
    return folder


@pytest.fixture(scope="module")
def client(rack: Path) -> Iterator[Namespace]:
    """A machine beside the boot server."""
    with Lab() as lab:
        server, client = lab.namespace("server"), lab.namespace("client")
        lab.cable(server, "wire0", client, "eth0")
        server.address("wire0", "10.9.0.1/24")
        client.address("eth0", "10.9.0.2/24")
        rackseed = Path(sys.executable).with_name("rackseed")
        serve = [rackseed, "serve", "-i", rack / "rack.yaml", "--cache", rack / "cache"]
        server.start(serve).wait_for(f"serving {URL.split('/')[2]}", timeout=240)
        yield client


def curl(client: Namespace, path: str, *options: str) -> str:
    return client.run([require_tool("curl"), "--silent", *options, f"{URL}/{path}"])


def test_dnf_installs_from_the_boot_server(client, tmp_path):
    dnf = Client(tmp_path)
    dnf.use(curl(client, "current/rackseed.repo"))

    with client.inside():
        done = dnf("install", "served-fixture")

    assert done.returncode == 0, done.stderr
    assert dnf.version("served-fixture") == "1"


def test_a_part_and_an_unchanged_file_are_answered_as_for_other_files(client):
    whole = curl(client, "current/repodata/repomd.xml")
    assert curl(client, "current/repodata/repomd.xml", "--range", "0-4") == whole[:5]
    head = curl(client, "current/repodata/repomd.xml", "--head")
    (tag,) = (line.split(": ")[1] for line in head.splitlines() if line.startswith("ETag"))
    known = curl(client, "current/repodata/repomd.xml", "--head", "-H", f"If-None-Match: {tag}")
    assert " 304 " in known.splitlines()[0]


@pytest.mark.parametrize(
    "path", [".lock", "states/.new-x/state.json", "../../rack.yaml", "", "current", "nothing"]
)
def test_nothing_else_is_there(client, path):
    found = curl(client, path, "--path-as-is", "--output", "/dev/null", "-w", "%{http_code}")
    assert found == "404"


def test_it_is_not_served_over_tftp(client, tmp_path):
    tftp = require_tool("atftp")
    name = "rpm/fixture-1/current/repodata/repomd.xml"
    get = [tftp, "--get", "--remote-file", name, "--local-file", str(tmp_path / "x"), "10.9.0.1"]
    client.run(get, status=None)
    assert not (tmp_path / "x").exists() or (tmp_path / "x").stat().st_size == 0
