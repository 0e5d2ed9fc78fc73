"""The program behind the servers, with a real store."""

import base64
import gzip
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from types import MappingProxyType

import pytest
from sqlalchemy import event

from provision import boots
from provision import site as site_module
from provision.arming import NotArmed, arm, disarm
from provision.lifecycle import HostState
from provision.site import CLAIM_S, INSPECTION_BOUND, InventorySite
from provision.store import Store, StoreUnusable
from provision.store.events import ALARM, BOOT_TARGET
from provision.store.schema import metadata
from pxe.addresses import MacAddress
from pxe.boot import Kernel, LocalDisk, UnknownMachine
from pxe.http.report import decode_report
from pxe.reservation import Lease
from pxe.settings import DhcpMode
from pxe.site import Answer, Observation, Outcome, Refusal, Report, ReportKind, Service, Site
from tests.unit.provision.racks import HOSTS, IMAGE, inventory, mac_of
from tests.unit.provision.test_store import ROOT

S = HostState
URL = "http://10.20.0.1"
MAC = {name: mac_of(n) for n, name in enumerate(HOSTS, start=1)}
AT = {name: IPv4Address(f"10.20.0.{10 + n}") for n, name in enumerate(HOSTS, start=1)}
STRANGER = MacAddress.parse("52:54:00:ff:00:01")
GUEST = IPv4Address("10.20.3.7")


class Clock:
    """A clock that tests turn."""

    def __init__(self):
        self.now = datetime(2026, 5, 4, tzinfo=UTC)

    def __call__(self):
        return self.now

    def turn(self, **how):
        self.now += timedelta(**how)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store_url(tmp_path):
    return f"sqlite:///{tmp_path}/store.db"


@pytest.fixture
def store(store_url):
    with Store(store_url) as store:
        yield store


@pytest.fixture
def site(tmp_path, store, clock):
    return InventorySite(inventory(tmp_path), store, clock)


@pytest.fixture(autouse=True)
def each_boot_is_new(monkeypatch):
    """Tests boot a host many times within the seconds that count as one boot."""
    monkeypatch.setattr(boots, "SAME_BOOT_S", 0)


def boot(site, name):
    return site.boot_targets([(MAC[name], AT[name])], URL)[0]


def word(target, key):
    """The value of a word on the kernel command line."""
    assert isinstance(target, Kernel), target
    return next(w.removeprefix(f"{key}=") for w in target.arguments if w.startswith(f"{key}="))


def token(url):
    return url.rpartition("/")[2]


def answer_token(target):
    for key in ("rackseed.answer", "inst.ks", "url", "cloud-config-url"):
        for argument in target.arguments:
            if argument.startswith(f"{key}="):
                return token(argument)
    raise AssertionError(target)


def kinds(store, host=None, *kinds):
    store.observer.flush()
    return [event.kind for event in store.events(host, kinds=kinds) if event.kind != BOOT_TARGET]


def begin_installation(site, store, name="img"):
    """Arm, boot, fetch; the report's token."""
    arm(store, [name])
    target = boot(site, name)
    opened = site.answer(answer_token(target), AT[name])
    assert isinstance(opened, Answer), opened
    site.answer_delivered(answer_token(target))
    if name == "img":
        return token(word(target, "rackseed.report"))
    return token(opened.body.decode().split()[-1])


def test_it_is_what_the_servers_ask_for(site):
    servers_side: Site = site
    needed = {name for name in dir(Site) if not name.startswith("_")}
    assert needed <= set(dir(servers_side))


def test_reservations_come_from_the_inventory(site):
    assert site.reservation(MAC["kick"]).address == AT["kick"]
    assert site.reservation_at(AT["kick"]).host == "kick"
    assert site.reservation(STRANGER) is None
    assert site.reservation_at(GUEST) is None


def test_a_new_host_is_inspected_and_then_boots_its_disk(site, store):
    target = boot(site, "kick")
    assert word(target, "rackseed.action") == "inspect"
    assert store.record("kick").state is S.INSPECTING
    report = token(word(target, "rackseed.report"))
    hardware = Report(ReportKind.INSPECTION, data={"memory_mib": 512})
    assert site.report(report, AT["kick"], hardware) is None
    assert store.record("kick").state is S.AVAILABLE
    assert store.inspections("kick")[0].report == {"memory_mib": 512}
    assert boot(site, "kick") == LocalDisk("kick is available, inspected and not armed")


def test_an_inspection_told_twice_is_taken_twice(site, store):
    report = token(word(boot(site, "kick"), "rackseed.report"))
    for _ in range(2):
        assert site.report(report, AT["kick"], Report(ReportKind.INSPECTION)) is None
    assert store.record("kick").state is S.AVAILABLE


def test_an_image_is_deployed_once(site, store):
    arm(store, ["img"])
    target = boot(site, "img")
    assert word(target, "rackseed.action") == "image"
    opened = site.answer(answer_token(target), AT["img"])
    orders = dict(line.split("=", 1) for line in opened.body.decode().splitlines())
    assert orders == {
        "image": f"{URL}/artifacts/debian%2012.img",
        "sha256": hashlib.sha256(IMAGE).hexdigest(),
        "size": str(len(IMAGE)),
        "disk": "largest",
        "compression": "none",
    }
    assert store.record("img").state is S.ARMED
    site.answer_delivered(answer_token(target))
    assert store.record("img").state is S.DEPLOYING
    assert boot(site, "img") == LocalDisk("img is deploying and its arming is used up")
    report = token(word(target, "rackseed.report"))
    assert site.report(report, AT["img"], Report(ReportKind.PROGRESS, "10 %")) is None
    assert site.report(report, AT["img"], Report(ReportKind.INSTALLED)) is None
    assert store.record("img").state is S.ACTIVE
    assert boot(site, "img") == LocalDisk("img is active and not armed")
    assert kinds(store, "img") == ["armed", "answer delivered", "progress", "installed"]


def test_a_host_with_a_seed_is_active_once_its_own_cloud_init_says_so(site, store, tmp_path):
    beside = tmp_path / "artifacts" / "debian 12.img.json"
    beside.write_text('{"raw_size": 4096, "seed": "nocloud"}')
    arm(store, ["img"])
    target = boot(site, "img")
    opened = site.answer(answer_token(target), AT["img"])
    orders = dict(line.split("=", 1) for line in opened.body.decode().splitlines())
    seed = gzip.decompress(base64.b64decode(orders["seed"])).decode("latin-1")
    assert word(target, "rackseed.report") in seed, "it reports under the ramdisk's own URL"
    site.answer_delivered(answer_token(target))
    report = token(word(target, "rackseed.report"))
    assert site.report(report, AT["img"], Report(ReportKind.PROGRESS, "on vda")) is None
    assert isinstance(boot(site, "img"), LocalDisk)
    assert store.record("img").state is S.DEPLOYING
    last = decode_report(b"pub_key_rsa=N%2FA&instance_id=img-1&hostname=img&fqdn=img")
    assert site.report(report, AT["img"], last) is None
    assert store.record("img").state is S.ACTIVE


@pytest.mark.parametrize("name", ["kick", "seed", "auto"])
def test_an_installer_gets_its_template_and_reports_under_the_url_in_it(site, store, name):
    report = begin_installation(site, store, name)
    assert site.report(report, AT[name], Report(ReportKind.INSTALLED)) is None
    assert store.record(name).state is S.ACTIVE


def test_a_role_that_is_only_inspected_is_inspected_again_when_armed(site, store):
    report = token(word(boot(site, "look"), "rackseed.report"))
    site.report(report, AT["look"], Report(ReportKind.INSPECTION))
    assert isinstance(boot(site, "look"), LocalDisk)
    arm(store, ["look"])
    report = token(word(boot(site, "look"), "rackseed.report"))
    assert store.record("look").state is S.INSPECTING
    assert site.report(report, AT["look"], Report(ReportKind.INSPECTION)) is None
    assert isinstance(boot(site, "look"), LocalDisk)


def test_a_second_fetch_of_an_answer_is_refused_and_an_alarm(site, store):
    arm(store, ["img"])
    secret = answer_token(boot(site, "img"))
    site.answer(secret, AT["img"])
    site.answer_delivered(secret)
    for _ in range(3):
        assert site.answer(secret, AT["img"]) == Refusal("the answer was already delivered")
    assert kinds(store, "img", ALARM) == [ALARM]
    assert store.alarms() == {"img": 1}


def test_an_alarm_that_the_store_could_not_take_is_recorded_when_it_can(site, store):
    arm(store, ["img"])
    secret = answer_token(boot(site, "img"))

    def fail(connection):
        raise StoreUnusable("the disk is full")

    event.listen(store.database._engine, "commit", fail)
    with pytest.raises(StoreUnusable):
        site.answer(secret, AT["kick"])
    event.remove(store.database._engine, "commit", fail)
    for _ in range(2):
        assert isinstance(site.answer(secret, AT["kick"]), Refusal)
    assert kinds(store, "img", ALARM) == [ALARM]


def test_an_answer_asked_for_from_elsewhere_is_refused_and_an_alarm(site, store):
    arm(store, ["img"])
    secret = answer_token(boot(site, "img"))
    assert isinstance(site.answer(secret, AT["kick"]), Refusal)
    [alarm] = store.events("img", kinds=(ALARM,))
    assert alarm.address == AT["kick"]
    assert "10.20.0.12" in alarm.reason
    assert isinstance(site.answer(secret, AT["img"]), Answer)


def test_no_token_is_ever_written_down(site, store):
    arm(store, ["kick"])
    target = boot(site, "kick")
    secret = answer_token(target)
    opened = site.answer(secret, AT["kick"])
    site.answer_delivered(secret)
    report = token(opened.body.decode().split()[-1])
    site.report(report, AT["kick"], Report(ReportKind.PROGRESS, "x"))
    site.answer(secret, AT["img"])
    store.observer.flush()
    with store.database.reading() as connection:
        tables = metadata.sorted_tables
        written = "".join(str(connection.execute(table.select()).all()) for table in tables)
    assert "kick" in written
    assert secret not in written
    assert report not in written


def test_a_new_boot_script_withdraws_the_one_before(site, store):
    arm(store, ["img"])
    old, new = boot(site, "img"), boot(site, "img")
    refused = site.answer(answer_token(old), AT["img"])
    assert isinstance(refused, Refusal)
    assert "withdrawn" in refused.reason
    assert isinstance(site.answer(answer_token(new), AT["img"]), Answer)
    old_report = token(word(old, "rackseed.report"))
    assert "withdrawn" in site.report(old_report, AT["img"], Report(ReportKind.FAILED)).reason


def test_a_script_fetched_twice_in_one_boot_keeps_its_urls(tmp_path, store, clock, monkeypatch):
    monkeypatch.setattr(boots, "SAME_BOOT_S", 60)
    site, other_process = (InventorySite(inventory(tmp_path), store, clock) for _ in range(2))
    arm(store, ["img"])
    first = boot(site, "img")
    assert boot(site, "img") == first
    newer = boot(other_process, "img")
    assert newer != first
    again = boot(site, "img")
    assert again not in (first, newer)
    assert isinstance(site.answer(answer_token(again), AT["img"]), Answer)
    disarm(store, ["img"])
    assert word(boot(site, "img"), "rackseed.action") == "inspect"


def test_an_old_answer_is_refused(site, store, clock):
    arm(store, ["img"])
    secret = answer_token(boot(site, "img"))
    clock.turn(hours=1, seconds=1)
    assert "older than" in site.answer(secret, AT["img"]).reason


def test_while_an_answer_is_delivered_nobody_else_gets_it(site, store, monkeypatch):
    arm(store, ["img"])
    secret = answer_token(boot(site, "img"))
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda _: site.answer(secret, AT["img"]), range(8)))
    assert sum(isinstance(one, Answer) for one in got) == 1
    refused = [one for one in got if isinstance(one, Refusal)]
    assert all(one.again and "being delivered" in one.reason for one in refused)
    site.answer_delivered(secret)
    assert not site.answer(secret, AT["img"]).again


def test_of_many_processes_one_delivers_an_answer(site, store, store_url, tmp_path, clock):
    arm(store, ["img"])
    secret = answer_token(boot(site, "img"))
    with Store(store_url) as other_store:
        other = InventorySite(inventory(tmp_path), other_store, clock)
        with ThreadPoolExecutor(8) as pool:
            got = list(pool.map(lambda one: one.answer(secret, AT["img"]), [site, other] * 4))
    assert sum(isinstance(one, Answer) for one in got) == 1


@pytest.mark.parametrize("turned", [CLAIM_S, -3600])
def test_a_client_that_lost_the_answer_may_ask_again_soon(site, store, clock, turned):
    arm(store, ["img"])
    secret = answer_token(boot(site, "img"))
    assert isinstance(site.answer(secret, AT["img"]), Answer)
    clock.turn(seconds=CLAIM_S - 1)
    assert isinstance(site.answer(secret, AT["img"]), Refusal)
    clock.turn(seconds=turned - CLAIM_S + 1)
    assert isinstance(site.answer(secret, AT["img"]), Answer)


def test_an_answer_withdrawn_while_it_is_made_is_not_given_out(site, store, monkeypatch):
    arm(store, ["img"])
    secret = answer_token(boot(site, "img"))
    made = site._body

    def disarmed_meanwhile(*arguments):
        disarm(store, ["img"])
        return made(*arguments)

    monkeypatch.setattr(site, "_body", disarmed_meanwhile)
    assert isinstance(site.answer(secret, AT["img"]), Refusal)


KILLED = """
import os, signal, sys
from datetime import datetime
from ipaddress import IPv4Address
from pathlib import Path
from provision.site import InventorySite
from provision.store import Store
from tests.unit.provision.racks import inventory
rack = inventory(Path(sys.argv[1]))
then = datetime.fromisoformat(sys.argv[3])
site = InventorySite(rack, Store(sys.argv[4]), lambda: then)
print(site.answer(sys.argv[2], IPv4Address("10.20.0.11")), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_server_killed_in_a_delivery_leaves_the_answer_to_the_next(
    site, store, store_url, clock, tmp_path
):
    arm(store, ["img"])
    secret = answer_token(boot(site, "img"))
    child = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), secret, clock().isoformat(), store_url],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
    )
    assert child.stdout.startswith(b"Answer("), child.stderr
    assert child.returncode == -signal.SIGKILL
    assert isinstance(site.answer(secret, AT["img"]), Refusal)
    clock.turn(seconds=CLAIM_S)
    assert isinstance(site.answer(secret, AT["img"]), Answer)
    site.answer_delivered(secret)
    assert store.record("img").state is S.DEPLOYING


def test_a_delivery_that_the_store_missed_is_stored_as_soon_as_it_is_back(site, store, monkeypatch):
    monkeypatch.setattr(site_module, "RETRY_S", 0.05)
    arm(store, ["img"])
    secret = answer_token(boot(site, "img"))
    site.answer(secret, AT["img"])
    writing, calls = store.database.writing, []

    def gone_for_a_while(**how):
        calls.append(how)
        if len(calls) <= 3:
            raise StoreUnusable("the store is gone")
        return writing(**how)

    monkeypatch.setattr(store.database, "writing", gone_for_a_while)
    site.answer_delivered(secret)
    assert store.record("img").state is S.ARMED
    for _ in range(100):
        if store.record("img").state is S.DEPLOYING:
            break
        time.sleep(0.05)
    assert store.record("img").state is S.DEPLOYING


def test_an_answer_delivered_twice_moves_the_host_once(site, store):
    arm(store, ["img"])
    secret = answer_token(boot(site, "img"))
    site.answer(secret, AT["img"])
    site.answer_delivered(secret)
    site.answer_delivered(secret)
    assert kinds(store, "img", "answer delivered", ALARM) == ["answer delivered", ALARM]


def test_disarming_during_delivery_is_an_alarm(site, store):
    arm(store, ["img"])
    secret = answer_token(boot(site, "img"))
    site.answer(secret, AT["img"])
    disarm(store, ["img"])
    site.answer_delivered(secret)
    assert store.record("img").state is S.ENROLLED
    assert store.alarms() == {"img": 1}


def test_an_answer_that_cannot_be_made_does_not_use_the_arming_up(site, store, tmp_path):
    arm(store, ["kick"])
    secret = answer_token(boot(site, "kick"))
    template = (tmp_path / "answer.j2").read_text()
    (tmp_path / "answer.j2").write_text("{{ nothing }}")
    assert "'nothing' is undefined" in site.answer(secret, AT["kick"]).reason
    (tmp_path / "answer.j2").write_text(template)
    assert isinstance(site.answer(secret, AT["kick"]), Answer)


def test_a_changed_image_has_a_new_sum(site, store, tmp_path):
    site.prepare()
    (tmp_path / "artifacts" / "debian 12.img").write_bytes(b"other")
    arm(store, ["img"])
    body = site.answer(answer_token(boot(site, "img")), AT["img"]).body.decode()
    assert f"sha256={hashlib.sha256(b'other').hexdigest()}\nsize=5\n" in body


@pytest.mark.parametrize(
    ("kind", "state"), [(ReportKind.INSTALLED, S.ACTIVE), (ReportKind.FAILED, S.FAILED)]
)
def test_a_last_report_repeated_changes_nothing_and_is_welcome(site, store, kind, state):
    report = begin_installation(site, store)
    for _ in range(3):
        assert site.report(report, AT["img"], Report(kind, "done")) is None
    assert store.record("img").state is state
    assert kinds(store, "img", kind.value) == [kind.value]
    other = Report(ReportKind.FAILED if kind is ReportKind.INSTALLED else ReportKind.PROGRESS)
    assert "ended with" in site.report(report, AT["img"], other).reason
    assert store.record("img").state is state


def test_an_installation_that_failed_and_was_resumed_on_the_host_is_installed(site, store):
    report = begin_installation(site, store)
    assert site.report(report, AT["img"], Report(ReportKind.FAILED, "step 40 failed")) is None
    for _ in range(2):
        assert site.report(report, AT["img"], Report(ReportKind.INSTALLED, "all done")) is None
    assert store.record("img").state is S.ACTIVE
    assert site.report(report, AT["img"], Report(ReportKind.FAILED)) is not None


def test_a_host_that_failed_and_was_armed_again_is_not_installed_by_its_old_session(site, store):
    report = begin_installation(site, store)
    assert site.report(report, AT["img"], Report(ReportKind.FAILED)) is None
    arm(store, ["img"])
    refused = site.report(report, AT["img"], Report(ReportKind.INSTALLED))
    assert "ended with 'failed'" in refused.reason
    assert store.record("img").state is S.ARMED


def test_a_host_whose_delivery_was_never_noted_is_installed_by_its_own_report(site, store):
    arm(store, ["img"])
    target = boot(site, "img")
    secret, report = answer_token(target), token(word(target, "rackseed.report"))
    assert isinstance(site.answer(secret, AT["img"]), Answer)
    # Here the server is killed: the machine has its answer, and nobody wrote that down.
    assert site.report(report, AT["img"], Report(ReportKind.INSTALLED)) is None
    assert store.record("img").state is S.ACTIVE
    assert isinstance(boot(site, "img"), LocalDisk)
    assert isinstance(site.answer(secret, AT["img"]), Refusal)


def test_a_host_that_is_not_armed_cannot_call_itself_installed(site, store):
    report = token(word(boot(site, "kick"), "rackseed.report"))
    refused = site.report(report, AT["kick"], Report(ReportKind.INSTALLED))
    assert "a host that is inspecting does not know 'installed'" in refused.reason
    assert store.record("kick").state is S.INSPECTING


def test_a_report_from_elsewhere_is_refused_and_an_alarm(site, store):
    report = begin_installation(site, store)
    refused = site.report(report, AT["kick"], Report(ReportKind.INSTALLED))
    assert "10.20.0.12" in refused.reason
    assert store.record("img").state is S.DEPLOYING
    assert store.alarms() == {"img": 1}


@pytest.mark.parametrize(
    "data", [{"x": "y" * INSPECTION_BOUND}, {"x": float("nan")}, {"x": object()}]
)
def test_an_unfit_inspection_is_refused(site, store, data):
    report = token(word(boot(site, "kick"), "rackseed.report"))
    refused = site.report(report, AT["kick"], Report(ReportKind.INSPECTION, data=data))
    assert "inspection" in refused.reason
    assert store.inspections("kick") == []
    assert store.record("kick").state is S.INSPECTING


def test_of_repeated_inspections_only_the_one_that_changes_the_state_is_kept_for_ever(site, store):
    report = token(word(boot(site, "kick"), "rackseed.report"))
    for kind in (ReportKind.PROGRESS, *[ReportKind.INSPECTION] * 3, ReportKind.PROGRESS):
        assert site.report(report, AT["kick"], Report(kind)) is None
    told = store.events("kick", kinds=("inspected", "progress"))
    assert [event.observed for event in told] == [True, False, True, True, True]


def test_a_made_up_token_opens_nothing_and_leaves_no_trace(site, store):
    assert isinstance(site.answer("x" * 43, AT["img"]), Refusal)
    assert isinstance(site.report("x" * 43, AT["img"], Report(ReportKind.INSTALLED)), Refusal)
    assert isinstance(site.answer("\udcff", AT["img"]), Refusal)
    site.answer_delivered("\udcff")
    assert kinds(store) == []


def test_a_script_of_another_host_is_not_given_out(site, store):
    arm(store, ["img"])
    got = site.boot_targets([(MAC["img"], AT["kick"])], URL)[0]
    assert got == LocalDisk("img has the address 10.20.0.11, you have 10.20.0.12")
    assert store.alarms() == {"img": 1}


def test_beside_another_dhcp_server_the_address_is_that_servers_to_choose(tmp_path, store, clock):
    rack = inventory(tmp_path, dhcp=DhcpMode.PROXY)
    site = InventorySite(rack, store, clock)
    arm(store, ["img"])
    secret = answer_token(site.boot_targets([(MAC["img"], GUEST)], URL)[0])
    assert isinstance(site.answer(secret, AT["img"]), Refusal)
    assert isinstance(site.answer(secret, GUEST), Answer)


def test_an_unknown_machine_is_inspected_where_discovery_is_allowed(site, store):
    target = site.boot_targets([(STRANGER, GUEST)], URL)[0]
    report = token(word(target, "rackseed.report"))
    assert site.report(report, GUEST, Report(ReportKind.INSPECTION, data={"cpus": 4})) is None
    assert isinstance(site.report(report, GUEST, Report(ReportKind.INSTALLED)), Refusal)
    [inspection] = store.newest_inspections()
    assert (inspection.mac, inspection.host, inspection.report) == (STRANGER, None, {"cpus": 4})
    store.observer.flush()
    events = store.events(mac=STRANGER)
    assert {event.kind for event in events} == {"inspection started", BOOT_TARGET, "inspected"}
    assert all(event.observed for event in events)


def test_an_unknown_machine_elsewhere_gets_a_screen(site, tmp_path, store, clock):
    assert isinstance(
        site.boot_targets([(STRANGER, IPv4Address("10.20.0.200"))], URL)[0], UnknownMachine
    )
    without = InventorySite(inventory(tmp_path, discovery=None), store, clock)
    assert isinstance(without.boot_targets([(STRANGER, GUEST)], URL)[0], UnknownMachine)


def test_many_machines_that_ask_together_each_get_their_own(site, store):
    arm(store, ["img"])
    away = IPv4Address("10.20.0.200")
    asked = [(MAC["img"], AT["img"]), (STRANGER, GUEST), (MAC["kick"], AT["kick"])]
    asked += [(STRANGER, away), (MAC["img"], AT["img"]), (MAC["img"], AT["kick"])]
    img, guest, kick, screen, again, misplaced = site.boot_targets(asked, URL)
    assert isinstance(site.answer(answer_token(img), AT["img"]), Answer)
    assert again == img
    assert word(kick, "rackseed.action") == word(guest, "rackseed.action") == "inspect"
    assert isinstance(screen, UnknownMachine)
    assert isinstance(misplaced, LocalDisk)
    for machine, target, at in (("kick", kick, AT["kick"]), ("guest", guest, GUEST)):
        report = Report(ReportKind.INSPECTION, data={"cpus": 4})
        assert site.report(token(word(target, "rackseed.report")), at, report) is None, machine
    assert site.boot_targets([], URL) == []


def test_without_its_store_every_host_boots_its_disk(site, store, monkeypatch):
    arm(store, ["img"])

    def gone(*_, **__):
        raise StoreUnusable("the store is gone")

    monkeypatch.setattr(store.database, "reading", gone)
    assert boot(site, "img") == LocalDisk("the boot server cannot read its store")


def test_observations_are_kept_under_the_host_of_their_client_or_address(site, store, clock):
    for client, address in ((MAC["kick"], None), (None, AT["kick"]), (STRANGER, GUEST)):
        site.observe(
            Observation(
                Service.TFTP, Outcome.SERVED, clock(), "ipxe.efi", client=client, address=address
            )
        )
    store.observer.flush()
    assert [event.host for event in store.events()] == ["kick", "kick", None]


def test_leases_are_kept_through_the_site(site, clock):
    mine = Lease(STRANGER, GUEST, clock() + timedelta(hours=1))
    theirs = replace(mine, client=MacAddress.parse("52:54:00:ff:00:02"))
    assert site.keep_leases([mine], []) == [mine]
    assert site.keep_leases([theirs], []) == []
    clock.turn(hours=1)
    assert site.keep_leases([theirs], []) == [theirs]
    assert site.leases() == [theirs]


def test_a_reload_changes_everything_at_once(site, tmp_path):
    rack = inventory(tmp_path)
    fewer = MappingProxyType({"kick": replace(rack.hosts["kick"], address=AT["img"])})
    site.reload(replace(rack, hosts=fewer))
    assert site.reservation(MAC["img"]) is None
    assert site.reservation_at(AT["img"]).host == "kick"


def test_arming_is_all_or_nothing(site, store):
    begin_installation(site, store, "img")
    with pytest.raises(NotArmed, match="img: deploying"):
        arm(store, ["kick", "img"])
    assert store.record("kick").state is S.ENROLLED
    assert [record.state for record in arm(store, ["seed", "kick", "seed"])] == [S.ARMED, S.ARMED]


def test_an_installed_host_is_armed_only_with_force(site, store):
    report = begin_installation(site, store)
    site.report(report, AT["img"], Report(ReportKind.INSTALLED))
    with pytest.raises(NotArmed, match="img: active, the installation would erase it"):
        arm(store, ["img"])
    arm(store, ["img"], force=True)
    assert isinstance(boot(site, "img"), Kernel)
    assert disarm(store, ["img"])[0].state is S.ACTIVE


def test_arming_twice_is_arming_once(store):
    [first] = arm(store, ["img"])
    assert arm(store, ["img"]) == [first]
    assert kinds(store, "img") == ["armed"]


def test_disarming_a_deploying_host_gives_its_installation_up(site, store):
    report = begin_installation(site, store)
    assert disarm(store, ["img"])[0].state is S.FAILED
    assert "withdrawn" in site.report(report, AT["img"], Report(ReportKind.INSTALLED)).reason
    with pytest.raises(NotArmed):
        disarm(store, ["img"])


def test_many_hosts_boot_at_once_from_several_threads(tmp_path, store, clock):
    site = InventorySite(inventory(tmp_path), store, clock)
    arm(store, list(HOSTS[:4]))
    barrier = threading.Barrier(4)

    def install(name):
        barrier.wait()
        target = boot(site, name)
        opened = site.answer(answer_token(target), AT[name])
        site.answer_delivered(answer_token(target))
        return isinstance(opened, Answer)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(install, HOSTS[:4]))
    assert {record.state for record in store.records().values()} == {S.DEPLOYING}
