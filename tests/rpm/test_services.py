"""Our own service packages on the fixture distribution: installed by dnf, started, asked.

Each service runs as its unit says, in one sandbox with a network of its own, on SQLite and
without a message queue.
"""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.fixture_distribution import packages
from tests.fixture_distribution.root import Root
from tests.rpm.host import PATIENCE, Host

PACKAGES = (
    "openstack-keystone",
    "openstack-glance",
    "openstack-placement-api",
    "openstack-nova-api",
    "openstack-nova-conductor",
    "openstack-nova-scheduler",
    "python3-openstackclient",
)

PASSWORD = "a-password-of-a-test"
IDENTITY = "http://127.0.0.1:5000/v3"

CREDENTIALS: Mapping[str, str] = {
    "OS_AUTH_URL": IDENTITY,
    "OS_USERNAME": "admin",
    "OS_PASSWORD": PASSWORD,
    "OS_PROJECT_NAME": "admin",
    "OS_USER_DOMAIN_NAME": "Default",
    "OS_PROJECT_DOMAIN_NAME": "Default",
}


ACCOUNTS = """
import sys
import openstack

identity = openstack.connect().identity
project = identity.create_project(name="service", domain_id="default")
role = identity.find_role("admin")
for name, kind, url in (
    ("glance", "image", "http://127.0.0.1:9292"),
    ("placement", "placement", "http://127.0.0.1:8778"),
    ("nova", "compute", "http://127.0.0.1:8774/v2.1"),
):
    user = identity.create_user(name=name, password=sys.argv[1], domain_id="default")
    identity.assign_project_role_to_user(project, user, role)
    service = identity.create_service(name=name, type=kind)
    for interface in ("public", "internal"):
        identity.create_endpoint(
            service_id=service.id, interface=interface, url=url, region_id="here"
        )
"""
"""What an operator says to Keystone once, in one process: each command takes seconds to begin."""


LIBVIRT = """
import libvirt
import nova.conf
from nova.virt.libvirt import host

nova.conf.CONF([], project="nova")
libvirt.virEventRegisterDefaultImpl()
found = host.Host("test:///default", read_only=False)
print([domain.name() for domain in found.get_connection().listAllDomains()])
"""


class Cloud(Host):
    """With the client's words."""

    def openstack(self, *words: str) -> object:
        return json.loads(self.run("openstack", *words, "-f", "json", env=CREDENTIALS))


@pytest.fixture(scope="module")
def host(
    our_repository: Path, fixture_distribution: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cloud]:
    folder = tmp_path_factory.mktemp("host")
    root = Root(folder, {"fixture": fixture_distribution, "services": our_repository})
    root.install("@core", *PACKAGES)
    running = Cloud(root.path)
    try:
        configure(root.path)
        bring_up(running)
        yield running
    finally:
        running.close()


def configure(root: Path) -> None:
    """What an operator says, in files of his own beside those of the packages.

    One worker each where several would write to SQLite as they begin.
    """
    write(root, "keystone", "keystone", {"database": {"connection": database("keystone")}})
    write(
        root,
        "glance",
        "glance",
        {
            "database": {"connection": database("glance")},
            "keystone_authtoken": account("glance"),
        },
    )
    write(
        root,
        "placement",
        "placement",
        {
            "placement_database": {"connection": database("placement")},
            "keystone_authtoken": account("placement"),
        },
    )
    write(
        root,
        "nova",
        "nova",
        {
            "DEFAULT": {"transport_url": "fake:/"},
            "database": {"connection": database("nova")},
            "api_database": {"connection": database("nova", "nova-api")},
            "keystone_authtoken": account("nova"),
            "placement": account("nova"),
            "service_user": {"send_service_user_token": "true", **account("nova")},
        },
    )

    for service, unit in (
        ("keystone", "openstack-keystone"),
        ("placement", "openstack-placement-api"),
    ):
        options = f"--config=/usr/share/{service}/gunicorn.conf.py --workers=1"
        (root / "etc/sysconfig").mkdir(exist_ok=True)
        (root / "etc/sysconfig" / unit).write_text(f'GUNICORN_CMD_ARGS="{options}"\n', "utf-8")


def write(root: Path, service: str, name: str, said: Mapping[str, Mapping[str, str]]) -> None:
    folder = root / "etc" / service / f"{name}.conf.d"
    folder.mkdir()
    text = "".join(
        f"[{section}]\n" + "".join(f"{key} = {value}\n" for key, value in options.items())
        for section, options in said.items()
    )
    (folder / "site.conf").write_text(text, encoding="utf-8")


def database(service: str, name: str | None = None) -> str:
    return f"sqlite:////{file(service, name)}?timeout={PATIENCE:g}"


def file(service: str, name: str | None = None) -> str:
    return f"var/lib/{service}/{name or service}.sqlite"


def let_many_write(host: Cloud, service: str, name: str | None = None) -> None:
    """SQLite's write-ahead log, so that readers and a writer do not wait for one another."""
    statement = "PRAGMA journal_mode = WAL"
    script = f"import sqlite3; sqlite3.connect('/{file(service, name)}').execute('{statement}')"
    host.run("python3", "-c", script, user=service)


def account(name: str) -> Mapping[str, str]:
    return {
        "auth_url": IDENTITY,
        "www_authenticate_uri": IDENTITY,
        "auth_type": "password",
        "username": name,
        "password": PASSWORD,
        "project_name": "service",
        "user_domain_name": "Default",
        "project_domain_name": "Default",
        "region_name": "here",
    }


def bring_up(host: Cloud) -> None:
    """As the installation guide of OpenStack says."""
    host.run("keystone-manage", "db_sync", user="keystone")
    let_many_write(host, "keystone")
    for keys in ("fernet_setup", "credential_setup"):
        host.run("keystone-manage", keys, "--keystone-user=keystone", "--keystone-group=keystone")
    urls = [f"--bootstrap-{kind}-url={IDENTITY}" for kind in ("public", "internal", "admin")]
    host.run(
        *("keystone-manage", "bootstrap", f"--bootstrap-password={PASSWORD}"),
        *(*urls, "--bootstrap-region-id=here"),
        user="keystone",
    )
    host.start("openstack-keystone.service", 5000)
    host.run("/usr/lib/openstack/client/bin/python3", "-c", ACCOUNTS, PASSWORD, env=CREDENTIALS)
    host.run("glance-manage", "db_sync", user="glance")
    host.run("placement-manage", "db", "sync", user="placement")
    host.run("nova-manage", "api_db", "sync", user="nova")
    host.run("nova-manage", "cell_v2", "map_cell0", user="nova")
    host.run("nova-manage", "cell_v2", "create_cell", "--name=cell1", user="nova")
    host.run("nova-manage", "db", "sync", user="nova")
    for service, name in (("glance", ""), ("placement", ""), ("nova", ""), ("nova", "nova-api")):
        let_many_write(host, service, name)
    host.start("openstack-glance-api.service", 9292)
    host.start("openstack-placement-api.service", 8778)
    host.start("openstack-nova-api.service", 8774)
    host.start("openstack-nova-conductor.service")
    host.start("openstack-nova-scheduler.service")


def test_keystone_gives_a_token(host: Cloud):
    token = host.openstack("token", "issue")
    assert token["id"].startswith("gAAAA"), "a Fernet token"


def test_keystone_refuses_a_wrong_password(host: Cloud):
    with pytest.raises(AssertionError, match="requires authentication"):
        host.run("openstack", "token", "issue", env={**CREDENTIALS, "OS_PASSWORD": "wrong"})


def test_glance_keeps_an_image(host: Cloud):
    content = os.urandom(100_000)
    (host.root / "image").write_bytes(content)
    host.openstack("image", "create", "--file=/image", "--disk-format=raw", "tiny")
    assert [image["Status"] for image in host.openstack("image", "list")] == ["active"]
    (stored,) = (host.root / "var/lib/glance/images").iterdir()
    assert stored.read_bytes() == content


def test_nova_lists_flavours_and_its_services(host: Cloud):
    host.openstack("flavor", "create", "--ram=64", "--disk=1", "--vcpus=1", "small")
    assert [(f["Name"], f["RAM"]) for f in host.openstack("flavor", "list")] == [("small", 64)]
    services = {s["Binary"]: s["State"] for s in host.openstack("compute", "service", "list")}
    assert services == {"nova-conductor": "up", "nova-scheduler": "up"}


def test_placement_counts_resources(host: Cloud):
    host.openstack("resource", "provider", "create", "a-host")
    providers = host.openstack("resource", "provider", "list")
    assert [provider["name"] for provider in providers] == ["a-host"]


@pytest.mark.parametrize("service", ["keystone", "glance", "placement", "nova"])
def test_services_write_their_logs_where_the_package_says(host: Cloud, service: str):
    logs = [path for path in (host.root / "var/log" / service).iterdir() if path.stat().st_size]
    assert logs, f"/var/log/{service} has no log"
    lines = (host.root / "etc/passwd").read_text("utf-8").splitlines()
    numbers = {line.split(":")[0]: int(line.split(":")[2]) for line in lines}
    assert {path.stat().st_uid for path in logs} == {numbers[service]}


def test_no_secret_is_readable_for_everybody(host: Cloud):
    for service in ("keystone", "glance", "placement", "nova"):
        assert (host.root / "etc" / service).stat().st_mode & 0o007 == 0, f"/etc/{service}"
        for folder in ("var/lib", "var/log"):
            assert (host.root / folder / service).stat().st_mode & 0o007 == 0, (
                f"/{folder}/{service}"
            )


def test_nova_compute_reaches_libvirt_by_the_binding_of_the_distribution(
    our_repository: Path, fixture_distribution: Path, fixture_extra: Path, tmp_path: Path
):
    repositories = {"fixture": fixture_distribution, "fixture-extra": fixture_extra}
    root = Root(tmp_path, {**repositories, "services": our_repository})
    root.install("openstack-nova-compute")
    python = "/usr/lib/openstack/nova/bin/python3"
    assert root.check(python, "-c", "import libvirtmod; print(libvirtmod.__file__)").endswith(
        "/site-packages/libvirtmod.abi3.so\n"
    )
    assert root.check(python, "-c", LIBVIRT) == "['test']\n"


def test_the_same_sources_give_the_same_payload(
    our_repository: Path, fixture_target: Path, tmp_path: Path
):
    """Cinder's: with a module compiled from C and a configuration written by its own commands."""
    (again,) = packages.build(["openstack-cinder"], fixture_target, tmp_path)
    first = our_repository / again.name
    assert payload(again) == payload(first)


def payload(package: Path) -> str:
    query = "%{PAYLOADDIGEST} [%{FILENAMES} %{FILEDIGESTS} %{FILEMODES:perms}\n]"
    argv = ["rpm", "--query", "--package", f"--queryformat={query}", str(package)]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout
