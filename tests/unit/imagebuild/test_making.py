"""What the provenance of a build says, and what it never says."""

import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from imagebuild.layers import digest_file
from imagebuild.making import describe, sources
from imagebuild.mirrors import public_address
from imagebuild.plan import ELEMENTS, Machine, Settings, plan_build
from imagebuild.provenance import provenance
from imagebuild.recipes import load_recipe, recipe_names
from imagebuild.repositories import repository_state, state_urls
from imagebuild.systems import SYSTEMS
from imagebuild.versions import versions
from provision.run import run

NOON = datetime(2026, 8, 1, 12, tzinfo=UTC)
SETTINGS = Settings(Path("/images"), Path("/cache"), Path("/work"))
MACHINE = Machine(Path("/venv/bin"))
PUBLISHED = [system.base_image for system in SYSTEMS.values() if system.base_image]


def index(url: str) -> bytes:
    """What a repository sends."""
    return f" 0123 1 {url}\n".encode()


@pytest.mark.parametrize("name", recipe_names())
def test_every_image_names_its_mirrors_with_their_state_and_its_indexes_with_digests(name):
    recipe = load_recipe(name)
    urls = state_urls(recipe, SETTINGS)
    state = repository_state(urls, index)
    found = {one.uri: one for one in sources(plan_build(recipe, SETTINGS, MACHINE), state)}
    assert found[recipe.system.mirror].state == state.key != ""
    assert set(urls) <= set(found)
    assert all(len(found[url].sha256) == 64 for url in urls)
    assert any(one.sha256 for one in found.values()), "a state alone nobody can search for"
    assert all(uri.startswith(("http://", "https://")) for uri in found)
    assert not any("$" in uri or "RELEASE" in uri for uri in found)


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("fedora-43", "https://mirrors.fedoraproject.org/metalink?repo=fedora-43&arch=x86_64"),
        (
            "centos-stream-9",
            "https://mirrors.centos.org/metalink?repo=centos-baseos-9-stream&arch=x86_64",
        ),
        ("rocky-10", "https://dl.rockylinux.org/pub/rocky/10/BaseOS/x86_64/os/"),
    ],
)
def test_an_rpm_system_without_a_mirror_names_the_repositories_of_its_elements(name, address):
    def uris(settings: Settings) -> list[str]:
        plan = plan_build(load_recipe(name), settings, MACHINE)
        return [one.uri for one in sources(plan, repository_state([], index))]

    assert address in uris(SETTINGS)
    assert address not in uris(replace(SETTINGS, mirror="http://mirror.example.org/el"))


def test_a_base_image_is_named_with_its_published_digest_or_that_of_the_local_one(tmp_path):
    base = tmp_path / "mine.qcow2"
    base.write_bytes(b"base")
    recipe = load_recipe("centos7-gpu")
    state = repository_state([], index)
    (published,) = PUBLISHED
    named = sources(plan_build(recipe, SETTINGS, MACHINE), state)
    assert {one.uri: one.sha256 for one in named}[published.url] == published.sha256
    plan = plan_build(recipe, replace(SETTINGS, local_base=base), MACHINE)
    local = {one.uri: one.sha256 for one in sources(plan, state)}
    assert local["mine.qcow2"] == digest_file(base)
    assert published.url not in local


@pytest.mark.parametrize("image", PUBLISHED, ids=lambda image: image.url.rpartition("/")[2])
def test_where_a_base_image_is_and_its_digest_are_written_once(image):
    texts = [path.read_text() for path in ELEMENTS.rglob("*") if path.is_file()]
    assert not any(image.url in text or image.sha256 in text for text in texts)


def test_a_layer_is_named_and_its_mirrors_have_the_state_of_then():
    plan = plan_build(load_recipe("debian-12"), SETTINGS, MACHINE)
    now = repository_state(["http://mirror.example.org/i"], index)
    making = describe(plan, NOON, NOON, now, versions={}, layer="system-abc+then")
    assert {one.state for one in making.sources if one.uri in SYSTEMS["debian"].mirror} == {"then"}
    definition = json.loads(provenance("x", {}, making))["predicate"]["buildDefinition"]
    assert definition["internalParameters"] == {"layer": "system-abc+then"}
    mirror = definition["resolvedDependencies"][len(making.elements)]
    assert mirror["annotations"] == {"state": "then"}


def test_programs_that_are_here_tell_their_versions(tmp_path):
    plan = plan_build(load_recipe("debian-12"), SETTINGS, MACHINE)
    told = {"qemu-img": "qemu-img version 7.2.22 (Debian 1:7.2+dfsg-7)", "sgdisk": "none"}
    told["mkfs.ext4"] = "mke2fs 1.47.0 (5-Feb-2023)"
    for tool, line in told.items():
        out = "1>&2" if tool == "mkfs.ext4" else ""
        (tmp_path / tool).write_text(f"#!/bin/sh\necho '{line}' {out}\n")
        (tmp_path / tool).chmod(0o755)
    (tmp_path / "debootstrap").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "debootstrap").chmod(0o755)
    (tmp_path / "sh").symlink_to("/bin/sh")
    found = versions(plan, str(tmp_path), run)
    ours = {"rackseed", "diskimage-builder", "python", "linux"}
    assert set(found) == {*ours, "qemu-img", "mkfs.ext4"}
    assert (found["qemu-img"], found["mkfs.ext4"]) == ("7.2.22", "1.47.0")
    assert found["linux"] == os.uname().release


def test_a_build_tells_its_elements_and_sources_without_secrets_or_paths(tmp_path):
    base = tmp_path / "private" / "base.qcow2"
    base.parent.mkdir()
    base.write_bytes(b"base")
    settings = Settings(
        output=tmp_path / "out",
        cache=tmp_path / "cache",
        work=tmp_path / "work",
        mirror="http://me:secret@mirror.example.org/debian",
        local_base=base,
        snapshot="20261101T060000Z",
    )
    machine = replace(MACHINE, proxies=(("http_proxy", "http://u:hidden@192.0.2.1"),))
    plan = plan_build(load_recipe("debian-12"), settings, machine)
    state = repository_state(["http://me:secret@mirror.example.org/debian/i"], index)
    making = describe(plan, NOON, NOON, state, versions={"linux": "6.1"})
    text = provenance("debian-12.qcow2", {"sha256": "0" * 64}, making)
    for secret in ("secret", "hidden", str(tmp_path), "192.0.2.1"):
        assert secret not in text
    definition = json.loads(text)["predicate"]["buildDefinition"]
    uris = [one["uri"] for one in definition["resolvedDependencies"]]
    assert "http://mirror.example.org/debian" in uris
    assert "base.qcow2" in uris
    assert {"element:rackseed-seal", "element:vm"} <= set(uris)
    assert definition["externalParameters"]["release"] == "bookworm"
    assert definition["externalParameters"]["snapshot"] == "20261101T060000Z"


@pytest.mark.parametrize(
    ("text", "public"),
    [
        ("https://a:b@mirror.example.org:8443/x?y=z#f", "https://mirror.example.org:8443/x"),
        ("http://[2001:db8::1]/x", "http://[2001:db8::1]/x"),
        ("file:///srv/repo", ""),
        ("1", ""),
    ],
)
def test_an_address_is_told_without_who_asks(text, public):
    assert public_address(text) == public
