"""An image file and what lies beside it."""

import hashlib
import json
import struct
from pathlib import Path

import pytest

from imagebuild.errors import BadInput, NotSealed
from imagebuild.glance_file import ImageFile, read, require_digest, require_sealed

GIB = 1 << 30


def qcow2(virtual: int) -> bytes:
    return struct.pack(">4sIQIIQ", b"QFI\xfb", 3, 0, 0, 16, virtual).ljust(1024, b"\0")


DATA = qcow2(GIB)
SEALED = {
    "sha256": hashlib.sha256(DATA).hexdigest(),
    "sealed": True,
    "findings": [],
    "unread": [],
}


def image(folder: Path, data: bytes = b"", **beside: object) -> ImageFile:
    path = folder / "debian-12.qcow2"
    path.write_bytes(data or qcow2(GIB))
    for suffix, document in beside.items():
        text = document if isinstance(document, str) else json.dumps(document)
        path.with_name(path.name + "." + suffix.replace("_", ".")).write_text(text)
    return read(path)


@pytest.mark.parametrize(
    ("data", "disk_format", "min_disk"),
    [
        (qcow2(GIB), "qcow2", 1),
        (qcow2(GIB + 1), "qcow2", 2),
        (bytes(510) + b"\x55\xaa" + bytes(512), "raw", 1),
        (bytes(512) + b"conectix" + struct.pack(">40xQ", 3 * GIB).ljust(504, b"\0"), "vhd", 3),
    ],
)
def test_the_format_is_told_by_content(
    tmp_path: Path, data: bytes, disk_format: str, min_disk: int
) -> None:
    found = image(tmp_path, data)
    assert (found.disk_format, found.min_disk) == (disk_format, min_disk)


@pytest.mark.parametrize("data", [b"x", b"\x1f\x8b" + bytes(2000), bytes(1024), b"QFI\xfb"])
def test_what_is_no_image_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(BadInput, match="neither qcow2"):
        image(tmp_path, data)


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="No such file"):
        read(tmp_path / "none")


def test_without_anything_beside_it_the_file_s_own_name_counts(tmp_path: Path) -> None:
    found = image(tmp_path)
    assert (found.name, found.properties, found.sealed) == ("debian-12", {}, False)


def test_truth_is_spelt_as_nova_reads_it(tmp_path: Path) -> None:
    found = image(tmp_path, json={"properties": {"configure_x": True, "hw_cpu_cores": 4}})
    assert found.properties == {"configure_x": "true", "hw_cpu_cores": "4"}


def test_findings_and_what_was_not_read_stop_an_upload(tmp_path: Path) -> None:
    one = {"row": "machine-id", "path": "/etc/machine-id", "seen": "32 digits"}
    found = image(tmp_path, seal_json=SEALED | {"findings": [one], "unread": ["partition 2"]})
    with pytest.raises(NotSealed, match="machine-id: /etc/machine-id: 32 digits, and 1 more"):
        require_sealed(found)
    require_sealed(image(tmp_path, seal_json=SEALED))


def test_a_report_of_another_file_is_no_evidence(tmp_path: Path) -> None:
    found = image(tmp_path, qcow2(2 * GIB), seal_json=SEALED)
    with pytest.raises(NotSealed, match=r"seal\.json: the report is of another file"):
        require_sealed(found)


def test_a_report_that_says_no_without_a_finding_is_believed(tmp_path: Path) -> None:
    found = image(tmp_path, seal_json=SEALED | {"sealed": False})
    assert not found.sealed
    with pytest.raises(NotSealed):
        require_sealed(found)


@pytest.mark.parametrize(
    ("beside", "told"),
    [
        ({"json": {"min_disk": "big"}}, r'2\.json: min_disk: "big", expected a whole number'),
        ({"json": {"min_ram": None}}, "min_ram: null, expected a whole number"),
        ({"json": {"min_ram": True}}, "min_ram: true, expected a whole number"),
        ({"json": {"name": 5}}, "name: 5, expected text"),
        ({"json": {"properties": ["a"]}}, r'properties: \["a"\], expected an object'),
        ({"json": {"properties": {"a": None}}}, r"properties\.a: null, expected text"),
        ({"seal_json": {"packages": []}}, r"seal\.json: no findings, expected a seal report"),
        ({"seal_json": SEALED | {"findings": None}}, "findings: null, expected a list"),
        ({"seal_json": SEALED | {"unread": "x"}}, 'unread: "x", expected a list'),
        ({"seal_json": SEALED | {"sealed": "no"}}, 'sealed: "no", expected true or false'),
        ({"seal_json": SEALED | {"sha256": 1}}, "sha256: 1, expected text"),
    ],
)
def test_a_wrong_type_is_named_by_file_and_key(
    tmp_path: Path, beside: dict[str, object], told: str
) -> None:
    with pytest.raises(BadInput, match=told):
        image(tmp_path, **beside)


@pytest.mark.parametrize(
    "beside", [{"json": "{"}, {"json": "[]"}, {"seal_json": "{}"}, {"seal_json": "\xff"}]
)
def test_a_broken_file_beside_it_is_named(tmp_path: Path, beside: dict[str, str]) -> None:
    with pytest.raises(BadInput, match=r"debian-12\.qcow2\.(seal\.)?json"):
        image(tmp_path, **beside)


def test_a_file_that_is_not_what_was_built_is_refused(tmp_path: Path) -> None:
    found = image(tmp_path, sha512="AB  debian-12.qcow2\n")
    require_digest(found, "ab")
    with pytest.raises(BadInput, match="its sha512 is not that"):
        require_digest(found, "cd")
