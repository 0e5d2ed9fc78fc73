"""What the provenance of a build says, and what it never says."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from imagebuild.making import describe
from imagebuild.mirrors import public_address
from imagebuild.plan import Machine, Settings, plan_build
from imagebuild.provenance import provenance
from imagebuild.recipes import load_recipe

NOON = datetime(2026, 8, 1, 12, tzinfo=UTC)


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
    machine = Machine(
        programs=Path("/opt/venv/bin"), proxies=(("http_proxy", "http://u:hidden@192.0.2.1"),)
    )
    plan = plan_build(load_recipe("debian-12"), settings, machine)
    text = provenance("debian-12.qcow2", {"sha256": "0" * 64}, describe(plan, NOON, NOON))
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
