"""The configuration files that steps write, as services will read them."""

import configparser
import subprocess

import pytest

from kickstarts.render import steps_of
from tests.unit.kickstarts.plans import sample

STUBS = """\
write() { mkdir -p "$OUT${1%/*}"; cat >"$OUT$1"; }
fail() { echo "$1" >&2; exit 1; }
wait_for() { :; }
serve() { :; }
bring_up() { :; }
as() { :; }
answers() { :; }
migrate() { :; }
has_unit() { return 0; }
for name in install mariadb rabbitmqctl openssl keystone-manage chown chmod ovs-vsctl ovn-nbctl \
    ovn-sbctl ln systemctl openstack python3 node-check getent usermod ssh-keygen mv rm \
    restorecon; do
    eval "$name() { :; }"
done
"""
"""Everything that a step does besides writing files."""

SERVICES = {
    "controller": (
        "40-keystone", "45-glance", "50-placement", "55-nova", "60-neutron", "65-cinder", "70-heat",
    ),
    "compute": ("40-neutron", "50-nova"),
    "gpu": ("40-neutron", "50-nova"),
}  # fmt: skip


@pytest.fixture(params=sorted(SERVICES))
def written(request, tmp_path):
    """The files of a role by path, and what stands in them."""
    role = sample("rocky-9", request.param).role
    words = {**role.settings, **{name: f"the-{name.lower()}" for name in role.secrets}}
    head = "".join(f"{name}='{value}'\n" for name, value in words.items())
    for name in SERVICES[request.param]:
        script = f"{STUBS}{head}OUT={tmp_path} LIBRARY=/none\n{steps_of(type(role))[name]}"
        script = script.replace(". /root/openrc", "")
        done = subprocess.run(
            ["bash", "-eu", "-o", "pipefail"],
            input=script,
            text=True,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, f"{name}: {done.stderr}"
    files = (path for path in tmp_path.rglob("*") if path.is_file())
    return request.param, {str(path.relative_to(tmp_path)): path.read_text() for path in files}


class _Many(dict):
    """Values of options that may be given several times."""

    def __setitem__(self, key, value):
        if isinstance(value, list) and key in self and isinstance(self[key], list):
            self[key].extend(value)
        else:
            super().__setitem__(key, value)


def test_each_file_is_what_was_reviewed(written, golden):
    role, files = written
    for name, text in files.items():
        if name.startswith("etc/"):
            golden(f"kickstarts/configuration/{role}/{name.rpartition('/')[2]}", text)


def test_each_file_is_whole(written):
    _, files = written
    names = [name for name in files if name.endswith((".conf", ".ini"))]
    assert len(names) >= 2
    for name in names:
        parser = configparser.RawConfigParser(strict=False, dict_type=_Many)
        parser.read_string(files[name])
        assert "$" not in files[name], name
        for section in parser.sections():
            for option, value in parser.items(section):
                assert value, f"{name}: [{section}] {option} is empty"


def test_services_that_ask_keystone_have_a_user_and_its_password(written):
    _, files = written
    for name, text in files.items():
        if "[keystone_authtoken]" not in text:
            continue
        parser = configparser.RawConfigParser(strict=False)
        parser.read_string(text)
        for section in parser.sections():
            if parser.has_option(section, "username"):
                user = parser.get(section, "username")
                assert parser.get(section, "password") == f"the-{user}_password", (name, section)
