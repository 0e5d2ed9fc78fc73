"""`rackseed rpm check`: what it says and how it ends."""

import gzip
import hashlib
import json

import pytest

from provision.cli.main import invoke
from provision.cli.report import ExitStatus
from tests.tools import require_tool

SPEC = """\
Name: metapackage
Version: 1
Release: 1
Summary: A metapackage of a test
License: Apache-2.0
BuildArch: noarch
Requires: chrony
Requires: {needed}
Suggests: etcd
%description
A metapackage of a test.
%files
"""

TARGET = """\
family: fedora
release: "1"
dist: .fx1
build_packages: [bash]
repositories:
  base: {{baseurl: "{base}", gpgcheck: false}}
"""

PRIMARY = (
    '<metadata xmlns="http://linux.duke.edu/metadata/common"'
    ' xmlns:rpm="http://linux.duke.edu/metadata/rpm">'
    '<package type="rpm"><name>chrony</name><arch>x86_64</arch></package>'
    '<package type="rpm"><name>ours-now</name><arch>x86_64</arch><format>'
    '<rpm:provides><rpm:entry name="ours-before"/></rpm:provides>'
    '<rpm:obsoletes><rpm:entry name="ours-before"/></rpm:obsoletes></format></package>'
    "</metadata>"
)


@pytest.fixture(autouse=True)
def tools(monkeypatch, tmp_path):
    require_tool("rpmspec", "rpm")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def target(tmp_path):
    folder = tmp_path / "base/repodata"
    folder.mkdir(parents=True)
    packed = gzip.compress(PRIMARY.encode())
    (folder / "primary.xml.gz").write_bytes(packed)
    (folder / "repomd.xml").write_text(
        '<repomd xmlns="http://linux.duke.edu/metadata/repo"><data type="primary">'
        f'<checksum type="sha256">{hashlib.sha256(packed).hexdigest()}</checksum>'
        '<location href="repodata/primary.xml.gz"/></data></repomd>'
    )
    path = tmp_path / "test-1.yaml"
    path.write_text(TARGET.format(base=folder.parent.as_uri()))
    return str(path)


@pytest.fixture
def spec(tmp_path):
    def write(needed):
        path = tmp_path / "metapackage.spec"
        path.write_text(SPEC.format(needed=needed))
        return str(path)

    return write


def test_nothing_missing_is_good_news(capsys, spec, target):
    status = invoke(["rpm", "check", spec("chrony >= 4"), "--target", target])
    assert status == ExitStatus.DONE
    text = capsys.readouterr().out
    assert "test-1: 3 needs against the repositories base: nothing is missing" in text
    assert "note     etcd (metapackage suggests it)" in text


def test_a_missing_name_fails_with_who_wants_it(capsys, spec, target):
    status = invoke(["rpm", "check", spec("chronny"), "--target", target])
    assert status == ExitStatus.FAILED
    assert "missing  chronny (metapackage requires it)" in capsys.readouterr().out


def test_an_old_name_is_told_with_the_new_one(capsys, spec, target):
    status = invoke(["rpm", "check", spec("ours-before"), "--target", target, "--json"])
    assert status == ExitStatus.DONE
    (facts,) = json.loads(capsys.readouterr().out)
    assert facts["rests_on"] == "the repositories base"
    by_name = {finding["name"]: finding for finding in facts["findings"]}
    assert by_name["ours-before"]["instead"] == "ours-now"
    assert by_name["ours-before"]["fatal"] is False


def test_without_repositories_the_recorded_names_answer(capsys, spec):
    words = [spec("httpd"), "--target", "centos-stream-9", "--offline"]
    assert invoke(["rpm", "check", *words]) == ExitStatus.DONE
    assert "against the list el9.yaml of" in capsys.readouterr().out


def test_a_repository_that_cannot_be_read_is_told_beside_the_answer(capsys, spec, tmp_path):
    nowhere = (tmp_path / "nowhere").as_uri()
    words = [spec("httpd"), "--target", "centos-stream-9", "--mirror", nowhere]
    assert invoke(["rpm", "check", *words]) == ExitStatus.DONE
    said = capsys.readouterr()
    assert "warning: centos-stream-9: repository baseos was not read: file://" in said.err
    assert "against the list el9.yaml of" in said.out


def test_what_nobody_knows_of_is_bad_input(capsys, spec, target, tmp_path):
    status = invoke(["rpm", "check", spec("httpd"), "--target", target, "--offline"])
    assert status == ExitStatus.BAD_INPUT
    assert "no repository of test-1 was read, and no names are recorded" in capsys.readouterr().err


def test_our_own_specs_ask_for_names_that_are_recorded(capsys):
    """Where this fails, look the name up and record it in rpmspecs/names with its source."""
    invoke(["rpm", "check", "--offline", "--json"])
    facts = json.loads(capsys.readouterr().out)
    findings = [(one["target"], finding) for one in facts for finding in one["findings"]]
    assert [(target, found["name"]) for target, found in findings if found["fatal"]] == []
    assert {one["target"] for one in facts} >= {"centos-stream-9", "centos-stream-10", "fedora-43"}
    assert all(one["needs"] > 30 for one in facts)


def test_rdos_names_are_all_known(capsys):
    status = invoke(["rpm", "check", "--offline", "--target", "centos-stream-9"])
    assert status == ExitStatus.DONE
    assert "note" not in capsys.readouterr().out
