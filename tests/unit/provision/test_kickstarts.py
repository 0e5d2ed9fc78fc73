"""From an inventory without answers of its own to kickstarts: checked, shown, handed out once."""

import json
import stat
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from kickstarts import installers
from kickstarts.validate import Reading
from provision import verify, verify_answers
from provision.arming import arm
from provision.cli.main import invoke
from provision.deploy import SecretsServer
from provision.errors import AnswerError
from provision.inventory.load import load
from provision.inventory.model import Administrator
from provision.inventory.problems import InventoryInvalid
from provision.inventory.verify import warn
from provision.lifecycle import HostState
from provision.plan import MASKED_PIN
from provision.run import run
from provision.secrets import read_secrets
from provision.site import InventorySite
from provision.store import Store
from pxe.addresses import MacAddress
from pxe.boot import Kernel
from pxe.site import Answer, Refusal, Report, ReportKind
from tests.tools import require_tool

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBHAaD0y3vMjwUX2h8GnZ1rGv7W0hGgJmJzBqkEeuA3q ada@desk"
HASH = "$6$saltsalt$" + "A" * 86
RACK = f"""\
network: {{interface: br-prov, subnet: 10.20.0.0/22, gateway: 10.20.0.1, server: 10.20.0.3}}
cloud: {{domain: cloud.example.org, controller: ctl01, time_servers: [10.20.0.1]}}
administrators:
  ada: {{ssh_keys: ["{KEY}"]}}
  grace: {{password: "{HASH}"}}
secrets: secrets.yaml
store: sqlite:///store.db
systems:
  rocky-9:
    kernel: rocky-9/vmlinuz
    initrd: rocky-9/initrd.img
    tree: http://mirror.example.org/rocky/9/BaseOS/x86_64/os/
  fedora-43: {{kernel: fedora-43/vmlinuz, initrd: fedora-43/initrd.img}}
roles:
  controller: {{install: kickstart, os: rocky-9, metapackage: node-full, layout: raid1}}
  compute:
    install: kickstart
    os: fedora-43
    metapackage: node-compute
    options: {{cpu_mode: host-passthrough}}
  gpu:
    extends: compute
    metapackage: node-gpu
    disk: S3Z1NX0K
    gpu_passthrough: [{{alias: K20m, vendor: "10de", product: "1028"}}]
  plain: {{install: kickstart, os: fedora-43}}
racks:
  r12:
    ctl01: {{mac: "52:54:00:aa:00:01", address: 10.20.0.11, role: controller}}
    cmp01: {{mac: "52:54:00:aa:00:02", address: 10.20.0.12, role: compute, firmware: uefi}}
    gpu01: {{mac: "52:54:00:aa:00:03", address: 10.20.0.13, role: gpu}}
    any01: {{mac: "52:54:00:aa:00:04", address: 10.20.0.14, role: plain}}
"""
URL = "http://10.20.0.3"
SECRETS = SecretsServer("https://10.20.0.3:443", MASKED_PIN)
CTL = MacAddress.parse("52:54:00:aa:00:01")
AT = IPv4Address("10.20.0.11")


def write_rack(folder: Path, text: str = RACK) -> Path:
    path = folder / "rack.yaml"
    path.write_text(text, encoding="utf-8")
    secrets = folder / "secrets.yaml"
    if not secrets.exists():
        secrets.touch(0o600)
    return path


@pytest.fixture
def rack(tmp_path):
    """An inventory whose secrets are made."""
    path = write_rack(tmp_path)
    assert invoke(["secrets", "init", "-i", str(path)]) == 0
    return path


def test_secrets_are_made_once_and_stay_private(rack):
    file = rack.parent / "secrets.yaml"
    before = file.read_text()
    names = read_secrets(file)
    assert {"ADMIN_PASSWORD", "NOVA_DB_PASSWORD", "MIGRATION_SECRET"} <= set(names)
    assert len({each.reveal() for each in names.values()}) == len(names)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert invoke(["secrets", "init", "-i", str(rack)]) == 0
    assert file.read_text() == before


def test_a_weak_or_strange_secret_is_refused_and_not_quoted(tmp_path):
    for text in ("ADMIN_PASSWORD: hunter2\n", 'ADMIN_PASSWORD: "a\'; DROP TABLE users; --"\n'):
        (tmp_path / "s.yaml").write_text(text)
        with pytest.raises(AnswerError, match=r"s\.yaml:1: ADMIN_PASSWORD: expected") as raised:
            read_secrets(tmp_path / "s.yaml")
        assert "hunter2" not in str(raised.value)
        assert "DROP" not in str(raised.value)


def test_nothing_is_wrong_with_a_good_inventory(rack):
    require_tool("shellcheck")
    loaded = load(rack)
    assert verify_answers.verify_secrets(loaded) == []
    assert verify_answers.verify_answers(loaded, run) == []


MISTAKES = [
    (f'\n  ada: {{ssh_keys: ["{KEY}"]}}\n  grace: {{password: "{HASH}"}}', " {}",
     "no answer can be made for ctl01: administrators: expected one at least"),
    ("cpu_mode: host-passthrough", "cpu_mode: fast",
     "for cmp01: role option cpu_mode: expected one of host-model"),
    ("cpu_mode:", "cpu_mood:", "for cmp01: role option cpu_mood: expected one of migration, "),
    (", metapackage: node-full", ", metapackage: node-ful",
     "for ctl01: no role installs the package openstack-node-ful, expected one of"),
    ('gpu_passthrough: [{alias: K20m, vendor: "10de", product: "1028"}]', "gpu_passthrough: []",
     "for gpu01: gpu_passthrough: expected one device at least"),
    ("plain: {install: kickstart, os: fedora-43}",
     "plain: {install: kickstart, os: fedora-43, options: {cpu_mode: custom}}",
     "for any01: options: expected none on a role without a metapackage"),
    ("metapackage: node-gpu", "metapackage: node-compute",
     "for gpu01: gpu_passthrough: expected none: hosts with openstack-node-compute hand no"),
    ("cloud: {domain: cloud.example.org, controller: ctl01, ",
     "cloud: {domain: cloud.example.org, ", None),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "expected"), MISTAKES)
def test_what_no_kickstart_can_be_made_of_is_told_once_with_its_line(tmp_path, old, new, expected):
    assert RACK.count(old) == 1
    found = verify_answers.verify_answers(load(write_rack(tmp_path, RACK.replace(old, new))), None)
    if expected is None:
        assert found == []
    else:
        assert expected in found[0].message
        assert found[0].place.line > 0


def test_a_system_that_no_kickstart_is_known_for_needs_an_answer(tmp_path):
    text = RACK.replace("rocky-9", "rocky9")
    with pytest.raises(InventoryInvalid) as raised:
        load(write_rack(tmp_path, text))
    (problem,) = raised.value.problems
    assert "no kickstart is known for 'rocky9'" in problem.message
    assert problem.hint == "call the system rocky-9, or add  answer: answers/host.ks.j2"


OTHERS = {
    "debian-13": ("preseed", "d-i preseed/early_command"),
    "ubuntu-24.04": ("autoinstall", "#cloud-config"),
}


def other_rack(system: str, install: str) -> str:
    return f"""\
network: {{interface: br-prov, subnet: 10.20.0.0/22, gateway: 10.20.0.1, server: 10.20.0.3}}
administrators: {{ada: {{ssh_keys: ["{KEY}"]}}}}
store: sqlite:///store.db
systems:
  {system}: {{kernel: linux, initrd: initrd.gz}}
roles:
  plain: {{install: {install}, os: {system}}}
racks:
  r12:
    any01: {{mac: "52:54:00:aa:00:04", address: 10.20.0.14, role: plain}}
    any02: {{mac: "52:54:00:aa:00:05", address: 10.20.0.15, role: plain, firmware: uefi}}
"""


@pytest.mark.parametrize("system", OTHERS)
def test_hosts_of_other_installers_get_an_answer_of_ours_too(tmp_path, system, capsys):
    require_tool("shellcheck")
    install, first = OTHERS[system]
    path = write_rack(tmp_path, other_rack(system, install))
    assert verify_answers.verify_answers(load(path), run) == []
    assert invoke(["plan", "any01", "--armed", "--answer", "--json", "-i", str(path)]) == 0
    (facts,) = json.loads(capsys.readouterr().out)
    assert first in facts["answer"]
    assert KEY in facts["answer"]


def test_an_answer_for_another_installer_is_refused_with_those_that_would_do(tmp_path):
    with pytest.raises(InventoryInvalid) as raised:
        load(write_rack(tmp_path, other_rack("ubuntu-24.04", "preseed")))
    (problem,) = raised.value.problems
    assert "no preseed is known for 'ubuntu-24.04'" in problem.message


def test_debconf_itself_reads_a_preseed(tmp_path, monkeypatch):
    require_tool("debconf-set-selections", package="debconf")
    inventory = load(write_rack(tmp_path, other_rack("debian-13", "preseed")))
    seen = []

    def watched(argv: list[str]) -> str:
        seen.append(Path(argv[0]).name)
        return run(argv)

    assert verify_answers.verify_answers(inventory, watched) == []
    assert "debconf-set-selections" in seen
    kind = installers.PRESEED
    broken = replace(
        kind, render=lambda *a, **k: kind.render(*a, **k) + "d-i\n", read=lambda *_: Reading((), ())
    )
    monkeypatch.setitem(installers.INSTALLERS, "debian-13", broken)
    (problem, _) = verify_answers.verify_answers(inventory, run)
    assert "the preseed of any01, " in problem.message
    assert "parse error on line" in problem.message


def test_shellcheck_knows_whose_shell_reads_a_script(tmp_path):
    inventory = load(write_rack(tmp_path, other_rack("debian-13", "preseed")))
    seen = []
    verify_answers.verify_answers(inventory, lambda argv: seen.append(argv) or "")
    shells = {word for argv in seen for word in argv if word.startswith("--shell=")}
    assert shells == {"--shell=dash"}


def test_open_migration_is_chosen_with_a_warning(tmp_path):
    text = RACK.replace("cpu_mode: host-passthrough", "migration: tcp")
    inventory = load(write_rack(tmp_path, text))
    assert verify_answers.verify_answers(inventory, None) == []
    _, compute, gpu = warn(inventory, ["br-prov"])
    assert (compute.key, gpu.key) == ("roles.compute.options", "roles.gpu.options")
    assert "every machine that reaches port 16509 owns the guests" in compute.message


@pytest.mark.parametrize(
    ("system", "install", "more", "hint"),
    [
        ("rocky-9", "kickstart", "", "add  tree: URL, or an argument  inst.stage2=URL"),
        ("rocky-9", "kickstart", ", arguments: [inst.repo=http://h/os/]", None),
        ("rocky-9", "kickstart", ", tree: http://h/os/", None),
        ("centos-7", "kickstart", "", None),
        ("ubuntu-24.04", "autoinstall", "", "add an argument  url=URL"),
        ("ubuntu-24.04", "autoinstall", ", arguments: [url=http://h/u.iso]", None),
        ("debian-13", "preseed", "", None),
    ],
)
def test_an_installer_that_is_led_to_no_rest_of_itself_is_warned_of(
    tmp_path, system, install, more, hint
):
    text = other_rack(system, install).replace("initrd: initrd.gz", f"initrd: initrd.gz{more}")
    warnings = warn(load(write_rack(tmp_path, text)), ["br-prov"])
    assert [each.hint for each in warnings] == ([hint] if hint else [])


def test_a_tree_leads_anaconda_to_the_rest_of_itself(rack, capsys):
    assert invoke(["plan", "ctl01", "--armed", "--json", "-i", str(rack)]) == 0
    (facts,) = json.loads(capsys.readouterr().out)
    tree = "http://mirror.example.org/rocky/9/BaseOS/x86_64/os/"
    assert f" quiet inst.stage2={tree} inst.ks=http://10.20.0.3/answer/" in facts["script"]


def test_a_role_whose_package_is_in_no_repository_is_told_once_for_each_system(tmp_path):
    rocky, fedora = verify.verify_packages(load(write_rack(tmp_path)))
    assert (rocky.key, fedora.key) == ("systems.rocky-9", "systems.fedora-43")
    assert rocky.message == (
        "role controller installs openstack-node-full, expected the key 'packages' with where it is"
    )
    assert fedora.hint == (
        "rackseed rpm publish RESULTS --repository rpm/fedora-43 --url "
        "http://10.20.0.3/rpm/fedora-43, then add  packages: rpm/fedora-43"
    )


def test_missing_secrets_are_told_with_how_to_make_them(tmp_path):
    (problem,) = verify_answers.verify_secrets(load(write_rack(tmp_path)))
    assert "lacks ADMIN_PASSWORD, RABBIT_PASSWORD" in problem.message
    assert problem.hint == "rackseed secrets init"


def test_a_password_in_the_place_of_its_hash_is_not_loaded(tmp_path):
    with pytest.raises(InventoryInvalid, match="a password's hash"):
        load(write_rack(tmp_path, RACK.replace(HASH, "correct horse")))


def test_a_plan_shows_the_kickstart_without_its_secrets(rack, capsys):
    command = ["plan", "ctl01", "--armed", "--answer", "--json", "-i", str(rack)]
    assert invoke(command) == 0
    (facts,) = json.loads(capsys.readouterr().out)
    answer = facts["answer"]
    assert "ctl01.cloud.example.org: the controller of the cloud on Rocky Linux 9" in answer
    assert "url --url=http://mirror.example.org/rocky/9/BaseOS/x86_64/os/" in answer
    assert "ALIAS" not in answer
    assert "GPUS='K20m:10de:1028:type-PCI'" in answer  # the controller knows those of all hosts
    assert "saltsalt" not in answer
    assert "--iscrypted --password=***" in answer


def test_a_plan_tells_what_the_installer_would_not_take_by_its_line(rack, capsys, monkeypatch):
    kind = installers.KICKSTART
    broken = replace(kind, render=lambda *a, **k: "bogus\n" + kind.render(*a, **k))
    monkeypatch.setitem(installers.INSTALLERS, "rocky-9", broken)
    command = ["plan", "ctl01", "--armed", "--answer", "-i", str(rack)]
    assert invoke(command) == 2
    shown = capsys.readouterr()
    assert "| bogus" in shown.out
    assert "the kickstart of ctl01, line 1: Unknown command: bogus" in shown.err


@pytest.mark.parametrize("command", ["check", "plan"])
def test_a_password_in_the_place_of_its_hash_is_refused_and_not_repeated(rack, capsys, command):
    rack.write_text(rack.read_text().replace(HASH, "hunter2"))
    assert invoke([command, "-i", str(rack)]) == 2
    said = capsys.readouterr().err
    assert "password: found something else, expected a password's hash" in said
    assert "hunter2" not in said


def test_an_administrator_does_not_show_his_hash():
    assert HASH not in repr(Administrator("grace", (), HASH))


@pytest.fixture
def site(rack):
    loaded = load(rack)
    with Store(loaded.store) as store:
        yield InventorySite(loaded, store, secrets=SECRETS), store


def words(target: object) -> dict[str, str]:
    assert isinstance(target, Kernel)
    return dict(word.split("=", 1) for word in target.arguments if "=" in word)


def test_a_server_without_https_answers_no_host_that_needs_secrets(site, rack):
    _, store = site
    without = InventorySite(load(rack), store)
    arm(store, ["ctl01"])
    (target,) = without.boot_targets([(CTL, AT)], URL)
    refused = without.answer(words(target)["inst.ks"].rpartition("/")[2], AT)
    assert isinstance(refused, Refusal)
    assert "HTTPS alone" in refused.reason
    assert store.records()["ctl01"].state is HostState.ARMED


def test_kickstart_and_secrets_are_each_handed_out_once(site, rack):
    site, store = site
    arm(store, ["ctl01"])
    (target,) = site.boot_targets([(CTL, AT)], URL)
    token = words(target)["inst.ks"].rpartition("/")[2]
    answer = site.answer(token, AT)
    assert isinstance(answer, Answer)
    text = answer.body.decode()
    secrets = next(
        line.strip(" '").rpartition("/")[2]
        for line in text.splitlines()
        if f"'{SECRETS.base_url}/answer/" in line
    )
    # Not before the kickstart is out: the token follows from it, the state does not.
    assert isinstance(site.answer(secrets, AT, encrypted=True), Refusal)
    site.answer_delivered(token)
    assert store.records()["ctl01"].state is HostState.DEPLOYING

    assert isinstance(site.answer(secrets, IPv4Address("10.20.0.12"), encrypted=True), Refusal)
    alarms = store.alarms()["ctl01"]
    assert site.answer(secrets, AT) == Refusal(
        "the secrets were asked for in the clear, expected HTTPS"
    )
    assert store.alarms()["ctl01"] == alarms + 1
    given = site.answer(secrets, AT, encrypted=True)
    assert isinstance(given, Answer)
    known = read_secrets(rack.parent / "secrets.yaml")
    lines = dict(line.split("=", 1) for line in given.body.decode().splitlines())
    assert lines["ADMIN_PASSWORD"] == known["ADMIN_PASSWORD"].reveal()
    assert "MIGRATION_SECRET" not in lines  # the controller's role has no part in it
    assert not any(value in text for value in lines.values())
    site.answer_delivered(secrets)
    alarms = store.alarms()["ctl01"]
    assert isinstance(site.answer(secrets, AT, encrypted=True), Refusal)
    assert store.alarms()["ctl01"] == alarms + 1
    assert isinstance(site.answer(token, AT), Refusal)

    report = next(
        line.strip().split("'")[1] for line in text.splitlines() if f"'{URL}/report/" in line
    ).rpartition("/")[2]
    assert site.report(report, AT, Report(ReportKind.PROGRESS, "step 10-host-name begins")) is None
    assert store.records()["ctl01"].state is HostState.DEPLOYING
    assert site.report(report, AT, Report(ReportKind.INSTALLED, "all steps are done")) is None
    assert store.records()["ctl01"].state is HostState.ACTIVE
