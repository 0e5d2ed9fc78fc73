"""The repository moves to another server and another key, and hosts follow by its own package."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rpmspecs.repo import Change, publish, write_release
from rpmspecs.signing import Signer, make_key, open_key
from rpmspecs.spec import RELEASE
from tests.fixture_distribution import packages
from tests.fixture_distribution.root import Root
from tests.repository import PROGRAMS, make_repository, make_rpm, serving

REPOSITORY = "etc/yum.repos.d/rackseed.repo"
SERVER = "etc/dnf/vars/rackseed_server"
KEY = "etc/pki/rpm-gpg/RPM-GPG-KEY-rackseed"


@dataclass(frozen=True)
class Move:
    """Two places of a repository."""

    servers: tuple[str, str]
    keys: tuple[str, str]
    first: Path
    """A repository with the release package of the first place, as a kickstart brings it."""


@pytest.fixture(scope="module")
def new_signer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Signer]:
    home = tmp_path_factory.mktemp("new") / "gnupg"
    key = make_key("New <new@example.org>", home, PROGRAMS)
    with open_key(key.fingerprint, [key.home], PROGRAMS) as opened:
        yield opened


@pytest.fixture(scope="module")
def move(
    fixture_target: Path,
    signer: Signer,
    new_signer: Signer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Move]:
    """The first place has the second's release package; the second has what hosts want."""
    top = tmp_path_factory.mktemp("move")
    with serving(top / "old") as old, serving(top / "new") as new:
        urls = (f"{old}/rpm/fixture-1", f"{new}/packages")
        keys = (signer.public_key(), new_signer.public_key())
        made = []
        for day, (url, key) in enumerate(zip(urls, keys, strict=True), start=1):
            folder = top / f"release-{day}"
            write_release(folder, url, key, datetime(2026, 5, day, tzinfo=UTC))
            made += packages.build([str(folder)], fixture_target, top / "results")
        before, after = made
        tool = make_rpm(top / "rpms", "tool-fixture", "1")
        publish(Change((after,), url=urls[0]), top / "old/rpm/fixture-1", signer, PROGRAMS)
        publish(Change((after, tool), url=urls[1]), top / "new/packages", new_signer, PROGRAMS)
        yield Move((f"{old}\n", f"{new}\n"), keys, make_repository(top / "first", [before]))


@pytest.fixture
def host(fixture_root: Callable[..., Root], move: Move) -> Root:
    """A root that knows the first place."""
    root = fixture_root(first=move.first)
    root.install("@core", RELEASE)
    assert (root.path / SERVER).read_text() == move.servers[0]
    assert (root.path / KEY).read_text() == move.keys[0]
    return root


def follow(host: Root) -> None:
    done = host.own_dnf("upgrade", RELEASE)
    assert done.returncode == 0, done.stderr
    assert f"{RELEASE}-20260502" in done.stdout


def test_hosts_follow_the_repository_to_its_new_server_and_key(host: Root, move: Move) -> None:
    refused = host.own_dnf("install", "tool-fixture")
    assert refused.returncode != 0

    follow(host)

    assert (host.path / SERVER).read_text() == move.servers[1]
    assert (host.path / KEY).read_text() == move.keys[1]
    assert "$rackseed_server/packages/" in (host.path / REPOSITORY).read_text()
    done = host.own_dnf("install", "tool-fixture")
    assert done.returncode == 0, done.stderr
    assert [*host.path.glob("etc/**/*.rpmnew"), *host.path.glob("etc/**/*.rpmsave")] == []
    assert host.altered() == []


def test_what_an_operator_wrote_survives_the_move_and_the_removal(host: Root, move: Move) -> None:
    server, repository = host.path / SERVER, host.path / REPOSITORY
    own = move.servers[0].replace("127.0.0.1", "localhost")
    server.write_text(own)
    mine = repository.read_text().replace("enabled=1", "enabled=0")
    follow(host)
    assert server.read_text() == own
    assert server.with_name("rackseed_server.rpmnew").read_text() == move.servers[1]
    assert (host.path / KEY).read_text() == move.keys[1]

    repository.write_text(mine)
    done = host.dnf("remove", RELEASE)
    assert done.returncode == 0, done.stderr
    assert not any((host.path / name).exists() for name in (SERVER, REPOSITORY, KEY))
    assert server.with_name("rackseed_server.rpmsave").read_text() == own
    assert repository.with_name("rackseed.repo.rpmsave").read_text() == mine


def test_removal_leaves_nothing_of_what_nobody_changed(host: Root) -> None:
    assert host.dnf("remove", RELEASE).returncode == 0
    left = [p for name in (SERVER, REPOSITORY, KEY) for p in host.path.glob(f"{name}*")]
    assert left == []
