"""`rackseed rpm publish` and its kin as a person without root calls them, with gpg's real keys."""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.fixture_distribution import packages
from tests.repository import Client, make_repository, make_rpm, serving
from tests.tools import require_root, require_tool

PERSON = "1000"
"""As whom the commands run: root's own keys lie in a folder of this machine."""

MADE = re.compile(
    r"warning: made a new key (?P<how>with your passphrase|without a passphrase): "
    r"(?P<fingerprint>[0-9A-F]{40}) \((?P<owner>.+)\), in (?P<home>\S+) \(mode 0700\)"
)

OWN_KEY = """\
%no-protection
Key-Type: RSA
Key-Length: 3072
Key-Usage: sign
Name-Real: Operator
Name-Email: operator@example.org
Expire-Date: 0
%commit
"""


class Person:
    """Somebody with a home of their own, who calls the command."""

    def __init__(self, home: Path) -> None:
        require_root()
        for tool, package in (("gpg", "gnupg"), ("createrepo_c", "createrepo-c")):
            require_tool(tool, package)
        self.home = home
        self.repository = home / "repository"
        self.keys = home / ".local/share/rackseed/gnupg"
        bwrap = str(require_tool("bwrap", "bubblewrap"))
        ordinary = ("--unshare-user", "--uid", PERSON, "--gid", PERSON)
        self._sandbox = [bwrap, "--dev-bind", "/", "/", "--die-with-parent", *ordinary]
        self._environment = {**os.environ, "HOME": str(home), "COLUMNS": "200"}
        for name in ("XDG_DATA_HOME", "GNUPGHOME"):
            self._environment.pop(name, None)

    def run(self, *argv: object, said: str = "", status: int = 0) -> tuple[str, str]:
        """What a program writes on stdout and stderr; `said` is what it reads."""
        done = subprocess.run(
            [*self._sandbox, *map(str, argv)],
            env=self._environment,
            cwd=self.home,
            input=said,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout, done.stderr

    def __call__(self, command: str, *words: object, status: int = 0) -> tuple[str, str]:
        """`rackseed rpm COMMAND` for this repository."""
        rackseed = Path(sys.executable).with_name("rackseed")
        repository = ("--repository", self.repository)
        return self.run(rackseed, "rpm", command, *words, *repository, status=status)

    def states(self) -> Sequence[dict[str, Any]]:
        found: Sequence[dict[str, Any]] = json.loads(self("states", "--json")[0])
        return found

    def secret_keys(self, home: Path) -> list[str]:
        """The fingerprints of what could sign."""
        gpg = ("gpg", "--homedir", home, "--batch", "--with-colons")
        listed = self.run(*gpg, "--list-secret-keys")[0]
        self.run("gpgconf", "--homedir", home, "--kill", "all")
        return re.findall(r"^sec:.*\nfpr:+([0-9A-F]{40})", listed, re.MULTILINE)


@pytest.fixture
def person() -> Iterator[Person]:
    """With a short path: an agent listens below it."""
    with tempfile.TemporaryDirectory(prefix="rackseed-") as home:
        yield Person(Path(home))


@pytest.fixture(scope="module")
def rpms(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Path]:
    """Two versions of a package."""
    folder = tmp_path_factory.mktemp("rpms")
    return [make_rpm(folder, "tool-fixture", version) for version in "12"]


def made_key(said: str) -> dict[str, str]:
    """What a person was told of a new key, in exactly one line."""
    (line,) = (line for line in said.splitlines() if "key" in line)
    told = MADE.fullmatch(line)
    assert told, said
    return told.groupdict()


def test_the_first_publication_makes_a_key_and_says_so(person, rpms):
    out, err = person("publish", rpms[0], "--make-key", "--owner", "Rack <rack@example.org>")
    assert out == f"{person.repository}: state 1 is live with 1 packages\n"
    told = made_key(err)
    assert (told["how"], told["owner"]) == ("without a passphrase", "Rack <rack@example.org>")
    assert told["home"] == str(person.keys)
    assert person.keys.stat().st_mode & 0o777 == 0o700
    assert person.secret_keys(person.keys) == [told["fingerprint"]]
    (state,) = person.states()
    assert (state["live"], state["key"]) == (True, told["fingerprint"])


def test_a_new_key_is_told_to_programs_and_beside_them(person, rpms):
    out, err = person("publish", rpms[0], "--make-key", "--json")
    state = json.loads(out)
    assert state["made_key_in"] == str(person.keys)
    assert made_key(err)["fingerprint"] == state["key"]


def test_no_key_is_made_unasked_nor_for_what_cannot_be_published(person, rpms):
    _, err = person("publish", rpms[0], status=2)
    assert "error: no key to sign with" in err
    assert "--make-key" in err
    text = person.home / "text.rpm"
    text.write_text("This is no package.\n")
    _, err = person("publish", text, "--make-key", status=2)
    assert err == f"error: {text} is not an RPM, expected one\n"
    assert not person.keys.exists()
    assert not person.repository.exists()


def test_further_publications_are_signed_with_the_same_key_in_silence(person, rpms):
    _, err = person("publish", rpms[0], "--make-key")
    key = made_key(err)["fingerprint"]
    assert person("publish", rpms[0]) == (
        f"{person.repository}: state 1 has all that already\n",
        "",
    )
    out, err = person("publish", rpms[1])
    assert (out, err) == (f"{person.repository}: state 2 is live with 2 packages\n", "")
    assert [(state["state"], state["key"]) for state in person.states()] == [(1, key), (2, key)]
    _, err = person("publish", rpms[1], "--make-key", status=2)
    assert f"--key {key}" in err
    assert person.secret_keys(person.keys) == [key]


def test_a_key_with_a_passphrase_asks_for_it_each_time(person, rpms):
    secret = person.home / "passphrase"
    secret.write_text("lies on no terminal\n")
    secret.chmod(0o600)
    words = ("--passphrase-file", secret)
    _, err = person("publish", rpms[0], "--make-key", *words)
    assert made_key(err)["how"] == "with your passphrase"
    assert "lies on" not in err
    person("publish", rpms[1], *words)
    secret.write_text("another\n")
    _, err = person("publish", "--url", "http://127.0.0.1:1/rpm", *words, status=2)
    assert err.startswith("error: this is not the passphrase of the key ")
    assert [state["live"] for state in person.states()] == [False, True]


def test_the_operators_own_key_signs_by_name_or_from_a_file(person, rpms):
    gnupg = person.home / ".gnupg"
    gnupg.mkdir(mode=0o700)
    gpg = ("gpg", "--homedir", gnupg, "--batch", "--quiet")
    person.run(*gpg, "--generate-key", said=OWN_KEY)
    exported, _ = person.run(*gpg, "--armor", "--export-secret-keys")
    (fingerprint,) = person.secret_keys(gnupg)
    assert person("publish", rpms[0], "--key", "operator@example.org")[1] == ""

    gnupg.rename(person.home / "elsewhere")
    file = person.home / "secret.asc"
    file.write_text(exported)
    file.chmod(0o600)
    assert person("publish", rpms[1], "--key", file)[1] == ""
    assert {state["key"] for state in person.states()} == {fingerprint}
    assert not person.keys.exists()


def test_a_host_follows_what_is_published_and_rolled_back(person, rpms, tmp_path):
    host = Client(tmp_path / "host")
    with serving(person.home) as url:
        at = f"{url}/{person.repository.name}"
        person("publish", rpms[0], "--make-key", "--url", at)
        host.use((person.repository / "current/rackseed.repo").read_text())
        done = host("install", "tool-fixture")
        assert (done.returncode, host.version("tool-fixture")) == (0, "1"), done.stderr

        person("publish", rpms[1])
        done = host("upgrade")
        assert (done.returncode, host.version("tool-fixture")) == (0, "2"), done.stderr
        rows = person("states")[0].splitlines()
        assert [row.split()[:2] for row in rows[2:]] == [["2", "*"]]
        assert rows[1].split()[0] == "1"
        assert all(row.endswith(at) for row in rows[1:])

        out, _ = person("rollback", "1")
        assert out == f"{person.repository}: state 1 is live again with 1 packages\n"
        done = host("distro-sync")
        assert (done.returncode, host.version("tool-fixture")) == (0, "1"), done.stderr
    _, err = person("rollback", "7", status=2)
    assert "has no state 7" in err
    assert "kept are 1, 2" in err
    assert [state["live"] for state in person.states()] == [True, False]


def test_the_release_command_writes_a_package_that_names_the_repository(
    person, rpms, fixture_target, fixture_root, tmp_path
):
    with serving(person.home) as url:
        at = f"{url}/{person.repository.name}"
        person("publish", rpms[0], "--make-key", "--url", at)
        out, err = person("release", person.home / "release", "--url", at)
        assert err == ""
        names = ("rackseed.repo", "RPM-GPG-KEY-rackseed", "rackseed-release.spec")
        assert out == "".join(f"wrote {person.home / 'release' / name}\n" for name in names)

        made = packages.build([str(person.home / "release")], fixture_target, tmp_path / "results")
        host = fixture_root(release=make_repository(tmp_path / "made", made))
        host.install("rackseed-release")
        variable = (host.path / "etc/dnf/vars/rackseed_server").read_text()
        assert variable == f"{url}\n"
        key = (host.path / "etc/pki/rpm-gpg/RPM-GPG-KEY-rackseed").read_text()
        assert key == (person.repository / "current/RPM-GPG-KEY-rackseed").read_text()
        done = host.own_dnf("install", "tool-fixture")
        assert done.returncode == 0, done.stderr
        assert (host.path / "usr/share/tool-fixture/version").exists()


def test_a_release_needs_a_url_that_hosts_can_use(person):
    _, err = person("release", person.home / "release", "--url", "srv/rpm", status=2)
    assert "--url" in err
    assert not (person.home / "release").exists()
