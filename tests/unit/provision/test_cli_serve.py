"""`rackseed serve` before it serves: what it refuses, and how it says so."""

import gc
import os
import pickle
import signal
import socket
import subprocess
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from provision.arming import arm
from provision.certificate import own_certificate
from provision.cli.main import invoke
from provision.cli.serve import (
    NotPermitted,
    Source,
    hands_out_secrets,
    https_of,
    open_site,
    require_privileges,
    secrets_server,
)
from provision.errors import BadInput
from provision.inventory import views
from provision.inventory.load import load
from provision.site import CLAIM_S, InventorySite
from provision.store import Store
from pxe import serve as server
from pxe.addresses import MacAddress
from pxe.errors import InterfaceUnusable
from pxe.http.server import ssl_context
from pxe.serve import BootServer
from pxe.settings import Settings
from tests.tools import require_tool

INVENTORY = """\
network:
  {interface: nowhere0, subnet: 10.20.0.0/29, gateway: 10.20.0.1, discovery: 10.20.0.3-10.20.0.4}
store: sqlite:///rack.db
roles:
  bare: {install: inspect}
racks:
  r1:
    cmp01: {mac: 52:54:00:aa:00:01, address: 10.20.0.2, role: bare}
"""


CLOUD = INVENTORY.replace("inspect}", "kickstart, os: rocky-9, metapackage: node-compute}").replace(
    "store:", "systems: {rocky-9: {kernel: k, initrd: i}}\nstore:"
)
"""Its only host needs secrets."""


@pytest.fixture
def rack(tmp_path: Path) -> Path:
    path = tmp_path / "rack.yaml"
    path.write_text(INVENTORY)
    return path


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    openssl = require_tool("openssl", package="openssl")
    key, certificate = tmp_path / "boot.key", tmp_path / "boot.pem"
    request = [openssl, "req", "-x509", "-nodes", "-newkey", "ec", "-subj", "/CN=boot"]
    curve = ["-pkeyopt", "ec_paramgen_curve:P-256", "-days", "2"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*request, *curve, *files], check=True, capture_output=True, timeout=60)
    return certificate, key


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--beside", "boot2"], "error: --beside: 'boot2' is not an IPv4 address"),
        (["--certificate", "boot.pem"], "error: --certificate and --key go together"),
        (["--certificate", "no.pem", "--key", "no.key"], "no such file or directory, expected"),
        (["--store", "mysql://me@h/x"], "error: the store mysql://me@h/x is of an unknown kind"),
    ],
)
def test_a_wrong_option_is_misuse_before_anything_else(capsys, rack, options, says):
    assert invoke(["serve", "-i", str(rack), *options]) == 2
    assert says in capsys.readouterr().err
    assert not rack.with_name("rack.db").exists()


def test_without_privileges_it_names_those_that_are_missing():
    require_privileges("Name:\tpython\nCapEff:\t000001ffffffffff\n")
    with pytest.raises(NotPermitted, match=r"needs CAP_NET_ADMIN, CAP_NET_RAW, which"):
        require_privileges("CapEff:\t0000000000000400\n")


def test_the_address_that_it_proposes_is_nobodys(rack):
    assert views.free_address(load(rack)) == IPv4Address("10.20.0.5")


def test_a_certificate_and_its_key_are_taken(pair):
    assert https_of(*pair, 443, 80) is not None


def test_a_key_that_fits_not_is_told_apart_from_no_key(pair, tmp_path):
    certificate, key = pair
    openssl = require_tool("openssl", package="openssl")
    other, locked = tmp_path / "other.key", tmp_path / "locked.key"
    new = [openssl, "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
    subprocess.run([*new, "-out", str(other)], check=True, capture_output=True, timeout=60)
    lock = [openssl, "pkey", "-in", str(key), "-aes256", "-passout", "pass:x", "-out", str(locked)]
    subprocess.run(lock, check=True, capture_output=True, timeout=60)
    with pytest.raises(BadInput, match=r"other\.key is not the key of .*boot\.pem"):
        https_of(certificate, other, 443, 80)
    with pytest.raises(BadInput, match=r"locked\.key is encrypted"):
        https_of(certificate, locked, 443, 80)
    with pytest.raises(BadInput, match="no certificate and its key, expected PEM"):
        https_of(key, key, 443, 80)


def test_a_certificate_is_read_once_for_all_processes(pair, tmp_path):
    https = https_of(*pair, 443, 80)
    for path in pair:
        path.write_text("another")
    sent = pickle.loads(pickle.dumps(https))
    with sent.files() as files:
        ssl_context(*files)
    assert "PRIVATE" not in repr(sent)


def test_an_answer_names_the_key_that_is_served_since_the_last_start(rack, tmp_path):
    administrator = "administrators: {ops: {ssh_keys: [ssh-ed25519 AAAA ops]}}\n"
    rack.write_text(CLOUD.replace("node-compute", "node-full") + administrator)
    loaded = load(rack)
    now = datetime(2026, 5, 4, tzinfo=UTC)
    settings = views.settings(loaded, IPv4Address("10.20.0.1"))
    address = IPv4Address("10.20.0.2")
    bodies, pins = [], []
    with Store(loaded.store) as store:
        arm(store, ["cmp01"], force=True, at=now)
        for n, folder in enumerate(("first", "second")):
            own = own_certificate(tmp_path / folder, settings.address)
            source = secrets_server(settings, https_of(*own, 443, 80))
            later = now + n * timedelta(seconds=CLAIM_S + 1)
            site = InventorySite(loaded, store, lambda later=later: later, source)
            if not bodies:
                (target,) = site.boot_targets([(FIRST, address)], settings.http_url)
                token = " ".join(target.arguments).partition("/answer/")[2].split()[0]
            bodies.append(site.answer(token, address).body.decode())
            pins.append(source.pin)
    assert [[pin in body for pin in pins] for body in bodies] == [[True, False], [False, True]]


def test_https_gets_a_port_of_its_own(pair):
    with pytest.raises(BadInput, match="80 is the port of plain HTTP"):
        https_of(*pair, 80, 80)


FIRST, SECOND = (MacAddress.parse(f"52:54:00:aa:00:0{n}") for n in (1, 2))
ANOTHER_HOST = "    cmp02: {mac: 52:54:00:aa:00:02, address: 10.20.0.5, role: bare}\n"


@pytest.fixture
def source(rack):
    """As it arrives in a process of its own."""
    loaded = load(rack)
    sent = Source(rack, loaded.store, loaded)
    before = signal.getsignal(signal.SIGHUP)
    yield pickle.loads(pickle.dumps(sent))
    signal.signal(signal.SIGHUP, before)
    gc.unfreeze()


def test_secrets_are_handed_out_also_beside_a_role_that_nobody_knows(rack):
    assert not hands_out_secrets(load(rack))
    unknown = "\nroles:\n  odd: {install: kickstart, os: rocky-9, metapackage: nothing-of-ours}"
    hosts = "  r1:\n    old: {mac: 52:54:00:aa:00:09, address: 10.20.0.5, role: odd}"
    rack.write_text(CLOUD.replace("\nroles:", unknown).replace("  r1:", hosts))
    assert hands_out_secrets(load(rack))


def test_an_inventory_arrives_in_another_process_as_it_was(source, rack):
    assert source.inventory == load(rack)
    assert source.inventory.by_mac == load(rack).by_mac
    with pytest.raises(TypeError):
        source.inventory.hosts["x"] = None


def test_a_plane_starts_though_the_file_is_broken_meanwhile(source, rack):
    rack.write_text("network: {")
    with open_site(source, "tftp") as site:
        assert site.reservation(FIRST)


def test_sighup_brings_new_hosts_and_a_comment_is_no_change(source, rack):
    rack.write_text("# ours\n" + INVENTORY + ANOTHER_HOST)
    with open_site(source, "tftp") as site:
        assert site.reservation(SECOND) is None
        os.kill(os.getpid(), signal.SIGHUP)
        assert site.reservation(SECOND)
        # What a plane gets that starts from now on:
        assert SECOND in source.inventory.by_mac


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("network: {", "inventory kept as it was"),
        (INVENTORY.replace("0.3-10.20.0.4", "0.3-10.20.0.3"), "network changed, which needs"),
        (INVENTORY + "artifacts: elsewhere\n", "artifacts changed, which needs"),
        (
            INVENTORY + "systems: {d: {kernel: k, initrd: i, packages: elsewhere}}\n",
            "packages of a system changed, which needs",
        ),
        (
            INVENTORY.replace("store: sqlite:///rack.db", "store: sqlite:////nowhere/other.db"),
            "store changed, which needs",
        ),
        (CLOUD, "a host fetches secrets, by HTTPS alone, which needs"),
    ],
)
def test_sighup_keeps_the_old_inventory_when_it_cannot_go_on_with_the_new(
    source, rack, caplog, text, says
):
    (rack.parent / "elsewhere").mkdir()
    with open_site(source, "tftp") as site:
        rack.write_text(text.replace("10.20.0.2,", "10.20.0.6,"))
        os.kill(os.getpid(), signal.SIGHUP)
        assert says in caplog.text
        assert site.reservation(FIRST).address == IPv4Address("10.20.0.2")


def test_a_taken_tftp_port_is_named_with_the_way_to_find_who_has_it(monkeypatch, rack):
    address = IPv4Address("127.0.0.1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind((str(address), 0))
        monkeypatch.setattr(server, "TFTP_PORT", taken.getsockname()[1])
        boot = BootServer(
            Settings("lo", address, IPv4Network("127.0.0.0/8")), None, {}, rack.parent
        )
        with (
            Store(load(rack).store) as store,
            pytest.raises(InterfaceUnusable, match=r"TFTP cannot listen on 127\.0\.0\.1") as told,
        ):
            server.tftp_server(boot, InventorySite(load(rack), store))
    assert "ss --udp" in told.value.__notes__[0]
