"""A real Keystone and a real Glance from PyPI, on loopback, for as long as a block lasts.

They live in an environment of their own, apart from the product's; it is made once for each
list of requirements and kept below XDG_CACHE_HOME.
"""

import fcntl
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import openstack
import yaml

from tests.tools import missing

REQUIREMENTS = ("keystone==30.0.0", "glance==33.0.0", "cheroot==11.1.2")
"""cheroot hands a request's body on while it arrives, as the servers of real clouds do."""
SERVE = """\
import importlib, sys
from cheroot.wsgi import Server
module, port = sys.argv[1:]
del sys.argv[1:]  # the services would read it as their own
application = importlib.import_module(module).application
server = Server(("127.0.0.1", int(port)), application, numthreads=8)
server.max_request_body_size = 0
server.safe_start()
"""
REGION = "test"
PASSWORD = "correct horse battery staple"
"""Of every user; nothing but loopback reaches the services."""
READY_SECONDS = 60

KEYSTONE = """\
[DEFAULT]
use_stderr = true
[database]
connection = sqlite:///{folder}/keystone.db?timeout=60
[fernet_tokens]
key_repository = {folder}/fernet
[credential]
key_repository = {folder}/credential
[cache]
enabled = false
[identity]
password_hash_rounds = 4
"""
GLANCE = """\
[DEFAULT]
enabled_backends = disk:file
workers = 1
use_stderr = true
{more}
[database]
connection = sqlite:///{folder}/glance.db?timeout=60
[glance_store]
default_backend = disk
[disk]
filesystem_store_datadir = {folder}/images
[os_glance_staging_store]
filesystem_store_datadir = {folder}/staging
[os_glance_tasks_store]
filesystem_store_datadir = {folder}/tasks
[paste_deploy]
flavor = keystone
config_file = {paste}
[keystone_authtoken]
www_authenticate_uri = {keystone}
auth_url = {keystone}
auth_type = password
interface = public
region_name = test
username = admin
password = {password}
project_name = admin
user_domain_name = Default
project_domain_name = Default
[oslo_policy]
enforce_scope = false
"""


@dataclass
class Service:
    """One of the two, as a process that may be killed and started again."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    url: str
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.argv, env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        end = time.monotonic() + READY_SECONDS
        while not _answers(self.url):
            assert self.process.poll() is None, f"{self.name} ended: {self.log.read_text()[-3000:]}"
            assert time.monotonic() < end, f"{self.name} is not ready: {self.log}"
            time.sleep(0.05)

    def kill(self) -> None:
        """End it as a power cut does."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None


@dataclass
class Cloud:
    """Both services, an administrator, and two ordinary projects."""

    folder: Path
    keystone: Service
    glance: Service
    clouds: dict[str, dict[str, object]] = field(default_factory=dict)
    _connections: dict[str, openstack.connection.Connection] = field(default_factory=dict)

    @property
    def clouds_yaml(self) -> Path:
        """The file for OS_CLIENT_CONFIG_FILE: clouds `admin`, `builder` and `other`."""
        return self.folder / "clouds.yaml"

    @property
    def environment(self) -> dict[str, str]:
        """Ours, with that file and without what may be set for another cloud."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
        return kept | {"OS_CLIENT_CONFIG_FILE": str(self.clouds_yaml)}

    def connect(self, name: str = "builder") -> openstack.connection.Connection:
        """A client as one of the users."""
        if name not in self._connections:
            auth = self.clouds[name]["auth"]
            assert isinstance(auth, dict)
            self._connections[name] = openstack.connection.Connection(
                auth=auth, region_name=REGION, identity_api_version="3"
            )
        return self._connections[name]

    def forget_tokens(self) -> None:
        """Log in anew."""
        self._connections.clear()

    def stored(self, image_id: str) -> Path:
        """The file in which Glance keeps an image's bytes."""
        return self.folder / "glance/images" / image_id

    def configure_glance(self, *lines: str) -> None:
        """Start Glance again with more lines in its section DEFAULT."""
        self.glance.kill()
        _write_glance(self.folder / "glance", self.keystone.url, "\n".join(lines))
        self.glance.start()

    def write_clouds(self, **more: Mapping[str, object]) -> None:
        """Write clouds.yaml, with more clouds than there are."""
        document = {"clouds": {**self.clouds, **more}}
        self.clouds_yaml.write_text(yaml.safe_dump(document))
        self.clouds_yaml.chmod(0o600)


@contextmanager
def cloud() -> Iterator[Cloud]:
    """Keystone and Glance; nothing of them is left afterwards."""
    bin_folder = environment() / "bin"
    with ExitStack() as stack:
        scratch = tempfile.TemporaryDirectory(prefix="rackseed-openstack-")
        folder = Path(stack.enter_context(scratch))
        keystone = _keystone(folder / "keystone", bin_folder)
        stack.callback(keystone.kill)
        keystone.start()
        glance = _glance(folder / "glance", bin_folder, keystone.url)
        stack.callback(glance.kill)
        made = Cloud(folder, keystone, glance)
        _populate(made)
        glance.start()
        yield made


def environment() -> Path:
    """The virtual environment of the services, made when it is not there."""
    key = hashlib.sha256(repr((REQUIREMENTS, sys.version)).encode()).hexdigest()[:16]
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rackseed/openstack"
    base.mkdir(parents=True, exist_ok=True)
    place = base / key
    with (base / f"{key}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "complete").exists():
            shutil.rmtree(place, ignore_errors=True)
            _install(place)
            (place / "complete").touch()
    return place


def _install(place: Path) -> None:
    steps = (
        [sys.executable, "-m", "venv", str(place)],
        [str(place / "bin/pip"), "install", "--quiet", *REQUIREMENTS],
    )
    for argv in steps:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode:
            shutil.rmtree(place, ignore_errors=True)
            missing(f"Keystone and Glance cannot be installed: {done.stderr[-500:]}")


def _keystone(folder: Path, bin_folder: Path) -> Service:
    for name in ("fernet", "credential"):
        (folder / name).mkdir(parents=True, mode=0o700)
    conf = folder / "keystone.conf"
    conf.write_text(KEYSTONE.format(folder=folder))
    port = _free_port()
    url = f"http://127.0.0.1:{port}/v3"
    env = _own_environment() | {"OS_BOOTSTRAP_PASSWORD": PASSWORD}
    log = folder / "log"
    manage = [str(bin_folder / "keystone-manage"), "--config-file", str(conf)]
    _run(log, env, *manage, "db_sync")
    me = ("--keystone-user", str(os.geteuid()), "--keystone-group", str(os.getegid()))
    _run(log, env, *manage, "fernet_setup", *me)
    region = ("--bootstrap-region-id", REGION)
    _run(log, env, *manage, "bootstrap", "--bootstrap-public-url", url, *region)
    argv = [str(bin_folder / "python"), "-c", SERVE, "keystone.wsgi.api", str(port)]
    serving = _own_environment() | {
        "OS_KEYSTONE_CONFIG_FILES": str(conf),
        "OS_KEYSTONE_CONFIG_DIR": str(folder),
    }
    return Service("Keystone", argv, serving, url, log)


def _glance(folder: Path, bin_folder: Path, keystone: str) -> Service:
    for name in ("images", "staging", "tasks"):
        (folder / name).mkdir(parents=True)
    _write_glance(folder, keystone)
    port = _free_port()
    log = folder / "log"
    conf = str(folder / "glance-api.conf")
    env = _own_environment()
    _run(log, env, str(bin_folder / "glance-manage"), "--config-file", conf, "db_sync")
    argv = [str(bin_folder / "python"), "-c", SERVE, "glance.wsgi.api", str(port)]
    serving = env | {"OS_GLANCE_CONFIG_DIR": str(folder)}
    return Service("Glance", argv, serving, f"http://127.0.0.1:{port}", log)


def _write_glance(folder: Path, keystone: str, more: str = "") -> None:
    values = {"folder": folder, "keystone": keystone, "password": PASSWORD, "more": more}
    paste = environment() / "etc/glance/glance-api-paste.ini"
    (folder / "glance-api.conf").write_text(GLANCE.format(**values, paste=paste))


def _populate(made: Cloud) -> None:
    """The service catalog, and the projects `builder` and `other` with a user each."""

    def entry(name: str) -> dict[str, object]:
        auth = {
            "auth_url": made.keystone.url,
            "username": name,
            "password": PASSWORD,
            "project_name": name,
            "user_domain_name": "Default",
            "project_domain_name": "Default",
        }
        return {"auth": auth, "region_name": REGION, "identity_api_version": "3"}

    made.clouds["admin"] = entry("admin")
    identity = made.connect("admin").identity
    service = identity.create_service(name="glance", type="image")
    identity.create_endpoint(
        service_id=service.id, interface="public", url=made.glance.url, region_id=REGION
    )
    member = identity.find_role("member")
    for name in ("builder", "other"):
        project = identity.create_project(name=name, domain_id="default")
        user = identity.create_user(
            name=name, password=PASSWORD, domain_id="default", default_project_id=project.id
        )
        identity.assign_project_role_to_user(project, user, member)
        made.clouds[name] = entry(name)
    made.forget_tokens()  # the administrator's does not know of Glance
    made.write_clouds()


def _run(log: Path, env: Mapping[str, str], *argv: str) -> None:
    with log.open("ab") as output:
        done = subprocess.run(
            argv, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False
        )
    assert done.returncode == 0, log.read_text()[-3000:]


def _own_environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
    kept.pop("PYTHONPATH", None)
    return kept | {"PYTHONWARNINGS": "ignore"}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
