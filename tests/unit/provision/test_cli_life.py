"""`arm`, `disarm`, `status`, `events` and `explain` on a real inventory and a real store."""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from provision.arming import arm
from provision.cli.events import parse_since
from provision.cli.main import invoke
from provision.cli.status import ago
from provision.errors import BadInput
from provision.lifecycle import EventKind, HostState
from provision.store import Store
from provision.store import events as event_table
from provision.store import hosts as host_table
from provision.store.events import ALARM, Event
from pxe.addresses import MacAddress

RACK = """\
network: {interface: br-prov, subnet: 10.20.0.0/22}
store: sqlite:///store.db
roles:
  fast: {install: image, image: debian-12.img}
  look: {install: inspect}
racks:
  r12:
    cmp01: {mac: "52:54:00:aa:00:01", address: 10.20.0.11, role: fast}
    cmp02: {mac: "52:54:00:aa:00:02", address: 10.20.0.12, role: fast}
    new01: {mac: "52:54:00:aa:00:03", address: 10.20.0.13, role: look}
"""
STRANGER = MacAddress.parse("52:54:00:ff:00:01")
ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def rack(tmp_path, monkeypatch):
    path = tmp_path / "rack.yaml"
    path.write_text(RACK)
    monkeypatch.setenv("RACKSEED_INVENTORY", str(path))
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.delenv("RACKSEED_STORE", raising=False)
    time.tzset()
    yield path
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def store(tmp_path):
    with Store(f"sqlite:///{tmp_path}/store.db") as store:
        yield store


@pytest.fixture
def cli(capsys):
    def run(*arguments, status=0):
        assert invoke([*arguments]) == status
        said = capsys.readouterr()
        return said.err if status else said.out

    return run


def append(store, *events):
    with store.database.writing() as connection:
        event_table.append(connection, events)


def make_active(store, host):
    now = datetime.now(UTC)
    with store.database.writing() as connection:
        record = host_table.lock(connection, host, now)
        for kind in (EventKind.ARMED, EventKind.ANSWER_DELIVERED, EventKind.INSTALLED):
            record = host_table.apply(connection, record, kind, Event(now, "site", kind.value))


def test_arming_and_disarming_say_what_will_happen(cli, store):
    assert cli("arm", "cmp01", "new01").splitlines() == [
        "cmp01 armed: its next network boot installs debian-12.img and erases the disk",
        "new01 armed: its next network boot inspects it",
    ]
    assert {name: r.state for name, r in store.records().items()} == {
        "cmp01": HostState.ARMED,
        "new01": HostState.ARMED,
    }
    assert cli("disarm", "cmp01") == "cmp01 disarmed: it is enrolled\n"


def test_arming_tells_facts(cli):
    [facts] = json.loads(cli("arm", "cmp01", "--json"))
    assert (facts["host"], facts["state"], facts["before"]) == ("cmp01", "armed", "enrolled")
    [facts] = json.loads(cli("disarm", "cmp01", "--json"))
    assert (facts["state"], facts["before"]) == ("enrolled", None)


def test_one_unknown_name_and_nothing_is_armed(cli, store):
    said = cli("arm", "cmp01", "cmp1", status=2)
    assert "there is no host 'cmp1'" in said
    assert " hint: did you mean 'cmp01'?" in said
    assert store.records() == {}


def test_an_installed_host_takes_force(cli, store):
    make_active(store, "cmp01")
    said = cli("arm", "cmp02", "cmp01", status=1)
    assert said == (
        "error: cmp01: active, the installation would erase it\n"
        " hint: add --force to install it anew\n"
    )
    assert store.record("cmp02").state is HostState.ENROLLED
    cli("arm", "cmp01", "--force")
    assert store.record("cmp01").state is HostState.ARMED


def test_disarming_what_is_not_armed_is_an_error(cli):
    assert cli("disarm", "cmp01", status=1) == (
        "error: cmp01 is enrolled, not armed: nothing to take back\n"
    )


@pytest.mark.parametrize("command", [["status"], ["events"], ["explain", "cmp01"]])
def test_looking_makes_no_store_and_says_that_there_is_none(capsys, tmp_path, command):
    url = f"sqlite:///{tmp_path}/misspelt/store.db"
    assert invoke([*command, "--store", url]) == 0
    assert f"warning: there is no store {url} yet" in capsys.readouterr().err
    assert not (tmp_path / "misspelt").exists()


@pytest.mark.parametrize("url", ["foo", "mysql://me:hunter2@h/x", "postgresql://me:hunter2@h:x/y"])
def test_a_url_that_names_no_store_is_misuse_and_keeps_its_password(cli, url):
    said = cli("status", "--store", url, status=2)
    assert "expected sqlite:///FILE or postgresql://HOST/NAME" in said
    assert "hunter2" not in said


def test_a_name_between_several_hosts_is_not_decided_for_the_operator(cli):
    said = cli("arm", "cmp0", status=2)
    assert " hint: did you mean 'cmp01' or 'cmp02'?" in said


def test_an_alarm_has_no_colour_where_none_is_wanted(cli, store, monkeypatch):
    append(store, Event(datetime.now(UTC), "site", ALARM, "cmp01", detail={"reason": "twice"}))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert "\x1b[31m" in cli("events")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in cli("events")


def test_the_status_is_a_table_with_alarms_below(cli, store):
    arm(store, ["cmp01"], at=datetime.now(UTC) - timedelta(minutes=5))
    now = datetime.now(UTC)
    append(store, Event(now, "site", ALARM, "cmp01", detail={"reason": "asked for twice"}))
    lines = cli("status").splitlines()
    assert lines[0].split() == ["host", "rack", "role", "state", "since", "alarms", "last", "event"]
    assert lines[1].split()[:7] == ["cmp01", "r12", "fast", "armed", "5", "min", "1"]
    assert lines[2].split() == ["cmp02", "r12", "fast", "enrolled", "-", "-", "-"]
    assert lines[4:] == ["alarm: cmp01: asked for twice (rackseed explain cmp01)"]
    assert cli("status", "cmp02").count("\n") == 2


def test_the_status_tells_facts(cli, store):
    arm(store, ["cmp01"])
    facts = {row["host"]: row for row in json.loads(cli("status", "--json"))}
    assert list(facts) == ["cmp01", "cmp02", "new01"]
    assert facts["cmp01"]["state"] == "armed"
    assert facts["cmp01"]["last_event"]["kind"] == "armed"
    assert facts["cmp02"]["last_event"] is None


def served(second, host="cmp01", mac=None, **detail):
    at = datetime(2026, 5, 4, 12, tzinfo=UTC) + timedelta(seconds=second)
    address = IPv4Address("10.20.0.11")
    return Event(at, "dhcp", "served", host, mac, address, observed=True,
                 detail={"subject": "OFFER", "reason": "reserved for cmp01", **detail})  # fmt: skip


def test_events_are_lines_in_order(cli, store):
    append(store, served(0), served(1, None, STRANGER), served(2, "cmp02"))
    assert [line.split()[1:3] for line in cli("events").splitlines()] == [
        ["12:00:00", "cmp01"],
        ["12:00:01", str(STRANGER)],
        ["12:00:02", "cmp02"],
    ]
    assert len(cli("events", "--limit", "1").splitlines()) == 1
    assert "cmp02" in cli("events", "cmp02")
    assert "12:00:01" in cli("events", "52-54-00-FF-00-01")
    assert cli("events", "--since", "2026-05-04T12:00:02").count("\n") == 1
    assert cli("events", "--since", "1m") == ""
    assert "there is no host 'nobody'" in cli("events", "nobody", status=2)


def test_events_as_json_are_one_document_a_line(cli, store):
    append(store, served(0, bytes=5), served(1))
    first, _ = (json.loads(line) for line in cli("events", "--json").splitlines())
    assert first["detail"]["bytes"] == 5
    assert first["at"] == "2026-05-04T12:00:00+00:00"
    assert first["text"] == "OFFER 10.20.0.11: reserved for cmp01"


def test_what_came_from_the_wire_cannot_steer_the_terminal(cli, store):
    append(store, served(0, reason="\x1b[2J\nfaked line"))
    said = cli("events") + cli("explain", "cmp01") + cli("status")
    assert "\x1b" not in said
    assert not any(line.startswith("faked") for line in said.splitlines())


def test_events_can_be_followed_until_they_are_interrupted(store, rack):
    append(store, served(0))
    code = "from provision.cli.main import main; main()"
    child = subprocess.Popen(
        [sys.executable, "-c", code, "events", "--follow", "--json"],
        stdout=subprocess.PIPE,
        cwd=rack.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        assert json.loads(child.stdout.readline())["host"] == "cmp01"
        append(store, served(1, "cmp02"))
        assert json.loads(child.stdout.readline())["host"] == "cmp02"
        child.send_signal(signal.SIGINT)
        assert child.wait(10) == 130
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def test_explaining_tells_the_boot_and_the_symptom(cli, store):
    append(store, *(served(n, firmware="bios", boot_file="undionly.kpxe") for n in (0, 4, 12)))
    said = cli("explain", "cmp01")
    assert "the newest boot, 2026-05-04 12:00:00:" in said
    assert "12.00 s  dhcp      OFFER 10.20.0.11 and undionly.kpxe to bios: reserved" in said
    assert "offer never requested: 3 offers were sent and none was ever requested" in said
    assert "RFC 2131, 3.1" in said


def test_explaining_tells_facts(cli, store):
    append(store, *(served(n, firmware="bios") for n in (0, 4)))
    facts = json.loads(cli("explain", "cmp01", "--json"))
    assert (facts["host"], facts["state"], len(facts["events"])) == ("cmp01", "enrolled", 2)
    assert [finding["rule"] for finding in facts["findings"]] == ["offer never requested"]


def test_a_machine_outside_the_inventory_is_explained_by_its_mac(cli, store):
    silent = Event(datetime.now(UTC), "dhcp", "silent", mac=STRANGER, observed=True,
                   detail={"subject": "DISCOVER", "reason": "it has no reservation"})  # fmt: skip
    append(store, silent)
    said = cli("explain", str(STRANGER))
    assert said.startswith(f"{STRANGER} is not in the inventory\n")
    assert "met with silence: no question was answered, the last because it has no" in said


def test_a_host_never_seen_is_explained_too(cli):
    said = cli("explain", "cmp02")
    assert "nothing was recorded of it" in said
    assert "never seen: no packet of cmp02 was ever seen" in said


def test_a_store_that_cannot_be_used_is_one_sentence(cli):
    said = cli("status", "--store", "postgresql://me:hush@127.0.0.1:1/x", status=1)
    assert said.startswith("error: the store postgresql://me@127.0.0.1:1/x cannot be reached: ")
    assert said.count("\n") == 1
    assert "hush" not in said


@pytest.mark.parametrize("command", ["arm", "disarm", "status", "events", "explain"])
def test_every_command_shows_an_example(cli, command):
    said = cli(command, "--help")
    assert f"  rackseed {command} " in said
    assert "--json" in said


NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("30s", NOW - timedelta(seconds=30)),
        ("10m", NOW - timedelta(minutes=10)),
        ("10min", NOW - timedelta(minutes=10)),
        ("2h", NOW - timedelta(hours=2)),
        ("1d", NOW - timedelta(days=1)),
        ("2026-05-04T12:00+02:00", NOW - timedelta(hours=2)),
        ("2026-05-04", NOW - timedelta(hours=12)),
    ],
)
def test_a_beginning_is_a_span_or_a_time(text, time):
    assert parse_since(text, NOW) == time


@pytest.mark.parametrize("text", ["", "banana", "10", "-5m", "999999999d", "2026-13-01"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(BadInput, match="is not a time, expected"):
        parse_since(text, NOW)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s"), (119, "119 s"), (120, "2 min"), (7_200, "2 h"), (200_000, "2 d")],
)
def test_a_span_is_told_in_its_largest_fitting_unit(seconds, text):
    assert ago(timedelta(seconds=seconds)) == text
