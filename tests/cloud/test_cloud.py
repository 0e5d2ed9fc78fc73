"""The controller that a kickstart of ours makes, on the fixture distribution.

Everything that its steps call is real: systemd, MariaDB, RabbitMQ, OVN's databases, httpd, and
OpenStack's services and dashboard from our own packages. What Anaconda does around %post is done by
`tests.cloud.rack`. Not there: SELinux, firewalld, TuneD, the kernel's clock.
"""

import json
import re
import time

import pytest

from tests.cloud import options, state
from tests.cloud.faults import FAULTS
from tests.cloud.machine import Machine
from tests.cloud.rack import ADDRESSES, PASSWORD_HASH, Rack
from tests.cloud.state import holders

STEPS = [fault.step for fault in FAULTS]
CONFIGURED = {
    "/etc/keystone/keystone.conf", "/etc/glance/glance-api.conf",
    "/etc/placement/placement.conf", "/etc/nova/nova.conf", "/etc/neutron/neutron.conf",
    "/etc/cinder/cinder.conf", "/etc/heat/heat.conf", "/root/openrc",
}  # fmt: skip
"""The files that need secrets."""
LOGIN = 'name="csrfmiddlewaretoken"'
"""In the dashboard's first page."""
NOVAS_OWN = re.compile(r"/var/lib/mysql/(ib_logfile0|ibdata1|nova_api/cell_mappings\.ibd|undo\d+)")
"""Nova keeps the URLs of its cells in its database, passwords and all."""


CATALOG = """
import json
import openstack

cloud = openstack.connect()
names = {each.id: each.type for each in cloud.identity.services()}
print(json.dumps({names[each.service_id]: each.url
                  for each in cloud.identity.endpoints(interface="public")}))
"""
DOOR = "https://ctl01.cloud.example.org"


CERTIFICATE = "/etc/pki/rackseed/controller.crt"
SHORTEN = f"""
openssl x509 -x509toreq -copy_extensions copy -in {CERTIFICATE} -key {CERTIFICATE[:-4]}.key |
    openssl x509 -req -copy_extensions copy -days 10 -CA "$0.crt" -CAkey "$0.key" \\
        -set_serial 7 -out {CERTIFICATE}
systemctl reload httpd.service
"""
"""The controller's certificate again, of an authority, for ten days."""
SEVEN = "serial=07\n"


def ask_from_elsewhere(rack: Rack, cloud: Machine, url: str, *words: str) -> str:
    """What curl gets of the controller, trusting the cloud's authority and nobody else."""
    authority = cloud.root / "etc/pki/rackseed/authority.crt"
    name = url.split("/")[2].partition(":")[0]
    curl = ["curl", "--silent", "--show-error", "--capath", "/none", "--cacert", str(authority)]
    for port in (80, 443, 6080):
        curl += ["--resolve", f"{name}:{port}:{ADDRESSES['ctl01']}"]
    return rack.server.run([*curl, *words, url])


def test_every_service_answers_its_administrator(cloud):
    found = state.ask(cloud)
    assert str(found["token"]).startswith("gAAAA"), "a Fernet token"
    assert {"VCPU", "MEMORY_MB", "DISK_GB"} <= set(found["resource classes"])
    assert found["services"] == {"nova-conductor": "up", "nova-scheduler": "up"}
    assert found["flavours"] == {
        "g1.2xlarge": {"pci_passthrough:alias": "K20m:1"},
        "g1.4xlarge": {"pci_passthrough:alias": "K20m:2"},
    }
    for empty in ("images", "networks", "volumes", "stacks"):
        assert found[empty] == [], empty


def test_from_elsewhere_everything_but_guests_signals_is_asked_by_tls(cloud):
    # The test above asked all of these: what /root/openrc names are the public ones.
    found = dict(state.ask(cloud, CATALOG))
    assert found.pop("cloudformation") == "http://ctl01.cloud.example.org:8000/v1"
    assert len(found) == 7
    assert all(url.startswith(f"{DOOR}/") for url in found.values())


def test_services_write_links_as_they_were_asked(rack, cloud):
    for path in ("identity/v3", "compute/v2.1/", "volume/", "image/", "network/"):
        said = ask_from_elsewhere(rack, cloud, f"{DOOR}/{path}")
        links = re.findall(r'"href": *"(?!https?://docs\.)([^"]+)', said)
        assert links, path
        assert all(link.startswith(f"{DOOR}/{path.split('/')[0]}/") for link in links), links


def test_the_dashboard_is_shown_by_tls_alone(rack, cloud):
    assert LOGIN in ask_from_elsewhere(rack, cloud, f"{DOOR}/dashboard/auth/login/")
    words = ("--output", "/dev/null", "--write-out", "%{http_code} %{redirect_url}")
    plain = ask_from_elsewhere(rack, cloud, f"{DOOR}/dashboard/".replace("https", "http"), *words)
    assert plain == f"301 {DOOR}/dashboard/"


def test_consoles_of_guests_are_shown_by_tls_alone(rack, cloud):
    words = ("--output", "/dev/null", "--write-out", "%{ssl_verify_result} %{http_code}")
    result, code = ask_from_elsewhere(rack, cloud, f"{DOOR}:6080/", *words).split()
    assert (result, code != "000") == ("0", True)


def served(cloud: Machine, port: int) -> str:
    """The serial number of the certificate that a port shows."""
    address = f"{ADDRESSES['ctl01']}:{port}"
    script = f"openssl s_client -connect {address} </dev/null | openssl x509 -noout -serial"
    return cloud.run("bash", "-c", script)


def findings(cloud: Machine) -> set[str]:
    """What node-check has to say of certificates."""
    said = json.loads(cloud.try_run("node-check", "--role", "full", "--json").stdout)
    return {each["what"] for each in said["missing"] if each["check"] == "certificates"}


def test_a_certificate_that_ends_soon_is_named_and_renewed_for_all_who_ask(rack, cloud):
    assert findings(cloud) == set()
    cloud.run("systemctl", "is-active", "rackseed-certificates.timer")
    cloud.run("bash", "-euo", "pipefail", "-c", SHORTEN, "/etc/pki/rackseed/authority")
    cloud.wait_for(lambda: served(cloud, 443) == SEVEN)
    assert findings(cloud) == {f"?{CERTIFICATE}"}
    before = state.processes_of(cloud)
    cloud.run("systemctl", "start", "rackseed-certificates.service")
    new = cloud.run("openssl", "x509", "-noout", "-serial", "-in", CERTIFICATE)
    assert new != SEVEN
    cloud.wait_for(lambda: served(cloud, 443) == new)
    assert served(cloud, 6080) == new
    assert ask_from_elsewhere(rack, cloud, f"{DOOR}/identity/v3")
    assert findings(cloud) == set()
    assert state.processes_of(cloud) == before, "nobody's connection was cut"


def test_a_certificate_of_an_operator_is_left_alone(cloud):
    kept = (cloud.root / CERTIFICATE[1:]).read_bytes()
    cloud.run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
              "-nodes", "-subj", "/CN=his", "-keyout", "/tmp/his.key", "-out", "/tmp/his.crt",
    )  # fmt: skip
    cloud.run("bash", "-euo", "pipefail", "-c", SHORTEN, "/tmp/his")
    try:
        cloud.run("systemctl", "start", "rackseed-certificates.service")
        assert cloud.run("openssl", "x509", "-noout", "-serial", "-in", CERTIFICATE) == SEVEN
    finally:
        (cloud.root / CERTIFICATE[1:]).write_bytes(kept)
        cloud.run("systemctl", "reload", "httpd.service")


@pytest.mark.parametrize("path", [path for path in options.FILES if "ovn_agent" not in path])
def test_options_are_such_as_the_service_knows(cloud, path):
    assert options.complaints(cloud, path) == []


def test_no_argument_of_any_process_was_a_secret(watch):
    assert watch.looked > 1000
    assert watch.seen == set()


def test_secrets_are_left_in_the_files_that_need_them_and_nowhere_else(rack, cloud):
    found = holders(cloud, rack.secrets)
    assert {path for path in found if not NOVAS_OWN.fullmatch(path)} == CONFIGURED
    for path in CONFIGURED:
        mode = (cloud.root / path.lstrip("/")).stat().st_mode & 0o777
        assert mode in (0o600, 0o640), path
    assert {name for names in found.values() for name in names} >= {"ADMIN_PASSWORD"}


def test_nothing_of_what_the_installer_kept_opens_anything(rack, cloud):
    for name in ("anaconda-ks.cfg", "original-ks.cfg", ".bash_history"):
        assert not (cloud.root / "root" / name).exists(), name
    assert list((cloud.root / "etc/rackseed").iterdir()) == [cloud.root / "etc/rackseed/settings"]
    kept = cloud.try_run(
        *("grep", "-rlE", r"/(answer|report|secrets)/[A-Za-z0-9_-]{20,}"),
        *("/etc", "/root", "/home", "/var", "/usr/local", "/tmp", "/run/log", "/run/systemd"),
    )
    assert kept.stdout == ""
    assert "network --device" in (cloud.root / "var/log/anaconda/anaconda.log").read_text()
    assert holders(cloud, {"grace": PASSWORD_HASH}) == {}


def test_a_second_run_of_every_step_changes_nothing(rack, cloud):
    before = state.look_at(cloud)
    state.restore_secrets(cloud, rack.secrets)
    ran = cloud.run(state.STEPS, "--again")
    assert [line.split()[2] for line in ran.splitlines() if line.endswith("begins")] == STEPS
    after = state.look_at(cloud)
    assert after.files == before.files
    assert after.database == before.database
    assert after.queue == before.queue
    assert after.processes == before.processes, "a service was started again"
    assert not (cloud.root / "etc/rackseed/secrets").exists()


def test_every_step_again_is_refused_before_it_begins_without_the_secrets(cloud):
    refused = cloud.try_run(state.STEPS, "--again")
    assert refused.returncode == 1
    assert "the secrets are gone" in refused.stderr
    assert state.done(cloud) == STEPS


def test_everything_comes_back_by_itself_when_the_machine_starts_again(rack, cloud):
    cloud.kill()
    cloud.boot()

    def answers() -> bool:
        time.sleep(5)  # asking takes seconds of the processors that the start needs
        services = (state.try_ask(cloud) or {}).get("services")
        return services == {"nova-conductor": "up", "nova-scheduler": "up"}

    cloud.wait_for(answers, 180)
    assert LOGIN in ask_from_elsewhere(rack, cloud, f"{DOOR}/dashboard/auth/login/")
    failed = cloud.run("systemctl", "list-units", "--failed", "--plain", "--no-legend")
    assert failed == "", cloud.run("journalctl", "--no-pager", "--lines=60", "--priority=notice")
