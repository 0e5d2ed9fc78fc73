"""The dashboard on the fixture distribution: installed by dnf, started, asked by way of httpd."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixture_distribution.root import Root
from tests.rpm.host import Host

KEY = "var/lib/horizon/secret_key"
SNIPPET = "etc/openstack-dashboard/local_settings.d/60-site.py"


@pytest.fixture(scope="module")
def host(
    our_repository: Path,
    fixture_distribution: Path,
    fixture_extra: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Host]:
    repositories = {
        "fixture": fixture_distribution,
        "fixture-extra": fixture_extra,
        "ours": our_repository,
    }
    root = Root(tmp_path_factory.mktemp("dashboard"), repositories)
    root.install("@core", "curl", "memcached", "openstack-dashboard")
    assert not (root.path / KEY).exists()
    group = root.check("getent", "group", "apache").split(":")[2]
    snippet = root.path / SNIPPET
    snippet.write_text('ALLOWED_HOSTS = ["cloud.example.org", "localhost"]\n', encoding="utf-8")
    snippet.chmod(0o640)
    os.chown(snippet, 0, int(group))
    running = Host(root.path)
    try:
        running.run("systemd-tmpfiles", "--create", "httpd.conf")
        running.start("memcached.service", 11211)
        running.start("openstack-dashboard.service", 8008)
        running.start("httpd.service", 80)
        yield running
    finally:
        running.close()


def get(host: Host, path: str, *words: str) -> tuple[str, str]:
    """Status and body of what httpd answers."""
    argv = ("curl", "--silent", "--show-error", "--write-out", "\n%{http_code}", *words)
    body, _, status = host.run(*argv, f"http://localhost{path}").rpartition("\n")
    return status, body


def test_the_login_page_is_answered_with_its_style(host: Host):
    status, page = get(host, "/dashboard/auth/login/")
    assert status == "200", host.logs()
    assert 'name="username"' in page
    assert 'name="csrfmiddlewaretoken"' in page
    sheets = re.findall(r'href="(/dashboard/static/[^"]+\.css)"', page)
    scripts = re.findall(r'src="(/dashboard/static/[^"]+\.js)"', page)
    assert sheets
    assert scripts
    for path in (*sheets, *scripts):
        assert get(host, path)[0] == "200", path


def test_the_login_page_speaks_the_language_of_its_reader(host: Host):
    assert "Anmelden" in get(host, "/dashboard/auth/login/", "--header", "Accept-Language: de")[1]


def test_nobody_comes_in_without_a_login_or_under_another_name(host: Host):
    assert get(host, "/dashboard/project/")[0] == "302"
    assert (
        get(host, "/dashboard/auth/login/", "--header", "Host: elsewhere.example.org")[0] == "400"
    )
    assert get(host, "/dashboard/auth/login/", "--header", "Host: cloud.example.org")[0] == "200"


def test_the_secret_key_is_made_at_the_first_start_and_is_the_services_alone(host: Host):
    key = host.root / KEY
    assert re.fullmatch(r"[A-Za-z0-9]{64}", key.read_text("ascii"))
    user = host.run("id", "--user", "horizon").strip()
    assert (key.stat().st_mode & 0o777, key.stat().st_uid) == (0o600, int(user))


def test_the_dashboard_listens_on_this_host_alone(host: Host):
    listening = host.run("ss", "--no-header", "--listening", "--tcp", "--numeric", "sport = 8008")
    assert [line.split()[3] for line in listening.splitlines()] == ["127.0.0.1:8008"]
