"""What lies beside an image, and what changed between two."""

import hashlib
import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from imagebuild.difference import Change, Seen, compare
from imagebuild.evidence import Contents, manifest, write_evidence
from imagebuild.inside.packages import Package
from imagebuild.provenance import Making, Source, digest_folder
from imagebuild.sbom import purl, sbom
from imagebuild.seal.system import Family, System

DEBIAN = System("debian", "12", "Debian GNU/Linux 12 (bookworm)", Family.DEB, 252)
ROCKY = System("rocky", "9.4", "Rocky Linux 9.4", Family.RPM, 252)
PACKAGES = (
    Package("libc6", "2.36-9", "amd64", "deb", "glibc"),
    Package("bash", "5.2.15-2+b2", "amd64", "deb", "bash"),
)
SHA = hashlib.sha256(b"image").hexdigest()
NOON = datetime(2026, 8, 1, 12, tzinfo=UTC)
MAKING = Making(
    recipe="debian-12",
    parameters={"compression": "zlib"},
    begun=datetime(2026, 8, 1, 13, 55, tzinfo=timezone(timedelta(hours=2))),
    ended=NOON,
    elements={"rackseed-seal": "ab" * 32},
    versions={"diskimage-builder": "3.43.0"},
    sources=(Source("https://mirror.example.org/debian", ""), Source("base.qcow2", "cd" * 32)),
)


def test_the_manifest_is_sorted():
    assert manifest(PACKAGES) == "bash 5.2.15-2+b2 amd64\nlibc6 2.36-9 amd64\n"


def test_the_bill_of_materials_is_valid_and_the_same_each_time():
    text = sbom("debian-12.qcow2", SHA, DEBIAN, PACKAGES, NOON)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    assert text == sbom("debian-12.qcow2", SHA, DEBIAN, PACKAGES[::-1], NOON)
    document = json.loads(text)
    assert document["metadata"]["component"]["hashes"] == [{"alg": "SHA-256", "content": SHA}]
    assert [one["name"] for one in document["components"]] == ["bash", "libc6"]


def test_package_urls_follow_the_rules_of_their_kind():
    assert purl(PACKAGES[0], DEBIAN).to_string() == (
        "pkg:deb/debian/libc6@2.36-9?arch=amd64&distro=debian-12&upstream=glibc"
    )
    shadow = Package(
        "shadow-utils", "2:4.9-8.el9", "x86_64", "rpm", "shadow-utils-4.9-8.el9.src.rpm"
    )
    assert purl(shadow, ROCKY).to_string() == (
        "pkg:rpm/rocky/shadow-utils@4.9-8.el9?arch=x86_64&distro=rocky-9.4&epoch=2"
        "&upstream=shadow-utils-4.9-8.el9.src.rpm"
    )


def test_the_provenance_names_the_image_and_all_that_went_in(tmp_path):
    write_evidence("x.qcow2", tmp_path, {"sha256": SHA}, Contents(DEBIAN, PACKAGES), MAKING)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "x.qcow2.cdx.json",
        "x.qcow2.packages",
        "x.qcow2.provenance.json",
    ]
    statement = json.loads((tmp_path / "x.qcow2.provenance.json").read_text())
    assert statement["subject"] == [{"name": "x.qcow2", "digest": {"sha256": SHA}}]
    definition = statement["predicate"]["buildDefinition"]
    assert definition["externalParameters"]["recipe"] == "debian-12"
    assert [one["uri"] for one in definition["resolvedDependencies"]] == [
        "element:rackseed-seal",
        "https://mirror.example.org/debian",
        "base.qcow2",
    ]
    details = statement["predicate"]["runDetails"]["metadata"]
    assert details == {"startedOn": "2026-08-01T11:55:00Z", "finishedOn": "2026-08-01T12:00:00Z"}


def test_the_digest_of_an_element_changes_with_names_contents_and_modes(tmp_path):
    (tmp_path / "a").write_text("x")
    digests = [digest_folder(tmp_path)]
    (tmp_path / "a").chmod(0o755)
    digests.append(digest_folder(tmp_path))
    (tmp_path / "a").rename(tmp_path / "b")
    digests.append(digest_folder(tmp_path))
    (tmp_path / "b").write_text("y")
    digests.append(digest_folder(tmp_path))
    assert len(set(digests)) == 4


def test_a_difference_tells_packages_sizes_and_the_seal():
    old = _seen(
        {"bash": ("1",), "gone": ("1",), "kernel": ("1",)}, {"usr/bin": 10, "etc": 5}, "logs"
    )
    new = _seen(
        {"bash": ("2",), "came": ("1",), "kernel": ("1", "2")}, {"usr/bin": 90, "etc": 5}, "swap"
    )
    found = compare(old, new)
    assert found.added == (Change("came", "amd64", (), ("1",)),)
    assert found.removed == (Change("gone", "amd64", ("1",), ()),)
    assert [one.name for one in found.changed] == ["bash", "kernel"]
    assert found.folders == (("usr/bin", 10, 90),)
    assert found.broken == (("swap", ""),)
    assert found.mended == (("logs", ""),)
    assert json.loads(json.dumps(found.as_json()))["packages"]["changed"][1] == {
        "name": "kernel",
        "arch": "amd64",
        "old": ["1"],
        "new": ["1", "2"],
    }


def _seen(packages: dict[str, tuple[str, ...]], folders: dict[str, int], row: str) -> Seen:
    versions = {(name, "amd64"): found for name, found in packages.items()}
    return Seen(Path("x").name, 1, 2, "Debian", versions, folders, frozenset({(row, "")}))
