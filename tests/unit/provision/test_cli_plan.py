"""`rackseed plan` tells what would happen, and nothing happens."""

import json
import shutil
from pathlib import Path, PurePosixPath

import pytest
from sqlalchemy import func, select

from provision.arming import arm
from provision.cli.main import invoke
from provision.inventory import views
from provision.inventory.load import load
from provision.lifecycle import HostState
from provision.plan import UNKNOWN_SERVER, changes_of, loader_of, plan_host
from provision.store import Store
from provision.store.hosts import HostRecord
from provision.store.schema import events, tokens
from pxe.catalog import script_name

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.fixture
def rack(tmp_path: Path) -> Path:
    shutil.copytree(EXAMPLES, tmp_path / "rack", ignore=shutil.ignore_patterns("*.db*"))
    return tmp_path / "rack" / "rack.yaml"


def facts(capsys, *arguments: str) -> list[dict[str, object]]:
    assert invoke(["plan", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_every_way_to_boot_has_its_program_and_script(rack, capsys):
    assert [
        (f["host"], f["programs"], f["script_name"]) for f in facts(capsys, "-i", str(rack))
    ] == [
        ("ctl01", ["undionly.kpxe"], "ipxe/52:54:00:aa:00:01.ipxe"),
        ("cmp01", ["pxelinux.0", "ldlinux.c32"], "pxelinux.cfg/01-52-54-00-aa-00-02"),
        ("cmp02", ["snponly.efi"], "ipxe/52:54:00:aa:00:03.ipxe"),
        ("cmp03", ["grubx64.efi"], "grub/grub.cfg-01-52-54-00-aa-00-04"),
        ("cmp04", ["shimx64.efi", "grubx64.efi"], "grub/grub.cfg-01-52-54-00-aa-00-05"),
        ("gpu01", ["http://<this server>/snponly.efi"], "ipxe/52:54:00:aa:00:06.ipxe"),
    ]


def test_the_catalog_answers_where_the_plan_says_the_script_is(rack):
    inventory = load(rack)
    settings = views.settings(inventory, UNKNOWN_SERVER)
    for host in inventory.hosts.values():
        plan = plan_host(inventory, host, HostRecord(host.name), settings)
        found = script_name(PurePosixPath(plan.script_name))
        assert (found.loader, found.client) == (loader_of(host), host.mac)


def test_planning_makes_no_store(rack, capsys):
    facts(capsys, "-i", str(rack))
    assert not list(rack.parent.glob("*.db*"))


def test_planning_an_armed_host_makes_and_withdraws_no_token(rack, capsys):
    url = load(rack).store
    with Store(url) as store:
        arm(store, ["cmp04"])
    before = count(url)
    (plan,) = facts(capsys, "cmp04", "-i", str(rack), "--answer")
    assert plan["state"] == "armed"
    assert plan["next_boot"] == "installing cmp04 (centos-stream-9)"
    assert "inst.ks=http://<this server>/answer/<single-use>" in str(plan["script"])
    assert "http://<this server>/report/<single-use>" in str(plan["answer"])
    assert count(url) == before


def count(url: str) -> list[int]:
    with Store(url) as store, store.database.reading() as connection:
        return [
            connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in (tokens, events)
        ]


def test_the_servers_own_address_is_the_inventorys_when_it_says_one(rack, capsys):
    text = rack.read_text(encoding="utf-8").replace("  # server: 10.20.0.3", "  server: 10.20.0.3")
    rack.write_text(text, encoding="utf-8")
    (plan,) = facts(capsys, "gpu01", "-i", str(rack))
    assert plan["programs"] == ["http://10.20.0.3/snponly.efi"]
    assert "<this server>" not in str(plan["script"])


def test_a_table_has_a_line_for_each_host(rack, capsys):
    assert invoke(["plan", "-i", str(rack)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("host   address     firmware   state     boot program  ")
    assert lines[5] == (
        "cmp04  10.20.0.15  uefi+sb    enrolled  shimx64.efi                       inspecting cmp04"
    )


def test_one_host_is_shown_in_full(rack, capsys):
    assert invoke(["plan", "ctl01", "-i", str(rack), "--armed", "--answer"]) == 0
    shown = capsys.readouterr().out
    assert "  changes    armed -> deploying when the answer is fetched\n" in shown
    assert "             deploying -> active when" in shown
    assert "  | #!ipxe" in shown
    assert "hostname=ctl01.cloud.example.org" in shown


def test_an_unknown_host_is_bad_input_with_the_nearest_name(rack, capsys):
    assert invoke(["plan", "ctl1", "-i", str(rack)]) == 2
    assert capsys.readouterr().err.endswith(" hint: did you mean 'ctl01'?\n")


def test_a_store_that_cannot_be_used_is_one_sentence(rack, capsys):
    store = rack.parent / "broken.db"
    store.write_bytes(b"not a database" * 100)
    assert invoke(["plan", "-i", str(rack), "--store", f"sqlite:///{store}"]) == 1
    errors = capsys.readouterr().err
    assert errors.startswith(f"error: the store sqlite:///{store}")
    assert errors.endswith(" hint: without the store:  rackseed plan --armed\n")
    assert invoke(["plan", "-i", str(rack), "--store", f"sqlite:///{store}", "--armed"]) == 0


def test_inventory_and_store_may_come_from_the_environment(rack, capsys, monkeypatch, tmp_path):
    url = f"sqlite:///{tmp_path / 'other.db'}"
    with Store(url) as store:
        arm(store, ["cmp02"])
    monkeypatch.setenv("RACKSEED_INVENTORY", str(rack))
    monkeypatch.setenv("RACKSEED_STORE", url)
    (plan,) = facts(capsys, "cmp02")
    assert plan["state"] == "armed"


CHANGES = {
    HostState.ENROLLED: ["enrolled -> inspecting", "inspecting -> available"],
    HostState.INSPECTING: ["inspecting -> available"],
    HostState.AVAILABLE: [],
    HostState.ARMED: ["armed -> deploying", "deploying -> active"],
    HostState.DEPLOYING: [],
    HostState.ACTIVE: [],
    HostState.FAILED: [],
}


@pytest.mark.parametrize("state", HostState, ids=lambda state: state.value)
def test_what_a_boot_changes_follows_from_the_table_of_states(rack, state):
    host = load(rack).hosts["cmp01"]
    changes = changes_of(host, HostRecord("cmp01", state))
    assert [change.partition(" when ")[0] for change in changes] == CHANGES[state]


def test_an_answer_is_that_of_one_host(capsys, tmp_path):
    assert invoke(["plan", "--answer", "-i", str(tmp_path / "rack.yaml")]) == 2
    assert "--answer shows the answer of one host" in capsys.readouterr().err
