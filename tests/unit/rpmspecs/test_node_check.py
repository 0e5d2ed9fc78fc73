"""The command node-check: role files, judgement of facts, and what it finds out by itself."""

import ast
import importlib.machinery
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from rpmspecs.spec import FOLDER
from tests.tools import require_tool

HERE = FOLDER / "openstack-node"
SCRIPT = HERE / "node-check"
ROLES = ("common", "compute", "full", "gpu")


@pytest.fixture(scope="module")
def node_check() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("node_check", str(SCRIPT))
    spec = importlib.util.spec_from_loader("node_check", loader)
    module = importlib.util.module_from_spec(spec)
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before
    return module


@pytest.fixture(scope="module")
def roles(node_check):
    return {role: node_check.read_role(HERE / f"role-{role}.ini") for role in ROLES}


@pytest.fixture
def complete():
    return json.loads((HERE / "node-check-complete.json").read_text())


def judge(node_check, roles, facts):
    findings, _ = node_check.judge(roles, facts)
    return [(item["check"], item["what"]) for item in findings]


def test_a_host_that_has_everything_lacks_nothing(node_check, roles, complete):
    assert judge(node_check, roles, complete) == []


NOT_FOUND = ["not-found", "", "inactive"]
DEAD = ["loaded", "enabled", "failed"]
AUTHORITY = "/etc/pki/rackseed/authority.crt"
AGENTS = "openstack-neutron-ovn-agent | openstack-neutron-ovn-metadata-agent"


@pytest.mark.parametrize(
    ("section", "change", "found"),
    [
        ("packages", {"memcached": False}, "memcached"),
        ("units", {"mariadb.service": ["loaded", "disabled", "inactive"]}, "mariadb.service"),
        ("units", {"mariadb.service": ["loaded", "enabled", "failed"]}, "mariadb.service"),
        ("units", {"mariadb.service": NOT_FOUND}, "mariadb.service"),
        ("units", {"etcd.service": NOT_FOUND}, None),
        ("units", {"etcd.service": DEAD}, "?etcd.service"),
        ("units", {"httpd.service": NOT_FOUND}, None),
        (
            "units",
            {"httpd.service": DEAD, "openstack-keystone.service": NOT_FOUND},
            "openstack-keystone.service | httpd.service",
        ),
        ("sysctl", {"net.core.somaxconn": "128"}, "net.core.somaxconn"),
        ("sysctl", {"net.core.somaxconn": "65535"}, None),
        ("sysctl", {"net.core.somaxconn": None}, "net.core.somaxconn"),
        ("sysctl", {"net.ipv4.conf.all.rp_filter": "1"}, "net.ipv4.conf.all.rp_filter"),
        ("modules", {"nouveau": True}, "!nouveau"),
        ("modules", {"vfio_pci": False}, "vfio_pci"),
        ("machine", {"iommu": False}, "iommu"),
        ("machine", {"virtualization": False}, "virtualization"),
        ("clock", {"synchronized": False}, "synchronized"),
        ("names", {"%H": ["127.0.0.1", "::1"]}, "%H"),
        ("names", {"%H": []}, "%H"),
        ("names", {"%H": ["127.0.1.1", "fe80::1%eth0"]}, None),
        ("certificates", {AUTHORITY: ["ending", "2026-12-02 12:00:00Z"]}, f"?{AUTHORITY}"),
        ("certificates", {AUTHORITY: ["unreadable", "Permission denied"]}, f"?{AUTHORITY}"),
        ("certificates", {AUTHORITY: ["absent", ""]}, None),
        ("tuned", {"active": "balanced"}, "openstack-node | openstack-node-compute | "),
        ("tuned", {"active": "openstack-node-compute"}, None),
    ],
)
def test_one_thing_that_differs_is_named(node_check, roles, complete, section, change, found):
    complete[section].update(change)
    if section == "tuned" and found:
        found += "openstack-node-gpu"
    if section == "units" and found is None and "httpd.service" in change:
        complete["units"]["openstack-placement-api.service"] = ["loaded", "enabled", "active"]
    if section == "units" and found and "httpd.service" in change:
        complete["units"]["openstack-placement-api.service"] = ["loaded", "enabled", "active"]
    assert judge(node_check, roles, complete) == ([(section, found)] if found else [])


@pytest.mark.parametrize("vendor", ["intel", "amd"])
def test_the_argument_of_one_vendor_is_enough(node_check, roles, complete, vendor):
    kept = [word for word in complete["kernel arguments"] if "_iommu=" not in word]
    complete["kernel arguments"] = [*kept, f"{vendor}_iommu=on"]
    assert judge(node_check, roles, complete) == []


def test_what_cannot_be_found_out_is_one_finding(node_check, roles, complete):
    complete["units"] = {"unknown": "systemctl: No such file or directory"}
    assert judge(node_check, roles, complete) == [("units", "all")]


def test_facts_that_were_not_recorded_are_no_good_news(node_check, roles, complete):
    del complete["clock"]
    assert judge(node_check, roles, complete) == [("clock", "all")]


def test_what_two_roles_expect_is_asked_once(node_check, roles, complete):
    twice = {"a": {"packages": {"chrony": ""}}, "b": {"packages": {"chrony": ""}}}
    findings, looked_at = node_check.judge(twice, {"packages": {"chrony": False}})
    assert (len(findings), looked_at) == (1, 1)
    assert findings[0]["role"] == "a"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "[package]\nchrony\n",
            r"x\.ini:1: \[package\] has no meaning, expected one of \[packages\]",
        ),
        ("chrony\n", r"x\.ini:1: 'chrony' stands in no section"),
        ("[sysctl]\n# a word\nnet.core.somaxconn\n", r"x\.ini:3: .* has no value"),
    ],
)
def test_a_mistake_in_a_role_file_is_told_with_its_line(node_check, tmp_path, text, sentence):
    path = tmp_path / "x.ini"
    path.write_text(text)
    with pytest.raises(node_check.BadRole, match=sentence):
        node_check.read_role(path)


def test_a_role_of_the_operator_replaces_its_namesake(node_check, tmp_path):
    vendor, site = tmp_path / "vendor", tmp_path / "site"
    for folder in (vendor, site):
        folder.mkdir()
        (folder / "full.ini").write_text(f"[packages]\n{folder.name}\n")
    (vendor / "common.ini").write_text("[names]\n%H\n")
    (site / "racks.ini").write_text("[names]\nctl01\n")
    found = node_check.read_roles((vendor, site), [])
    assert list(found) == ["common", "full", "racks"]
    assert found["full"] == {"packages": {"site": ""}}
    assert list(node_check.read_roles((vendor, site), ["full"])) == ["full"]


@pytest.fixture
def command(tmp_path):
    """Runs the command on our role files; its status and output."""
    for role in ROLES:
        (tmp_path / f"{role}.ini").write_text((HERE / f"role-{role}.ini").read_text())

    def call(*words):
        argv = [sys.executable, "-B", str(SCRIPT), "--roles-from", str(tmp_path), *words]
        return subprocess.run(argv, capture_output=True, text=True, check=False)

    return call


@pytest.mark.parametrize(("facts", "status"), [("complete", 0), ("missing", 1)])
def test_the_exit_status_tells_whether_something_is_missing(command, facts, status):
    assert command("--facts", str(HERE / f"node-check-{facts}.json")).returncode == status


def test_what_is_missing_reads_as_recorded(command):
    done = command("--facts", str(HERE / "node-check-missing.json"))
    assert done.stdout == (HERE / "node-check-missing.txt").read_text()


def test_json_tells_the_same(command):
    done = command("--json", "--facts", str(HERE / "node-check-missing.json"))
    found = json.loads(done.stdout)
    assert found["host"] == "cmp07"
    assert len(found["missing"]) == 15
    for item in found["missing"]:
        assert set(item) == {"role", "check", "what", "found", "expected", "hint"}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--role", "controler"], "there is no role controler here, expected one of: common"),
        (["--facts", "/nonexistent"], "/nonexistent"),
        (["--facts", "/proc/version"], "/proc/version"),
        (["--nonsense"], "unrecognized arguments"),
    ],
)
def test_misuse_ends_with_status_2_and_a_sentence(command, words, sentence):
    done = command(*words)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_help_has_an_example_and_every_section(command, node_check):
    text = command("--help").stdout
    assert "Example:" in text
    assert all(f"[{section}]" in text for section in node_check.SECTIONS)


def test_this_machine_can_be_asked_whatever_it_is(command):
    done = command("--record")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert set(facts["packages"]) >= {"chrony", "mariadb-server"} or "unknown" in facts["packages"]
    assert isinstance(facts["kernel arguments"], list)
    assert set(facts["machine"]) == {"virtualization", "iommu"}
    assert isinstance(facts["clock"]["synchronized"], bool)
    assert command("--json").returncode in (0, 1)


def test_certificates_are_looked_at_as_openssl_sees_them(node_check, tmp_path):
    require_tool("openssl")
    request = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
               "-nodes", "-subj", "/CN=x", "-keyout", str(tmp_path / "key")]  # fmt: skip
    for days in ("29", "31"):
        made = [*request, "-days", days, "-out", str(tmp_path / days)]
        subprocess.run(made, check=True, capture_output=True)
    names = [str(tmp_path / name) for name in ("29", "31", "key", "none", "key/none", "")]
    found = node_check.certificates(names)
    states = [found[name][0] for name in names]
    assert states == ["ending", "valid", "unreadable", "absent", "absent", "unreadable"]
    assert re.fullmatch(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\dZ", found[names[0]][1])
    roles = {"x": {"certificates": dict.fromkeys(names, "")}}
    missing = judge(node_check, roles, {"certificates": found})
    assert [what for _, what in missing] == [name for name in names if not name.endswith("31")]


def test_without_openssl_certificates_are_one_finding(node_check, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    path = tmp_path / "certificate"
    path.touch()
    roles = {"x": {"certificates": {str(path): "", f"?{path}.other": ""}}}
    facts = {"certificates": node_check.gather(roles)["certificates"]}
    assert facts == {"certificates": {"unknown": "openssl: No such file or directory"}}
    assert judge(node_check, roles, facts) == [("certificates", "all")]


def test_the_kernel_arguments_are_those_that_tuned_sets(command):
    told = command("--kernel-arguments").stdout.split()
    text = (HERE / "tuned-gpu-variables.conf").read_text()
    assert told == re.search(r"^kernel_arguments=(.*)$", text, re.MULTILINE)[1].split()


def test_the_sysctl_files_give_what_the_roles_expect(roles):
    given = {}
    for name in ("sysctl-common.conf", "sysctl-compute.conf"):
        for line in (HERE / name).read_text().splitlines():
            key, equals, value = line.lstrip("-").partition(" = ")
            if equals:
                given[key] = value
    for role in roles.values():
        for name, value in role.get("sysctl", {}).items():
            assert given[name] == value.removeprefix(">=")


def test_units_that_the_presets_enable_are_looked_at(node_check, roles):
    looked_at = {
        name for role in roles.values() for name in node_check.names_of({"x": role}, "units")
    }
    enabled = set()
    for path in HERE.glob("preset-*.preset"):
        enabled |= set(re.findall(r"^enable (\S+)$", path.read_text(), re.MULTILINE))
    assert enabled - looked_at <= {unit for unit in enabled if unit.startswith(("virt", "libvirt"))}


def test_the_services_that_are_looked_at_are_those_that_our_packages_bring(node_check, roles):
    ours = {path.name for path in FOLDER.glob("openstack-*/*.service")}
    assert len(ours) > 15
    for role in roles.values():
        for entry in role.get("units", {}):
            names = node_check.alternatives(entry)
            if names[0].startswith(("openstack-", "neutron-")):
                assert ours & set(names), entry


def test_what_the_roles_look_for_is_what_their_packages_require(roles):
    text = (HERE / "openstack-node.spec").read_text()
    for name, role in roles.items():
        section = re.search(
            rf"^%package {name}\n(.*?)^%description", text, re.MULTILINE | re.DOTALL
        )
        assert section is not None
        for entry in role.get("packages", {}):
            for package in entry.split(" | "):
                assert re.search(rf"(?<![\w-]){re.escape(package)}(?![\w-])", section[1]), package


def test_it_runs_on_the_oldest_python_of_the_targets():
    ast.parse(SCRIPT.read_text(), feature_version=(3, 9))


def test_the_licence_is_the_projects():
    assert (HERE / "LICENSE").read_bytes() == Path(FOLDER.parent.parent, "LICENSE").read_bytes()
