"""Publishing: what dnf, as the client with both checks on, gets of a repository."""

import gzip
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from rpmspecs.errors import BadInput, DiskFull
from rpmspecs.repo import Change, publish, repo_file, rollback
from rpmspecs.rpmfile import read_rpms
from rpmspecs.signing import Key, Signer, make_key, open_key
from rpmspecs.states import State, live_state, states
from tests.repository import PROGRAMS, Client, copied, make_rpm, serving
from tests.tools import require_tool

NO_GRACE = timedelta(0)


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> Key:
    require_tool("gpg", "gnupg")
    home = tmp_path_factory.mktemp("keys") / "gnupg"
    return make_key("Fixture <fixture@example.org>", home, PROGRAMS)


@pytest.fixture(scope="session")
def signer(key: Key) -> Iterator[Signer]:
    require_tool("createrepo_c", "createrepo-c")
    with open_key(key.fingerprint, [key.home], PROGRAMS) as opened:
        yield opened


@pytest.fixture(scope="session")
def rpms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("rpms")
    needs = "BuildArch: noarch\nRequires: base-fixture"
    return {
        "base-1": make_rpm(folder, "base-fixture", "1"),
        "base-2": make_rpm(folder, "base-fixture", "2"),
        "base-1-other": make_rpm(folder, "base-fixture", "1", "other"),
        "app-1": make_rpm(folder, "app-fixture", "1", tags=needs),
        "app-2": make_rpm(folder, "app-fixture", "2", tags=needs),
        "source": make_rpm(folder, "source-fixture", "1", source=True),
    }


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return tmp_path / "repository"


@pytest.fixture
def client(tmp_path: Path) -> Client:
    return Client(tmp_path / "client")


def by_folder(repository: Path) -> str:
    """A repository file that names the live state by its fixed name."""
    base = f"baseurl=file://{repository}/current"
    key = f"file://{repository}/current/RPM-GPG-KEY-rackseed"
    return repo_file("", key).replace("mirrorlist=/current/mirrorlist", base)


def test_dnf_installs_upgrades_and_removes_with_both_checks_on(repository, client, rpms, signer):
    publish(Change((rpms["base-1"], rpms["app-1"])), repository, signer, PROGRAMS)
    client.use(by_folder(repository))

    done = client("install", "app-fixture")

    assert done.returncode == 0, done.stderr
    assert (client.version("app-fixture"), client.version("base-fixture")) == ("1", "1")

    publish(Change((rpms["app-2"],)), repository, signer, PROGRAMS)
    done = client("upgrade")
    assert done.returncode == 0, done.stderr
    assert (client.version("app-fixture"), client.version("base-fixture")) == ("2", "1")

    done = client("remove", "base-fixture")
    assert done.returncode == 0, done.stderr
    assert (client.version("app-fixture"), client.version("base-fixture")) == (None, None)


def test_the_files_of_a_build_are_left_as_they_were(repository, rpms, signer):
    before = rpms["base-1"].read_bytes()
    publish(Change((rpms["base-1"],)), repository, signer, PROGRAMS)
    assert rpms["base-1"].read_bytes() == before


def test_dnf_refuses_a_package_that_was_put_in_unsigned(repository, client, rpms, signer):
    state = publish(Change((rpms["base-1"],)), repository, signer, PROGRAMS)
    packages = state.folder / "Packages"
    published = packages / rpms["base-1"].name
    published.unlink()
    shutil.copy(rpms["base-1"], published)
    client.use(by_folder(repository))

    refused = client("install", "base-fixture")

    assert refused.returncode != 0
    assert client.version("base-fixture") is None


def test_dnf_refuses_metadata_that_somebody_else_made(repository, client, rpms, signer):
    state = publish(Change((rpms["base-1"],)), repository, signer, PROGRAMS)
    subprocess.run(["createrepo_c", "--quiet", str(state.folder)], check=True)
    client.use(by_folder(repository))

    refused = client("install", "base-fixture")

    assert refused.returncode != 0
    assert "GPG" in refused.stderr
    assert client.version("base-fixture") is None


def test_a_package_is_replaced_by_another_of_its_name_only_when_asked(
    repository, client, rpms, signer
):
    publish(Change((rpms["base-1"],)), repository, signer, PROGRAMS)
    other = Change((rpms["base-1-other"],))

    with pytest.raises(BadInput, match=r"base-fixture-1-1\.noarch is in the repository with other"):
        publish(other, repository, signer, PROGRAMS)

    assert live_state(repository).number == 1
    publish(Change(other.add, replace=True), repository, signer, PROGRAMS)
    client.use(by_folder(repository))
    done = client("install", "base-fixture")
    assert done.returncode == 0, done.stderr
    assert client.version("base-fixture") == "1 other"
    assert (repository / "states/2/Packages" / rpms["base-1"].name).is_file(), "the old one's path"


def test_publishing_the_same_again_makes_no_state(repository, rpms, signer, tmp_path):
    change = Change((rpms["base-1"], rpms["source"]))
    first = publish(change, repository, signer, PROGRAMS)
    assert publish(change, repository, signer, PROGRAMS) == first
    # Signed by us already, as when it is copied from another repository of ours.
    signed = copied(first.folder / "Packages" / rpms["base-1"].name, tmp_path / "again")
    assert publish(Change((signed,)), repository, signer, PROGRAMS) == first


def test_a_repository_moves_to_another_address_by_a_new_state(repository, rpms, signer):
    before = "http://10.20.0.3/rpm/fixture-1"
    publish(Change((rpms["base-1"],), url=before), repository, signer, PROGRAMS)
    moved = publish(Change(url="http://10.20.0.4/rpm"), repository, signer, PROGRAMS)
    listed = (repository / "current/mirrorlist").read_text()
    assert (listed, moved.number) == ("http://10.20.0.4/rpm/states/2/\n", 2)
    assert [entry.name for entry in moved.packages] == ["base-fixture"]


def test_unchanged_packages_take_no_room_in_a_new_state(repository, rpms, signer):
    publish(Change((rpms["base-1"],)), repository, signer, PROGRAMS)
    publish(Change((rpms["app-1"],)), repository, signer, PROGRAMS)
    name = f"Packages/{rpms['base-1'].name}"
    one, two = ((repository / "states" / number / name).stat() for number in "12")
    assert one.st_ino == two.st_ino


def test_metadata_is_the_same_for_the_same_packages(tmp_path, rpms, signer):
    signed = publish(Change((rpms["base-1"], rpms["app-1"])), tmp_path / "x", signer, PROGRAMS)
    again = tuple((signed.folder / "Packages").iterdir())
    made = [
        publish(Change(again), tmp_path / name, signer, PROGRAMS).folder / "repodata/repomd.xml"
        for name in ("a", "b")
    ]
    assert made[0].read_bytes() == made[1].read_bytes()


def test_packages_are_taken_out_by_name(repository, rpms, signer):
    publish(Change((rpms["base-1"], rpms["base-2"], rpms["app-1"])), repository, signer, PROGRAMS)
    state = publish(
        Change(remove=("base-fixture-1-1.noarch", "app-fixture")), repository, signer, PROGRAMS
    )
    assert [entry.nevra for entry in state.packages] == ["base-fixture-2-1.noarch"]
    with pytest.raises(BadInput, match="no package nothing"):
        publish(Change(remove=("nothing",)), repository, signer, PROGRAMS)


def test_source_packages_lie_in_a_repository_of_their_own(repository, client, rpms, signer):
    publish(Change((rpms["base-1"], rpms["source"])), repository, signer, PROGRAMS)
    client.use(by_folder(repository).replace("/current\n", "/current/source\n"))
    assert "source-fixture.src" in client("list", "source-fixture.src").stdout


def test_groups_and_modules_of_an_existing_repository_are_carried_over(
    repository, client, rpms, signer, tmp_path
):
    copied(rpms["base-1"], repository / "old")
    groups = tmp_path / "comps.xml"
    groups.write_text(
        "<comps><group><id>fixtures</id><name>Fixtures</name><default>true</default>"
        "<uservisible>true</uservisible><packagelist><packagereq type='mandatory'>base-fixture"
        "</packagereq></packagelist></group></comps>"
    )
    modules = tmp_path / "modules.yaml"
    modules.write_text("---\ndocument: modulemd-defaults\nversion: 1\ndata: {module: x}\n...\n")
    createrepo = ["createrepo_c", "--quiet", "--groupfile", str(groups), str(repository)]
    subprocess.run(createrepo, check=True)
    subprocess.run(
        ["modifyrepo_c", "--mdtype=modules", str(modules), str(repository / "repodata")],
        check=True,
        capture_output=True,
    )

    publish(Change((rpms["app-1"],)), repository, signer, PROGRAMS)
    publish(Change((rpms["app-2"],)), repository, signer, PROGRAMS)

    index = (repository / "current/repodata/repomd.xml").read_text()
    assert 'type="modules"' in index
    client.use(by_folder(repository))
    done = client("group", "install", "fixtures")
    assert done.returncode == 0, done.stderr
    assert client.version("base-fixture") == "1"


def test_old_states_are_kept_as_many_as_asked_and_no_state_in_use_goes(repository, rpms, signer):
    for number, name in enumerate(["base-1", "base-2", "app-1", "app-2"], start=1):
        publish(
            Change((rpms[name],)), repository, signer, PROGRAMS, keep=2, grace=timedelta(hours=1)
        )
        assert len(states(repository)) == number, "all were live within the hour"
    publish(Change((rpms["source"],)), repository, signer, PROGRAMS, keep=2, grace=NO_GRACE)
    assert [state.number for state in states(repository)] == [3, 4, 5]


def test_a_rollback_brings_the_old_state_back_as_it_was(repository, client, rpms, signer):
    publish(Change((rpms["base-1"],)), repository, signer, PROGRAMS)
    index = (repository / "current/repodata/repomd.xml").read_bytes()
    publish(Change((rpms["base-2"],)), repository, signer, PROGRAMS)
    client.use(by_folder(repository))
    assert client("install", "base-fixture").returncode == 0

    assert rollback(repository, 1).live

    assert (repository / "current/repodata/repomd.xml").read_bytes() == index
    done = client("distro-sync")
    assert done.returncode == 0, done.stderr
    assert client.version("base-fixture") == "1"
    assert (repository / "current/Packages" / rpms["base-2"].name).is_file(), "still in use"
    assert publish(Change((rpms["app-1"],)), repository, signer, PROGRAMS).number == 3
    with pytest.raises(BadInput, match="has no state 9"):
        rollback(repository, 9)


MOMENTS = [
    ("mirrorlist", 1),
    ("mirrorlist", 2),
    ("repomd.xml", 1),  # dnf looks whether it is new
    ("repomd.xml", 2),  # and takes it
    ("repomd.xml.asc", 1),
    ("primary", 1),
    ("base-fixture-1", 1),
]
"""What a client asks for when we publish, and the how manieth time."""


LIKE = ("primary", "base-fixture-1")
"""Those that are parts of a name."""


class Publisher:
    """Publishes when a client asks for a file; `publish` is taken away then."""

    def __init__(self, moment: str, turn: int) -> None:
        self.moment = moment
        self.turns = turn
        self.publish: Callable[[], State] | None = None

    def __call__(self, path: str) -> None:
        """A client asks for this path."""
        name = path.rpartition("/")[2]
        if self.publish and (name == self.moment or (self.moment in LIKE and self.moment in name)):
            self.turns -= 1
            if not self.turns:
                publish, self.publish = self.publish, None
                publish()


@pytest.mark.parametrize(("moment", "turn"), MOMENTS)
def test_a_client_that_is_asking_while_we_publish_sees_one_state_whole(
    moment, turn, repository, client, rpms, signer
):
    change = Change((rpms["base-2"], rpms["app-2"]), remove=("base-fixture", "app-fixture"))
    publisher = Publisher(moment, turn)
    with serving(repository, publisher) as url:
        state = publish(Change((rpms["base-1"],), url=url), repository, signer, PROGRAMS)
        client.use((state.folder / "rackseed.repo").read_text())
        assert client("makecache").returncode == 0, "and has the key from now on"
        publish(Change((rpms["app-1"],)), repository, signer, PROGRAMS)
        publisher.publish = lambda: publish(change, repository, signer, PROGRAMS)

        done = client("install", "app-fixture")

        assert done.returncode == 0, done.stderr
        assert publisher.publish is None, f"dnf never asked for {moment}"
        seen = (client.version("app-fixture"), client.version("base-fixture"))
        assert seen in (("1", "1"), ("2", "2"))
        done = client("upgrade")
        assert done.returncode == 0, done.stderr
        assert (client.version("app-fixture"), client.version("base-fixture")) == ("2", "2")


@pytest.mark.parametrize(("moment", "turn"), MOMENTS[2:])
def test_a_client_that_knows_only_the_fixed_name_finds_all_that_its_metadata_names(
    moment, turn, repository, client, rpms, signer
):
    change = Change((rpms["base-1-other"], rpms["app-2"]), replace=True)
    publisher = Publisher(moment, turn)
    with serving(repository, publisher) as url:
        publish(Change((rpms["base-1"],)), repository, signer, PROGRAMS)
        client.use(by_folder(repository).replace(f"file://{repository}", url))
        assert client("makecache").returncode == 0, "and has the key from now on"
        publish(Change((rpms["app-1"],)), repository, signer, PROGRAMS)
        publisher.publish = lambda: publish(change, repository, signer, PROGRAMS)

        done = client("install", "app-fixture")

        assert done.returncode == 0, done.stderr
        assert publisher.publish is None, f"dnf never asked for {moment}"
        seen = (client.version("app-fixture"), client.version("base-fixture"))
        assert seen in (("1", "1"), ("2", "1 other"))


def test_two_publishers_do_not_meet(repository, rpms, signer):
    from rpmspecs.states import locked

    with locked(repository), pytest.raises(BadInput, match=f"process {os.getpid()}, expected one"):
        publish(Change((rpms["base-1"],)), repository, signer, PROGRAMS)
    publish(Change((rpms["base-1"],)), repository, signer, PROGRAMS)


def test_nothing_is_published_that_is_no_package_or_damaged(repository, rpms, signer, tmp_path):
    (tmp_path / "text.rpm").write_text("not a package")
    with pytest.raises(BadInput, match=r"text\.rpm is not an RPM"):
        publish(Change((tmp_path / "text.rpm",)), repository, signer, PROGRAMS)
    damaged = copied(rpms["base-1"], tmp_path / "damaged")
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:-8] + bytes(8))
    with pytest.raises(BadInput, match=f"{damaged} is damaged, expected a whole"):
        publish(Change((damaged,)), repository, signer, PROGRAMS)
    with pytest.raises(BadInput, match="no package to remove: nothing was published there yet"):
        publish(Change(remove=("app-fixture",)), repository, signer, PROGRAMS)
    assert not repository.exists()
    with pytest.raises(BadInput, match=r"text\.rpm is no folder, expected one for the repository"):
        publish(Change((rpms["base-1"],)), tmp_path / "text.rpm", signer, PROGRAMS)


def test_packages_are_damaged_in_one_sentence_wherever_they_are(rpms, tmp_path):
    whole = rpms["base-1"].read_bytes()
    step, size = len(whole) // 20, len(whole)
    broken = [whole[:length] for length in range(step, size, step)]
    broken += [whole[:at] + bytes(40) + whole[at + 40 :] for at in range(96, size, step)]
    told = {}
    for number, content in enumerate(broken):
        path = tmp_path / f"{number}.rpm"
        path.write_bytes(content)
        try:
            read_rpms([rpms["app-1"], path], PROGRAMS.start)  # a payload is not looked at here
        except BadInput as error:
            told[path] = str(error)
    assert told == {path: f"{path} is damaged, expected a whole RPM" for path in told}
    assert len(told) > 15


def test_all_damaged_packages_are_told_together(rpms, tmp_path):
    paths = [tmp_path / "1.rpm", rpms["base-1"], tmp_path / "2.rpm"]
    for path in (paths[0], paths[2]):
        path.write_bytes(rpms["base-1"].read_bytes()[:200])
    with pytest.raises(BadInput) as caught:
        read_rpms(paths, PROGRAMS.start)
    assert str(caught.value).splitlines() == [
        f"{path} is damaged, expected a whole RPM" for path in (paths[0], paths[2])
    ]
    assert caught.value.__notes__ == ["copy it again from where it was built, or build it again"]


def test_another_key_signs_everything_anew(repository, client, rpms, signer, tmp_path):
    publish(Change((rpms["base-1"], rpms["app-1"])), repository, signer, PROGRAMS)
    made = make_key("Next <next@example.org>", tmp_path / "next", PROGRAMS)
    with open_key("Next", [made.home], PROGRAMS) as other:
        state = publish(Change(), repository, other, PROGRAMS)
    assert (state.number, state.key) == (2, made.fingerprint)
    client.use(by_folder(repository))
    done = client("install", "app-fixture")
    assert done.returncode == 0, done.stderr
    old = f"Packages/{rpms['base-1'].name}"
    assert (repository / "current" / old).samefile(repository / "states/1" / old)


PUBLISH = """
import sys
from pathlib import Path
from rpmspecs.repo import Change, publish
from rpmspecs.signing import open_key
from tests.repository import PROGRAMS
home, key, repository, *rpms = sys.argv[1:]
with open_key(key, [Path(home)], PROGRAMS) as signer:
    publish(Change(tuple(map(Path, rpms))), Path(repository), signer, PROGRAMS)
"""


def test_a_publisher_that_is_killed_at_any_moment_leaves_a_whole_state_live(
    repository, rpms, key, signer, tmp_path
):
    publish(Change((rpms["base-1"],)), repository, signer, PROGRAMS)
    command = [sys.executable, "-c", PUBLISH, str(key.home), key.fingerprint, str(repository)]
    began = time.monotonic()
    whole = {1: {"base-fixture-1-1.noarch"}}
    subprocess.run([*command, str(rpms["app-1"])], check=True)
    whole[2] = whole[1] | {"app-fixture-1-1.noarch"}
    length = time.monotonic() - began
    chance = random.Random(3)
    for turn in range(12):
        names = [rpms["base-2"], rpms["app-2"]][: 1 + turn % 2]
        with subprocess.Popen([*command, *map(str, names)], stderr=subprocess.DEVNULL) as child:
            time.sleep(chance.uniform(0.2, 1) * length)
            child.send_signal(signal.SIGKILL)
        live = live_state(repository)
        assert {entry.nevra for entry in live.packages} >= whole[1]
        check = ["rpmkeys", "--dbpath", str(tmp_path / "keyring")]
        subprocess.run([*check, "--import", live.folder / "RPM-GPG-KEY-rackseed"], check=True)
        found = [live.folder / entry.path for entry in live.packages]
        strict = ["--define", "_pkgverify_level all", "--checksig"]
        subprocess.run([*check, *strict, *found], check=True, capture_output=True)
        index = live.folder / "repodata/repomd.xml"
        verify = ["gpg", "--verify", f"{index}.asc", index]
        home = {**os.environ, "GNUPGHOME": str(key.home)}
        subprocess.run(verify, check=True, capture_output=True, env=home)
        primary = next((live.folder / "repodata").glob("*-primary.xml.gz"))
        assert gzip.decompress(primary.read_bytes()).startswith(b"<?xml")
    state = publish(
        Change((rpms["base-2"], rpms["app-2"], rpms["source"])), repository, signer, PROGRAMS
    )
    assert {entry.name for entry in state.packages} == {
        "base-fixture",
        "app-fixture",
        "source-fixture",
    }
    assert [p.name for p in (repository / "states").iterdir() if not p.name.isdecimal()] == []


def test_a_full_disk_leaves_the_old_state_live(tmp_path, rpms, signer):
    if os.geteuid() != 0:
        pytest.skip("needs root: it mounts a small file system")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(disk)], check=True)
    try:
        repository = disk / "repository"
        publish(Change((rpms["base-1"],)), repository, signer, PROGRAMS)
        (disk / "filler").write_bytes(bytes(9 << 20))
        with pytest.raises(DiskFull, match="4 MiB are needed and 2 MiB are free"):
            publish(Change((rpms["app-1"],)), repository, signer, PROGRAMS)
        fill = ["dd", "if=/dev/zero", f"of={disk / 'rest'}"]
        assert subprocess.run(fill, check=False, capture_output=True).returncode == 1
        with pytest.raises(DiskFull):
            publish(Change((rpms["app-1"],)), repository, signer, PROGRAMS)
        assert live_state(repository).number == 1
        assert [path.name for path in (repository / "states").iterdir()] == ["1"]
        for name in ("filler", "rest"):
            (disk / name).unlink()
        assert publish(Change((rpms["app-1"],)), repository, signer, PROGRAMS).number == 2
    finally:
        subprocess.run(["umount", str(disk)], check=True)
