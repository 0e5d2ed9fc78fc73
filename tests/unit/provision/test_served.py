"""What was served is kept without its secrets, and compared with what would be served now."""

import json
from ipaddress import IPv4Address

import pytest

from provision import served
from provision.arming import arm
from provision.cli.main import invoke
from provision.inventory.load import load
from provision.lifecycle import HostState
from provision.site import InventorySite
from provision.store import Store, StoreUnusable
from provision.store import served as kept
from pxe.addresses import MacAddress
from pxe.site import Answer
from tests.unit.provision.test_kickstarts import RACK, SECRETS, URL, words, write_rack

HASH = "$6$saltsalt$" + "A" * 86
CMP = MacAddress.parse("52:54:00:aa:00:02")
AT = IPv4Address("10.20.0.12")
TEMPLATE = f"""\
url --url=http://mirror.example.org/
rootpw --iscrypted {HASH}
user --name=ada --password "hunter2 and more"
DB_PASSWORD='swordfish'
network --hostname={{{{ fqdn }}}}
"""


@pytest.fixture
def rack(tmp_path):
    path = write_rack(tmp_path)
    assert invoke(["secrets", "init", "-i", str(path)]) == 0
    return path


def install(path, mac=CMP, address=AT) -> str:
    """Fetch one host's answer as its installer would; the answer's text."""
    loaded = load(path)
    with Store(loaded.store) as store:
        site = InventorySite(loaded, store, secrets=SECRETS)
        arm(store, [loaded.by_mac[mac].name])
        (target,) = site.boot_targets([(mac, address)], URL)
        token = words(target)["inst.ks"].rpartition("/")[2]
        answer = site.answer(token, address)
        assert isinstance(answer, Answer)
        site.answer_delivered(token)
        assert store.records()[loaded.by_mac[mac].name].state is HostState.DEPLOYING
    return answer.body.decode()


def diff_of(path, capsys, *more) -> str:
    capsys.readouterr()
    assert invoke(["plan", "cmp01", "--diff", *more, "-i", str(path)]) == 0
    return capsys.readouterr().out


def test_nothing_is_told_where_nothing_changed(rack, capsys):
    install(rack)
    assert diff_of(rack, capsys).startswith("cmp01 would be served what it was served at ")
    assert json.loads(diff_of(rack, capsys, "--json"))["diff"] == []


def test_a_change_of_the_inventory_shows_as_the_lines_that_it_changes(rack, capsys):
    install(rack)
    rack.write_text(RACK.replace("cpu_mode: host-passthrough", "cpu_mode: host-model"))
    lines = diff_of(rack, capsys).splitlines()
    assert lines[0].startswith("--- answer of cmp01, served")
    changed = [line for line in lines[2:] if line[0] in "+-"]
    assert changed == ["-CPU_MODE='host-passthrough'", "+CPU_MODE='host-model'"]


def test_a_change_of_the_boot_script_shows_too(rack, capsys):
    install(rack)
    rack.write_text(RACK.replace("initrd: fedora-43/initrd.img}", "initrd: fedora-43/new.img}"))
    shown = diff_of(rack, capsys)
    assert shown.startswith("--- script of cmp01, served")
    assert "fedora-43/new.img" in shown


def test_the_store_holds_no_token_no_hash_and_no_password(rack, capsys):
    text = install(rack)
    tokens = {line.split("'")[1].rpartition("/")[2] for line in text.splitlines()
              if line.strip().startswith((f"'{URL}/", f"'{SECRETS.base_url}/"))}  # fmt: skip
    assert len(tokens) == 2
    whole = (rack.parent / "store.db").read_bytes()
    for secret in (*tokens, HASH, "saltsalt"):
        assert secret.encode() not in whole
    with Store(load(rack).store) as store, store.database.reading() as connection:
        found = kept.find(connection, "cmp01")
    assert found is not None
    assert "--iscrypted --password=***" in found.answer
    assert "inst.ks=http://<this server>/answer/<single-use>" in found.script


def test_an_operators_own_template_is_kept_without_what_may_be_secret(rack, capsys):
    template = rack.parent / "own.ks.j2"
    template.write_text(TEMPLATE)
    text = RACK.replace("plain: {install:", "plain: {answer: own.ks.j2, install:")
    rack.write_text(text.replace("role: compute, firmware: uefi", "role: plain"))
    assert HASH in install(rack)
    with Store(load(rack).store) as store, store.database.reading() as connection:
        found = kept.find(connection, "cmp01")
    assert found is not None
    assert "network --hostname=cmp01.cloud.example.org" in found.answer
    for secret in ("hunter2", "swordfish", "saltsalt", "and more"):
        assert secret not in found.answer
    template.write_text(TEMPLATE.replace("mirror.", "mirror2."))
    changed = [line for line in diff_of(rack, capsys).splitlines()[2:] if line[0] in "+-"]
    assert changed == [
        "-url --url=http://mirror.example.org/", "+url --url=http://mirror2.example.org/"
    ]  # fmt: skip


def test_the_newest_installation_is_what_is_compared_with(rack, capsys):
    install(rack)
    rack.write_text(RACK.replace("cpu_mode: host-passthrough", "cpu_mode: host-model"))
    assert invoke(["disarm", "cmp01", "-i", str(rack)]) == 0
    install(rack)
    assert "would be served what it was" in diff_of(rack, capsys)


def test_a_host_that_was_never_served_has_nothing_to_compare(rack, capsys):
    assert invoke(["plan", "cmp01", "--diff", "-i", str(rack)]) == 2
    assert "cmp01 was not yet served an installation" in capsys.readouterr().err
    assert not (rack.parent / "store.db").exists()
    install(rack)
    assert invoke(["plan", "ctl01", "--diff", "-i", str(rack)]) == 2
    assert invoke(["plan", "--diff", "-i", str(rack)]) == 2


def test_an_answer_goes_out_also_when_it_cannot_be_kept(rack, monkeypatch, caplog):
    def broken(*_):
        raise StoreUnusable("the disk is full")

    monkeypatch.setattr(kept, "keep", broken)
    install(rack)
    assert "what was served is not kept host=cmp01" in caplog.text
    assert served.mask("plain words stay") == "plain words stay"
