"""The services of a controller on the fixture distribution: real, and where Fedora has them."""

from pathlib import Path

import pytest

from tests.fixture_distribution import extra
from tests.fixture_distribution.root import Root

HELPERS = """
set -eu
as() { user=$1; shift; setpriv --reuid="$user" --regid="$user" --init-groups "$@"; }
get() { curl --silent --show-error --retry 60 --retry-connrefused --retry-delay 1 "$@" 2>/tmp/get; }
systemd-tmpfiles --create mariadb.conf httpd.conf chrony.conf
"""

DATABASE = """
as mysql /usr/libexec/mariadb-prepare-db-dir >/tmp/prepare 2>&1
as mysql /usr/libexec/mariadbd --basedir=/usr >/tmp/log 2>&1 &
mariadb-admin --wait=60 ping >/tmp/ping 2>&1
mariadb --execute="CREATE DATABASE example"
mariadb --skip-column-names --execute="SHOW DATABASES LIKE 'example'"
"""

CACHE = """
. /etc/sysconfig/memcached
memcached -d -p "$PORT" -u "$USER" -m "$CACHESIZE" $OPTIONS
sleep 1
python3 -c "
import memcache
cache = memcache.Client(['127.0.0.1:11211'])
cache.set('key', 'cached')
print(cache.get('key'))"
"""

WEB = """
echo "
def application(environ, start):
    start('200 OK', [])
    return [b'answered by WSGI']" >/var/www/example.py
echo 'ServerName localhost
WSGIScriptAlias /example /var/www/example.py
<Directory /var/www>
    Require all granted
</Directory>' >/etc/httpd/conf.d/example.conf
/usr/libexec/httpd-ssl-gencerts
httpd -t
httpd -k start
get http://localhost/example
get --cacert /etc/pki/tls/certs/localhost.crt https://localhost/example
"""

STORE = """
as etcd sh -ac '. /etc/etcd/etcd.conf; exec etcd' >/tmp/log 2>&1 &
get http://localhost:2379/health
"""

QUEUE = """
as rabbitmq env HOME=/var/lib/rabbitmq /usr/lib/rabbitmq/bin/rabbitmq-server >/tmp/log 2>&1 &
for _ in $(seq 60); do
    rabbitmqctl --quiet await_startup 2>/tmp/waiting && break
    sleep 1
done
rabbitmqctl --quiet add_user openstack example
rabbitmqctl --quiet list_users
"""

TIME = "chronyd -p -f /etc/chrony.conf"
NAMES = "dnsmasq --test 2>&1"
IMAGES = "qemu-img create -q -f qcow2 /tmp/disk 1G; qemu-img info /tmp/disk"

SERVICES = [
    ("mariadb-server", DATABASE, "example\n"),
    ("memcached", CACHE, "cached\n"),
    ("httpd", WEB, "answered by WSGI" * 2),
    ("etcd", STORE, '{"health":"true"}'),
    ("rabbitmq-server", QUEUE, "openstack\t[]"),
    ("chrony", TIME, "driftfile /var/lib/chrony/drift"),
    ("dnsmasq", NAMES, "syntax check OK"),
    ("qemu-img", IMAGES, "virtual size: 1 GiB"),
]
NEEDED = [name for name, _, _ in SERVICES]


@pytest.fixture(scope="module")
def controller(
    fixture_distribution: Path, fixture_extra: Path, tmp_path_factory: pytest.TempPathFactory
) -> Root:
    repositories = {"fixture": fixture_distribution, "fixture-extra": fixture_extra}
    root = Root(tmp_path_factory.mktemp("controller"), repositories)
    root.install("@core", "curl", "mod_ssl", "python3-mod_wsgi", "python3-memcached", *NEEDED)
    return root


def test_nothing_of_a_controller_is_altered_by_being_installed(controller: Root):
    assert controller.altered() == []


@pytest.mark.parametrize(("name", "script", "expected"), SERVICES, ids=NEEDED)
def test_a_service_of_a_controller_starts_and_answers(controller: Root, name, script, expected):
    done = controller.run("bash", "-c", HELPERS + script)
    assert done.returncode == 0, done.stdout + done.stderr
    assert expected in done.stdout


def test_stand_ins_are_names_that_say_what_they_are(
    fixture_distribution, fixture_extra, fixture_openstack, tmp_path
):
    repositories = {
        "fixture": fixture_distribution,
        "fixture-extra": fixture_extra,
        "fixture-openstack": fixture_openstack,
    }
    root = Root(tmp_path, repositories)
    wanted = {*extra.STAND_INS, *extra.OPENSTACK}
    root.install("rpm", *wanted)
    listed = root.check("rpm", "-q", "--queryformat", "%{SUMMARY}\n", *wanted)
    assert {line.removeprefix("fixture: empty stand-in for ") for line in listed.split("\n")} == {
        *wanted,
        "",
    }
