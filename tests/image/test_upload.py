"""Images published in a real Glance with a real Keystone, by the command that people use."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from imagebuild import glance
from imagebuild.build import Built
from imagebuild.glance_openstack import Glance
from imagebuild.glance_upload import digests, publish
from tests.gate import Gate, gate
from tests.openstack import PASSWORD, REGION, Cloud, cloud
from tests.tools import require_tool

pytestmark = pytest.mark.timeout(300)

MIB = 1 << 20
UPLOAD = [
    *(sys.executable, "-c", "from provision.cli.image.main import main; main()"),
    "upload",
]


@pytest.fixture(scope="module")
def openstack_cloud() -> Iterator[Cloud]:
    with cloud() as made:
        yield made


@pytest.fixture
def lab(openstack_cloud: Cloud) -> Iterator[Cloud]:
    """The cloud without images of earlier tests."""
    yield openstack_cloud
    for name in ("builder", "other", "admin"):
        images = openstack_cloud.connect(name).image
        for image in everything(openstack_cloud, name).values():
            images.patch(
                f"/images/{image['id']}",
                json=[{"op": "replace", "path": "/protected", "value": False}],
                headers={"Content-Type": "application/openstack-images-v2.1-json-patch"},
            )
            images.delete(f"/images/{image['id']}")


@pytest.fixture
def narrow(lab: Cloud) -> Iterator[Gate]:
    """A way to Glance that can be held; the cloud `narrow` goes there."""
    with gate(urlsplit(lab.glance.url).port or 0) as made:
        url = f"http://127.0.0.1:{made.port}"
        lab.write_clouds(narrow={**lab.clouds["builder"], "image_endpoint_override": url})
        yield made


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    """`make(name, seed)`: a qcow2 of 8 MiB of noise; the same seed gives the same bytes."""
    tool = str(require_tool("qemu-img", package="qemu-utils"))

    def image(name: str = "debian-12.qcow2", seed: int = 1, **manifest: object) -> Path:
        raw, path = tmp_path / "raw", tmp_path / name
        raw.write_bytes(random.Random(seed).randbytes(8 * MIB))
        subprocess.run([tool, "convert", "-O", "qcow2", str(raw), str(path)], check=True)
        raw.unlink()
        if manifest:
            path.with_name(f"{name}.json").write_text(json.dumps(manifest))
        return path

    return image


def upload(
    lab: Cloud, image: Path, *options: str, cloud_name: str = "builder", **env: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*UPLOAD, str(image), "--cloud", cloud_name, *options],
        env=lab.environment | env,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def begin(lab: Cloud, image: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*UPLOAD, str(image), "--cloud", "narrow", *options],
        env=lab.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def everything(lab: Cloud, name: str = "builder") -> dict[str, dict[str, Any]]:
    """All images of a project, hidden ones too, by id."""
    connection = lab.connect(name)
    found: dict[str, dict[str, Any]] = {}
    for hidden in ("false", "true"):
        query = {"os_hidden": hidden, "owner": connection.current_project_id, "visibility": "all"}
        answer = connection.image.get("/images", params=query)
        found |= {image["id"]: image for image in answer.json()["images"]}
    return found


def shown(lab: Cloud) -> dict[str, str]:
    """What users see: name to id. Two images of one name would be an error."""
    visible = [image for image in everything(lab).values() if not image["os_hidden"]]
    names = {image["name"]: image["id"] for image in visible}
    assert len(names) == len(visible), visible
    return names


def hashed(path: Path) -> str:
    return hashlib.sha512(path.read_bytes()).hexdigest()


def seal_report(path: Path, findings: Sequence[object] = ()) -> Mapping[str, object]:
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"sha256": sha256, "sealed": not findings, "findings": [*findings], "unread": []}


def told(done: subprocess.CompletedProcess[str]) -> str:
    """The errors, of which there is exactly one sentence, and no traceback."""
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert PASSWORD not in done.stderr + done.stdout
    return errors[0]


def test_an_image_is_published_with_all_that_its_recipe_says(
    lab: Cloud, make: Callable[..., Path]
) -> None:
    properties = {"hw_video_model": "qxl", "configure_x": "true", "os_distro": "debian"}
    path = make(name="x.qcow2", seed=1)
    path.with_name("x.qcow2.json").write_text(
        json.dumps({"name": "debian-12-gpu", "properties": properties, "min_ram": 512})
    )
    path.with_name("x.qcow2.sha512").write_text(f"{hashed(path)}  x.qcow2\n")
    path.with_name("x.qcow2.seal.json").write_text(json.dumps(seal_report(path)))
    done = upload(lab, path, "--tag", "gpu", "--property", "os_distro=debian12", "--json")
    assert done.returncode == 0, done.stderr
    (image,) = everything(lab).values()
    assert json.loads(done.stdout)["id"] == image["id"]
    assert image["name"] == "debian-12-gpu"
    assert (image["status"], image["visibility"], image["os_hidden"]) == (
        "active",
        "private",
        False,
    )
    assert image["os_hash_value"] == hashed(path) == image["rackseed_sha512"]
    assert (image["disk_format"], image["min_disk"], image["min_ram"]) == ("qcow2", 1, 512)
    assert image["tags"] == ["gpu"]
    wanted = {**properties, "os_distro": "debian12"}
    assert {key: image[key] for key in wanted} == wanted
    assert not [key for key in image if key in ("rackseed_for", "rackseed_upload")]
    assert lab.stored(image["id"]).read_bytes() == path.read_bytes()
    assert "warning" not in done.stderr


def test_the_same_image_again_sends_nothing(lab: Cloud, make: Callable[..., Path]) -> None:
    path = make()
    assert upload(lab, path).returncode == 0
    before = shown(lab)
    again = upload(lab, path, "--property", "hw_rng_model=virtio", "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["sent"] is False
    assert shown(lab) == before
    assert everything(lab)[before["debian-12"]]["hw_rng_model"] == "virtio"


def test_the_replaced_image_is_hidden_and_older_ones_are_deleted(
    lab: Cloud, make: Callable[..., Path]
) -> None:
    ids = []
    for seed in (1, 2, 3, 4):
        done = upload(lab, make(seed=seed), "--keep", "2", "--visibility", "shared")
        assert done.returncode == 0, done.stderr
        ids.append(shown(lab)["debian-12"])
    left = everything(lab)
    assert [i in left for i in ids] == [False, True, True, True]
    assert {i: left[i]["os_hidden"] for i in ids[1:]} == {ids[1]: True, ids[2]: True, ids[3]: False}
    # Back to the second one: it is still there, so it is published again and nothing is sent.
    back = upload(lab, make(seed=2), "--keep", "2", "--json")
    assert json.loads(back.stdout)["sent"] is False
    assert shown(lab) == {"debian-12": ids[1]}
    assert everything(lab)[ids[1]]["visibility"] == "shared"


def test_what_others_made_is_hidden_at_most_and_what_cannot_be_deleted_stays(
    lab: Cloud, make: Callable[..., Path]
) -> None:
    connection = lab.connect()
    fields = {"name": "debian-12", "disk_format": "qcow2", "container_format": "bare"}
    by_hand = connection.image.post("/images", json=fields).json()["id"]
    kind = {"Content-Type": "application/octet-stream"}
    data = make("hand.qcow2", seed=9).read_bytes()
    assert connection.image.put(f"/images/{by_hand}/file", data=data, headers=kind).ok
    theirs = lab.connect("other").image.post("/images", json=fields).json()["id"]
    assert upload(lab, make(seed=1)).returncode == 0
    first = shown(lab)["debian-12"]
    patch = [{"op": "replace", "path": "/protected", "value": True}]
    kind = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
    assert connection.image.patch(f"/images/{first}", json=patch, headers=kind).ok
    done = upload(lab, make(seed=2), "--keep", "0")
    assert done.returncode == 0, done.stderr
    assert f"could not be deleted: {first}" in done.stderr
    left = everything(lab)
    assert left[by_hand]["os_hidden"] is True
    assert left[first]["os_hidden"] is True
    assert list(everything(lab, "other")) == [theirs]


def test_an_upload_killed_half_way_publishes_nothing_and_goes_on_in_the_same_draft(
    lab: Cloud, make: Callable[..., Path], narrow: Gate
) -> None:
    assert upload(lab, make(seed=1)).returncode == 0
    before = shown(lab)
    path = make(seed=2)
    narrow.hold_after(MIB)
    killed = begin(lab, path)
    assert narrow.held.wait(60)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    narrow.cut()
    assert shown(lab) == before
    (draft,) = [image for image in everything(lab).values() if "rackseed_for" in image]
    assert (draft["visibility"], draft["os_hidden"]) == ("private", True)
    wait_until(lambda: everything(lab)[draft["id"]]["status"] == "queued")
    done = upload(lab, path)
    assert done.returncode == 0, done.stderr
    assert shown(lab) == {"debian-12": draft["id"]}
    assert everything(lab)[draft["id"]]["os_hash_value"] == hashed(path)
    assert [image["os_hidden"] for image in everything(lab).values()].count(True) == 1


def test_the_draft_of_another_file_that_was_never_finished_is_removed(
    lab: Cloud, make: Callable[..., Path], narrow: Gate
) -> None:
    narrow.hold_after(MIB)
    killed = begin(lab, make(seed=1))
    assert narrow.held.wait(60)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    narrow.cut()
    assert upload(lab, make(seed=2)).returncode == 0
    (image,) = everything(lab).values()
    assert image["os_hash_value"] == hashed(make(seed=2))


def test_a_glance_that_dies_half_way_is_told_and_the_next_run_publishes(
    lab: Cloud, make: Callable[..., Path], narrow: Gate
) -> None:
    path = make()
    narrow.hold_after(MIB)
    running = begin(lab, path)
    assert narrow.held.wait(60)
    lab.glance.kill()
    narrow.cut()
    out, errors = running.communicate(timeout=60)
    ended = subprocess.CompletedProcess("", running.returncode, out, errors)
    lab.glance.start()
    assert ended.returncode == 1
    assert "ended the connection after" in told(ended)
    assert "run the same command again" in errors
    assert shown(lab) == {}
    done = upload(lab, path)
    assert done.returncode == 0, done.stderr
    (image,) = everything(lab).values()
    assert (image["status"], image["os_hash_value"]) == ("active", hashed(path))


@pytest.mark.parametrize("seeds", [(1, 1), (1, 2)])
def test_of_two_uploads_at_once_one_image_is_published_and_whole(
    lab: Cloud, make: Callable[..., Path], seeds: tuple[int, int]
) -> None:
    paths = [make(f"{n}.qcow2", seed=seed) for n, seed in enumerate(seeds)]
    results: list[subprocess.CompletedProcess[str]] = []

    def run(path: Path) -> None:
        results.append(upload(lab, path, "--name", "debian-12"))

    threads = [threading.Thread(target=run, args=(path,)) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [done.returncode for done in results] == [0, 0], [done.stderr for done in results]
    names = shown(lab)
    assert list(names) == ["debian-12"]
    left = everything(lab)
    assert left[names["debian-12"]]["os_hash_value"] in {hashed(path) for path in paths}
    assert all(image["status"] == "active" for image in left.values())
    assert not [image for image in left.values() if "rackseed_for" in image]


def test_an_image_at_work_by_another_is_left_alone(
    lab: Cloud, make: Callable[..., Path], narrow: Gate
) -> None:
    path = make()
    narrow.hold_after(MIB)
    slow = begin(lab, path)
    assert narrow.held.wait(60)
    assert upload(lab, path).returncode == 0
    quick = shown(lab)
    narrow.open()
    _, errors = slow.communicate(timeout=60)
    assert slow.returncode == 0, errors
    assert shown(lab) == quick, "the same bytes were there already"
    assert len(everything(lab)) == 1


def test_bytes_that_changed_on_the_way_are_never_published(
    lab: Cloud, make: Callable[..., Path], narrow: Gate
) -> None:
    path = make()
    narrow.hold_after(MIB)
    running = begin(lab, path)
    assert narrow.held.wait(60)
    with path.open("r+b") as file:
        file.seek(-MIB, os.SEEK_END)
        file.write(b"changed")
    narrow.open()
    out, errors = running.communicate(timeout=60)
    assert running.returncode == 1
    assert "other bytes" in told(subprocess.CompletedProcess("", 1, out, errors))
    assert everything(lab) == {}


def test_a_quota_is_told_in_one_sentence(lab: Cloud, make: Callable[..., Path]) -> None:
    lab.configure_glance("user_storage_quota = 1000000")
    try:
        done = upload(lab, make())
    finally:
        lab.configure_glance()
    assert done.returncode == 1
    assert "quota" in told(done), done.stderr
    assert shown(lab) == {}


def test_a_visibility_that_the_user_may_not_give_is_refused_and_nothing_shown(
    lab: Cloud, make: Callable[..., Path]
) -> None:
    done = upload(lab, make(), "--visibility", "public")
    assert done.returncode == 1
    assert "403" in told(done)
    assert shown(lab) == {}
    assert upload(lab, make(), "--visibility", "public", cloud_name="admin").returncode == 0
    assert [i["visibility"] for i in everything(lab, "admin").values()] == ["public"]


def test_a_wrong_password_is_one_sentence_that_does_not_hold_it(
    lab: Cloud, make: Callable[..., Path]
) -> None:
    auth = lab.clouds["builder"]["auth"]
    assert isinstance(auth, dict)
    wrong: Mapping[str, object] = {"auth": {**auth, "password": "hush-hush"}, "region_name": REGION}
    lab.write_clouds(wrong=wrong)
    for options in ((), ("-vv",)):
        words = [*UPLOAD[:-1], *options, "upload", str(make()), "--cloud", "wrong"]
        done = subprocess.run(
            words, env=lab.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        assert "does not accept this user" in told(done)
        assert "hush-hush" not in done.stderr + done.stdout


def test_neither_password_nor_token_is_in_the_most_talkative_log(
    lab: Cloud, make: Callable[..., Path]
) -> None:
    words = [*UPLOAD[:-1], "-vv", "upload", str(make()), "--cloud", "builder"]
    done = subprocess.run(words, env=lab.environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert PASSWORD not in done.stderr
    assert "gAAAA" not in done.stderr, "a Fernet token"


def test_without_clouds_yaml_its_places_are_named(
    lab: Cloud, make: Callable[..., Path], tmp_path: Path
) -> None:
    nowhere = {"OS_CLIENT_CONFIG_FILE": str(tmp_path / "none.yaml"), "HOME": str(tmp_path)}
    done = upload(lab, make(), cloud_name="lab", **nowhere)
    assert done.returncode == 2
    assert "lab" in told(done)
    assert "clouds.yaml lies here" in done.stderr


@pytest.mark.parametrize(
    ("variables", "told_of"),
    [({}, "auth_url"), ({"OS_AUTH_URL": "http://127.0.0.1:9/v3"}, "no username and no password")],
)
def test_without_any_cloud_what_is_missing_is_named(
    make: Callable[..., Path], tmp_path: Path, variables: Mapping[str, str], told_of: str
) -> None:
    nowhere = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    done = subprocess.run(
        [*UPLOAD, str(make())],
        env={**nowhere, **variables},
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 2
    assert told_of in told(done)


def test_a_cloud_that_does_not_answer_is_told(lab: Cloud, make: Callable[..., Path]) -> None:
    auth = lab.clouds["builder"]["auth"]
    assert isinstance(auth, dict)
    lab.write_clouds(gone={"auth": {**auth, "auth_url": "http://127.0.0.1:9/v3"}})
    done = upload(lab, make(), cloud_name="gone")
    assert done.returncode == 1
    assert "does not answer" in told(done)


def test_an_image_with_findings_is_refused_before_anything_is_asked(
    lab: Cloud, make: Callable[..., Path]
) -> None:
    path = make()
    found = [{"row": "ssh-host-keys", "path": "/etc/ssh/ssh_host_rsa_key", "seen": "a file"}]
    path.with_name(f"{path.name}.seal.json").write_text(json.dumps(seal_report(path, found)))
    done = upload(lab, path)
    assert done.returncode == 1
    assert "/etc/ssh/ssh_host_rsa_key" in told(done)
    assert everything(lab) == {}
    forced = upload(lab, path, "--force-unsealed")
    assert forced.returncode == 0, forced.stderr
    assert "warning" in forced.stderr


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)


@pytest.mark.parametrize("name", ["debian_12", "debian_12_gpu"])
def test_debian_12_as_built_arrives_with_what_its_recipe_says(
    lab: Cloud, name: str, request: pytest.FixtureRequest
) -> None:
    built: Built = request.getfixturevalue(name)
    done = upload(lab, built.path, "--json")
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr, "it is sealed"
    (image,) = everything(lab).values()
    assert image["name"] == built.recipe.name
    wanted = built.recipe.properties
    assert wanted["os_distro"] == "debian"
    assert {key: image[key] for key in wanted} == dict(wanted)
    assert image["os_hash_value"] == hashed(built.path)
    assert image["virtual_size"] <= image["min_disk"] << 30


class Silent:
    """Hears how far an upload is, and tells nobody."""

    def __init__(self) -> None:
        self.octets: list[int] = []

    def step(self, text: str) -> None:
        pass

    def sent(self, octets: int, whole: int) -> None:
        self.octets.append(octets)


def test_who_sends_for_long_gives_signs_of_life_meanwhile(
    lab: Cloud, make: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(glance, "SIGN_EVERY", timedelta(0))
    store = Glance(lab.connect(), "builder")
    signs: list[str] = []
    change = store.change

    def counted(image: str, fields: Mapping[str, object]) -> bool:
        signs.extend(fields)
        return change(image, fields)

    monkeypatch.setattr(store, "change", counted)
    path, heard = make(), Silent()
    wish = glance.Wish("debian-12", path.stat().st_size, "qcow2", digests(path))
    published = publish(path, wish, store, heard)
    assert signs.count(glance.DRAFT_BY) > 5
    assert heard.octets[-1] == path.stat().st_size
    assert shown(lab) == {"debian-12": published.id}
