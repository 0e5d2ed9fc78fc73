"""clouds.yaml as people leave it."""

from pathlib import Path

import pytest

from imagebuild import glance_openstack
from imagebuild.clouds import check_clouds
from imagebuild.errors import BadInput

GOOD = "clouds:\n  lab:\n    auth: {auth_url: http://127.0.0.1:9/v3, password: geheim}\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("clouds:\n  lab:\n    auth: {password: geheim\n  x: y\n", r"clouds\.yaml:4: not YAML"),
        ("clouds:\n  lab:\n\tauth: geheim\n", r"clouds\.yaml:3: not YAML"),
        ("clouds: {lab: *geheim}\n", r"clouds\.yaml:1: not YAML"),
        ("a\x00b", r"clouds\.yaml: not YAML"),
        ("", r"clouds\.yaml: the file has no keys"),
        ("- lab\n", r"clouds\.yaml:1: the file has no keys"),
        ("clouds:\n", r"clouds\.yaml:1: clouds has no keys"),
        ("clouds:\n  lab: geheim\n", r"clouds\.yaml:2: clouds: lab has no keys"),
        ("clouds:\n  lab:\n", r"clouds\.yaml:2: clouds: lab has no keys"),
        ("cloud:\n  lab: geheim\n", r"clouds\.yaml: has no key clouds"),
        ("clouds:\n  lab: {auth:\n    {auth_url: 5}}\n", r"clouds\.yaml:3: auth_url of lab: exp"),
        ("clouds: {lab: {auth: {auth_url: [geheim]}}}\n", r"clouds\.yaml:1: auth_url of lab: exp"),
        ("clouds: {lap: {}, rack: {}}\n", r"^unknown cloud 'lab', did you mean 'lap'\?"),
        ("clouds: {rack: {}}\n", r"^unknown cloud 'lab', expected one of rack"),
    ],
)
def test_a_file_of_another_shape_is_named_with_its_line_and_none_of_its_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, told: str
) -> None:
    place = tmp_path / "clouds.yaml"
    place.write_text(text, encoding="utf-8")
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(place))
    with pytest.raises(BadInput, match=told) as raised:
        glance_openstack.connect("lab")
    assert "geheim" not in str(raised.value)


@pytest.mark.parametrize("auth", ["geheim", "[geheim]", "5"])
def test_auth_of_another_shape_is_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, auth: str
) -> None:
    place = tmp_path / "clouds.yaml"
    place.write_text(f"clouds:\n  lab:\n    auth: {auth}\n", encoding="utf-8")
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(place))
    with pytest.raises(BadInput, match=r"clouds\.yaml:3: auth of lab has no keys") as raised:
        glance_openstack.connect("lab")
    assert "geheim" not in str(raised.value)


def test_json_is_read_as_json(tmp_path: Path) -> None:
    place = tmp_path / "clouds.json"
    place.write_text('{\n\t"clouds": {}\n}', encoding="utf-8")
    check_clouds([place], "lab")
    place.write_text('{\n\t"clouds": geheim\n}', encoding="utf-8")
    with pytest.raises(BadInput, match=r"clouds\.json:2: not JSON from here on$"):
        check_clouds([place], "lab")


def test_only_the_first_file_that_is_there_counts(tmp_path: Path) -> None:
    (tmp_path / "good").write_text(GOOD, encoding="utf-8")
    (tmp_path / "bad").write_text("- x", encoding="utf-8")
    check_clouds([tmp_path / "none", tmp_path / "good", tmp_path / "bad"], "lab")
    check_clouds([tmp_path / "none"], "lab")
    with pytest.raises(BadInput):
        check_clouds([tmp_path / "bad", tmp_path / "good"], None)


def test_a_cloud_that_is_not_in_the_file_is_left_to_those_who_know_vendors(tmp_path: Path) -> None:
    (tmp_path / "good").write_text(GOOD, encoding="utf-8")
    assert check_clouds([tmp_path / "good"], "other") == ["lab"]
