"""Roles are found by being there; their steps run once, resume, and leave no secret."""

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

import kickstarts.roles
from kickstarts.errors import BadValue, UnknownRole
from kickstarts.plan import SecretsSource
from kickstarts.render import helpers_of, render, steps_of
from kickstarts.roles import by_metapackage, roles
from kickstarts.validate import read
from kickstarts.values import Secret
from rpmspecs.namelist import FOLDER, read_names
from tests.tools import require_tool
from tests.unit.kickstarts.plans import CLOUD, PIN, PLAN, SECRETS_URL, sample

TEMPLATES = Path(kickstarts.roles.__file__).parents[1] / "templates"
ALL = sorted(name for name in roles() if name != "base")

NEW_ROLE = '''
"""Stores objects."""

from kickstarts.roles.cloudhost import CloudHost


class Storage(CloudHost):
    """A host of Swift."""

    __slots__ = ()
    name = "storage"
    purpose = "a store of objects"
    metapackage = "openstack-node-storage"
    secrets = ("SWIFT_PASSWORD",)

    @property
    def firewall(self):
        return ("ssh", "6200/tcp")


ROLE = Storage
'''


@pytest.fixture
def new_role(tmp_path, monkeypatch):
    folder = tmp_path / "storage"
    (folder / "steps").mkdir(parents=True)
    (folder / "__init__.py").write_text(NEW_ROLE)
    (folder / "steps" / "20-rings.sh").write_text("# Rings.\n# shellcheck shell=bash\necho rings\n")
    monkeypatch.setattr(kickstarts.roles, "__path__", [*kickstarts.roles.__path__, str(tmp_path)])
    yield
    sys.modules.pop("kickstarts.roles.storage", None)


@pytest.mark.usefixtures("new_role")
def test_a_new_role_is_a_folder_and_touches_nothing_else():
    role = by_metapackage("openstack-node-storage").of(CLOUD)
    text = render(replace(PLAN, role=role))
    assert read(text, "RHEL9").findings == ()
    assert "firewall --enabled --service=ssh --port=6200:tcp" in text
    assert "dnf --assumeyes install openstack-node-storage" in text
    assert list(steps_of(type(role))) == ["10-host-name", "12-firewall", "15-time", "20-rings"]
    assert "for name in SWIFT_PASSWORD; do" in text


def test_a_metapackage_without_a_role_is_refused_with_those_that_have_one():
    with pytest.raises(UnknownRole, match="expected one of openstack-node-compute, "):
        by_metapackage("openstack-node-stroage")


def test_the_gpu_role_takes_the_steps_of_what_it_extends():
    steps = list(steps_of(roles()["gpu"]))
    assert steps == sorted(steps)
    assert set(steps_of(roles()["compute"])) < set(steps)


@pytest.mark.parametrize("name", ALL)
def test_a_role_that_needs_secrets_is_not_planned_without_them(name):
    with pytest.raises(BadValue, match="secrets"):
        replace(sample("rocky-9", name), secrets=None)


@pytest.mark.parametrize("option", [("migration", "telnet"), ("cpu_mode", "`id`"), ("cpu", "any")])
def test_an_option_that_a_role_does_not_know_is_refused(option):
    with pytest.raises(BadValue, match="role option"):
        roles()["compute"].of(replace(CLOUD, options=(option,)))


def test_open_migration_is_a_choice_and_opens_its_port():
    compute = roles()["compute"]
    chosen = compute.of(replace(CLOUD, options=(("migration", "tcp"),)))
    assert "16509/tcp" not in compute.of(CLOUD).settings["INNER_PORTS"]
    assert "16514/tcp" in compute.of(CLOUD).settings["INNER_PORTS"]
    assert "16509/tcp" in chosen.settings["INNER_PORTS"]
    assert "16509/tcp" not in chosen.firewall


def test_what_asks_nobody_who_he_is_is_open_to_the_segment_alone():
    controller = roles()["controller"].of(CLOUD)
    inner = ("3306", "5672", "6641-6642", "11211", "5000", "8774", "9292")
    assert not any(f"{port}/tcp" in controller.firewall for port in inner)
    assert all(f"{port}/tcp" in controller.settings["INNER_PORTS"] for port in inner)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_what_roles_install_beside_their_package_is_known_on_every_target(path):
    known = read_names(path).names
    installed = {name for role in ALL for name in roles()[role].of(CLOUD).packages}
    assert "libvirt-daemon-proxy" in installed
    assert installed <= set(known)


OWN = {"STATE", "STEP", "LIBRARY", "SETTINGS", "SECONDS", "BASH", "IFS"}
"""What the runner and the shell set."""


@pytest.mark.parametrize("name", ALL)
def test_no_step_uses_a_variable_that_nobody_sets(name):
    role = sample("rocky-9", name).role
    known = {*role.settings, *role.secrets, *OWN}
    for step, text in steps_of(type(role)).items():
        used = set(re.findall(r"\$\{?([A-Z][A-Z0-9_]+)", text))
        assert used <= known, f"{step}: {used - known}"


@pytest.mark.parametrize("name", ALL)
def test_each_secret_of_a_role_is_used(name):
    role = sample("rocky-9", name).role
    text = "".join(steps_of(type(role)).values())
    assert [each for each in role.secrets if f"${each}" not in text] == []


@pytest.mark.parametrize("name", ALL)
def test_shellcheck_has_nothing_to_say_about_steps(name, tmp_path):
    require_tool("shellcheck")
    files = [TEMPLATES / "steps" / each for each in ("run.sh", "functions.sh", "scrub.sh")]
    helpers = helpers_of(roles()[name])
    scripts = {each: text for each, text in helpers.items() if each.endswith(".sh")}
    for step, text in {**steps_of(roles()[name]), **scripts}.items():
        files.append(tmp_path / step)
        files[-1].write_text(text)
    done = subprocess.run(
        # SC2153, SC2154: settings and secrets are set elsewhere; another test looks at them.
        ["shellcheck", "--severity=info", "--exclude=SC2153,SC2154", *map(str, files)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == ""


def write_host(root: Path, steps: dict[str, str]) -> None:
    """What %post leaves on a host, with other steps."""
    library = root / "usr/local/lib/rackseed"
    (library / "steps").mkdir(parents=True)
    shutil.copy(TEMPLATES / "steps/functions.sh", library / "functions.sh")
    for name, text in steps.items():
        (library / "steps" / name).write_text(text)
    (root / "etc/rackseed").mkdir(parents=True)
    (root / "etc/rackseed/settings").write_text(f"HOST='ctl01'\nOUT='{root}/out'\n")
    (root / "etc/rackseed/secrets").write_text("ADMIN_PASSWORD=correct-horse\n")
    (root / "etc/rackseed/report-url").write_text('url = "http://127.0.0.1/report/x"\n')
    (root / "var/log").mkdir(parents=True)
    bin_folder = root / "bin"
    bin_folder.mkdir()
    (bin_folder / "curl").write_text(f'#!/bin/bash\necho "${{!#}}" >>{root}/reports\n')
    (bin_folder / "curl").chmod(0o755)


def write_secrets(root: Path) -> None:
    """What an operator does before every step runs again."""
    (root / "etc/rackseed/secrets").write_text("ADMIN_PASSWORD=correct-horse\n")


def run_steps(root: Path, *words: str, attempts: str = "1") -> int:
    done = subprocess.run(
        ["bash", str(TEMPLATES / "steps/run.sh"), *words], capture_output=True, check=False,
        env={"ROOT": str(root), "ATTEMPTS": attempts, "PAUSE": "0", "SETTLE": "0",
             "PATH": f"{root}/bin:/usr/bin:/bin"},
    )  # fmt: skip
    return done.returncode


STEPS = {
    "10-first": 'echo "first for $HOST" >>"$OUT"',
    "20-breaks": '[ -e "$OUT.mended" ] || fail "not yet"\necho "second $ADMIN_PASSWORD" >>"$OUT"',
    "30-last": 'echo last >>"$OUT"',
}


def test_a_failed_step_is_where_the_next_run_continues(tmp_path):
    write_host(tmp_path, STEPS)
    assert run_steps(tmp_path) == 1
    assert (tmp_path / "out").read_text() == "first for ctl01\n"
    assert "20-breaks: not yet\n" in (tmp_path / "var/log/rackseed-steps.log").read_text()
    assert '"failed", "message": "step 20-breaks failed' in (tmp_path / "reports").read_text()
    assert (tmp_path / "etc/rackseed/secrets").exists()

    (tmp_path / "out.mended").touch()
    assert run_steps(tmp_path) == 0
    assert (tmp_path / "out").read_text() == "first for ctl01\nsecond correct-horse\nlast\n"
    assert (tmp_path / "reports").read_text().endswith('"all steps are done"}\n')
    assert list((tmp_path / "etc/rackseed").iterdir()) == [tmp_path / "etc/rackseed/settings"]


def test_a_second_run_changes_nothing_and_a_changed_step_runs_again(tmp_path):
    write_host(tmp_path, {"10-first": STEPS["10-first"], "30-last": STEPS["30-last"]})
    assert run_steps(tmp_path) == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert run_steps(tmp_path) == 0
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before

    (tmp_path / "usr/local/lib/rackseed/steps/30-last").write_text('echo other >>"$OUT"')
    assert run_steps(tmp_path) == 1, "the secrets are gone"
    write_secrets(tmp_path)
    assert run_steps(tmp_path) == 0
    assert (tmp_path / "out").read_text() == "first for ctl01\nlast\nother\n"
    write_secrets(tmp_path)
    assert run_steps(tmp_path, "--again") == 0
    assert (tmp_path / "out").read_text().endswith("other\nfirst for ctl01\nother\n")


def test_all_steps_again_ask_for_the_secrets_again(tmp_path):
    write_host(tmp_path, {"10-uses": 'echo "$ADMIN_PASSWORD" >>"$OUT"'})
    assert run_steps(tmp_path) == 0
    assert run_steps(tmp_path, "--again") == 1
    assert run_steps(tmp_path) == 0, "what was done stays done"
    write_secrets(tmp_path)
    assert run_steps(tmp_path, "--again") == 0
    assert (tmp_path / "out").read_text() == "correct-horse\ncorrect-horse\n"


def test_the_end_is_told_when_the_boot_server_is_there_again(tmp_path):
    write_host(tmp_path, {"10-first": STEPS["10-first"]})
    told = (tmp_path / "bin/curl").read_text()
    (tmp_path / "bin/curl").write_text("#!/bin/bash\nexit 7\n")
    assert run_steps(tmp_path) == 0
    assert not (tmp_path / "etc/rackseed/secrets").exists()
    (tmp_path / "bin/curl").write_text(told)
    assert run_steps(tmp_path) == 0
    assert "all steps are done" in (tmp_path / "reports").read_text()
    assert not (tmp_path / "etc/rackseed/report-url").exists()


def test_a_step_that_fails_by_chance_is_tried_again(tmp_path):
    text = '[ -e "$OUT" ] || { touch "$OUT"; false; }\necho done >>"$OUT"'
    write_host(tmp_path, {"10-chance": text})
    assert run_steps(tmp_path, attempts="3") == 0
    assert (tmp_path / "out").read_text() == "done\n"


def test_no_password_is_in_the_log_or_the_state(tmp_path):
    write_host(tmp_path, {"10-all": 'cat "$SETTINGS/secrets" >/dev/null'})
    assert run_steps(tmp_path) == 0
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not any("correct-horse" in path.read_text() for path in left)


SYSTEMCTL = """\
#!/bin/bash
# One service: what the file `unit` says of it.
ROOT={root}
. $ROOT/unit
case "$1 $2" in
    "show --property=Type") echo "$type" ;;
    "show --property=NRestarts") echo "$restarts" ;;
    "is-active --quiet") [ "$state" = active ]; exit ;;
    "status "*) echo "its last words" ;;
    start* | restart*) echo "$*" >>$ROOT/calls; . $ROOT/after ;;
esac
"""


def write_unit(root: Path, after: str, state: str = "inactive", kind: str = "exec") -> None:
    """A service as it is, and what becomes of it when it is started."""
    (root / "unit").write_text(f"state={state} type={kind} restarts=0\n")
    (root / "after").write_text(f"echo 'state={after} type={kind}' >$ROOT/unit\n")
    (root / "bin/systemctl").write_text(SYSTEMCTL.format(root=root))
    (root / "bin/systemctl").chmod(0o755)


def test_a_restart_that_a_failure_prevented_is_made_up_for(tmp_path):
    step = (
        'echo new | write "$OUT" "$(id -un):$(id -gn)" 0600\n[ -e "$OUT.mended" ]\nserve x.service'
    )
    write_host(tmp_path, {"10-serve": step})
    write_unit(tmp_path, after="active restarts=0", state="active")
    assert run_steps(tmp_path) == 1
    (tmp_path / "out.mended").touch()
    assert run_steps(tmp_path) == 0
    assert (tmp_path / "calls").read_text() == "restart x.service\n"
    write_secrets(tmp_path)
    assert run_steps(tmp_path, "--again") == 0
    assert (tmp_path / "calls").read_text() == "restart x.service\n", "it runs, and nothing is new"


@pytest.mark.parametrize(
    ("after", "kind", "status"),
    [
        ("active restarts=0", "exec", 0),
        ("failed restarts=0", "exec", 1),
        ("activating restarts=1", "simple", 1),
        ("active restarts=2", "simple", 1),
        ("inactive restarts=0", "oneshot", 0),
    ],
)
def test_a_service_that_ends_right_after_its_start_fails_its_step(tmp_path, after, kind, status):
    write_host(tmp_path, {"10-serve": "serve x.service"})
    write_unit(tmp_path, after, kind=kind)
    assert run_steps(tmp_path) == status
    log = (tmp_path / "var/log/rackseed-steps.log").read_text()
    assert ("its last words\n10-serve: x.service ended again" in log) == (status == 1)


MARIADB = """\
#!/bin/bash
case "${!#}" in
    SELECT*) cat "$OUT.tables" 2>/dev/null || echo 0 ;;
    *) echo "${!#}" >>"$OUT.said" ;;
esac
"""


def test_a_migration_that_was_cut_off_begins_anew_and_one_that_ended_never_does(tmp_path):
    step = (
        'export OUT\nmigrate one two -- bash -c \'[ -e "$OUT.mended" ] && echo 7 >"$OUT.tables"\''
    )
    write_host(tmp_path, {"10-migrates": step})
    (tmp_path / "bin/mariadb").write_text(MARIADB)
    (tmp_path / "bin/mariadb").chmod(0o755)
    assert run_steps(tmp_path) == 1
    assert not (tmp_path / "out.said").exists()
    (tmp_path / "out.mended").touch()
    assert run_steps(tmp_path) == 0
    emptied = [f"DROP DATABASE IF EXISTS {name}; CREATE DATABASE {name}" for name in ("one", "two")]
    assert (tmp_path / "out.said").read_text().splitlines() == emptied

    (tmp_path / "out.mended").unlink()
    write_secrets(tmp_path)
    assert run_steps(tmp_path, "--again") == 1
    assert run_steps(tmp_path) == 1
    assert (tmp_path / "out.said").read_text().splitlines() == emptied


def test_hosts_agree_on_the_key_that_guests_move_by(tmp_path):
    require_tool("openssl")
    require_tool("ssh-keygen", package="openssh-client")
    text = steps_of(roles()["compute"])["28-trust"]
    make = re.search(r"^key_for\(\) \{.*?^\}$", text, re.DOTALL | re.MULTILINE)
    assert make
    keys = {}
    for purpose in ("nova", "hosts", "nova"):
        script = f"MIGRATION_SECRET=correct-horse\n{make[0]}\nkey_for {purpose} >{tmp_path}/key"
        subprocess.run(["bash", "-euc", script], check=True)
        (tmp_path / "key").chmod(0o600)
        public = subprocess.run(
            ["ssh-keygen", "-y", "-f", str(tmp_path / "key")],
            check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        assert public.startswith("ecdsa-sha2-nistp256 ")
        assert keys.setdefault(purpose, public) == public
    assert len(set(keys.values())) == 2, "each purpose has its own"


def test_a_plan_of_the_original_kind_differs_in_the_controller_alone():
    other = replace(CLOUD, controller="ctl02.cloud.example.org",
                    controller_address=IPv4Address("10.20.0.9"))  # fmt: skip
    compute = roles()["compute"]
    one, two = compute.of(CLOUD).settings, compute.of(other).settings
    assert {name for name in one if one[name] != two[name]} == {
        "CONTROLLER", "CONTROLLER_ADDRESS", "TIME_SERVERS",
    }  # fmt: skip


def test_no_secret_is_in_the_kickstart():
    plan = sample("rocky-9", "controller")
    text = render(plan)
    assert not re.search(r"^[A-Z_]*PASSWORD=(?!\$)", text, re.MULTILINE)
    assert f"--pinnedpubkey '{PIN.reveal()}' \\\n        '{SECRETS_URL}'" in text


@pytest.mark.parametrize("url", [SECRETS_URL.replace("https", "http"), f"{SECRETS_URL}?x"])
def test_secrets_are_not_fetched_in_the_clear(url):
    with pytest.raises(BadValue, match="an https URL"):
        SecretsSource(Secret(url), PIN)
