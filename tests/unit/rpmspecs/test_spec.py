import re

import pytest

from provision import run
from rpmspecs.errors import BadInput
from rpmspecs.running import Programs
from rpmspecs.spec import FOLDER, RELEASE, Package, find_spec, find_specs, own_specs, read_spec
from rpmspecs.target import load_target
from tests.tools import require_tool

PROGRAMS = Programs(run.run, run.start)

SPEC = """\
Name: tool
Version: 1.2
Release: 3%{?dist}
Epoch: 2
Summary: A tool
License: MIT
Source0: https://example.org/tool-%{version}.tar.gz
Source1: tool.service
Patch1: fix.patch
BuildArch: noarch
BuildRequires: gcc >= 4, (b or c)
%if 0%{?fedora}
BuildRequires: only-fedora
%endif
%description
A tool.
%package data
Summary: Its data
Requires: %{name} = %{version}
Provides: virtual(x) = 3
%description data
Its data.
%files
%files data
"""


@pytest.fixture(autouse=True)
def _rpmspec():
    require_tool("rpmspec", package="rpm")


@pytest.fixture
def written(tmp_path):
    def write(text, name="tool"):
        path = tmp_path / f"{name}.spec"
        path.write_text(text)
        return path

    return write


def read(path, target="centos-stream-10"):
    return read_spec(path, load_target(target), PROGRAMS)


def test_what_a_spec_says(written):
    spec = read(written(SPEC))
    assert (spec.name, spec.epoch, spec.version, spec.release) == ("tool", 2, "1.2", "3.el10")
    assert spec.nvr == "tool-1.2-3.el10"
    assert set(spec.build_requires) == {"gcc >= 4", "(b or c)"}
    assert set(spec.sources) == {"tool-1.2.tar.gz", "tool.service", "fix.patch"}
    assert spec.packages == (
        Package("tool", "noarch", (), ("tool",)),
        Package("tool-data", "noarch", ("tool = 1.2",), ("tool-data", "virtual(x)")),
    )


def test_a_spec_reads_as_its_target_says(written):
    path = written(SPEC)
    assert "only-fedora" in read(path, "fedora-43").build_requires
    assert read(path, "fedora-43").release == "3.fc43"
    assert read(path, "fedora-43").digest != read(path).digest


def test_the_digest_does_not_tell_where_the_spec_lies(tmp_path):
    found = set()
    for name in ("here", "there"):
        path = tmp_path / name / "tool.spec"
        path.parent.mkdir()
        path.write_text(
            SPEC.replace("%files\n", "%install\ncp %{_sourcedir}/x %{SOURCE1} y\n%files\n", 1)
        )
        found.add(read(path).digest)
    assert len(found) == 1


def test_the_same_text_has_the_same_digest(written):
    assert read(written(SPEC)).digest == read(written(SPEC)).digest
    assert read(written(SPEC)).digest != read(written(SPEC.replace("A tool.", "One."))).digest


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("Summary: A tool", "Colour: red"), "tool.spec:5: Unknown tag: Colour: red"),
        (("%endif\n", ""), "tool.spec:12: Unclosed %if"),
        (("Version: 1.2", "Version: %{nope}"), "tool.spec: Version is '%{nope}', expected one"),
        (("Name: tool", "Name: ../up"), "tool.spec"),
        (("License: MIT\n", ""), "tool.spec: License field must be present in package"),
    ],
)
def test_a_mistake_is_told_with_rpms_own_line(written, change, sentence):
    with pytest.raises(BadInput, match=re.escape(sentence)):
        read(written(SPEC.replace(*change)))


def test_a_file_to_include_is_looked_for_beside_the_spec(written, tmp_path):
    (tmp_path / "more.inc").write_text("%global fine 7\n")
    text = "%include %{_sourcedir}/more.inc\n" + SPEC.replace("Version: 1.2", "Version: %{fine}")
    assert read(written(text)).version == "7"


def test_ours_are_found_by_name_and_others_by_path(written, tmp_path):
    for name in own_specs():
        assert find_spec(name).stem == name
    path = written(SPEC)
    assert find_spec(path) == path
    assert find_spec(str(tmp_path)) == path


def test_a_folder_must_hold_one_spec(written, tmp_path):
    with pytest.raises(BadInput, match="found none, expected a folder with one spec"):
        find_spec(tmp_path)
    written(SPEC)
    written(SPEC, "other")
    with pytest.raises(BadInput, match=r"found other\.spec, tool\.spec, expected"):
        find_spec(tmp_path)


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(BadInput) as caught:
        find_spec("openstack-keyston")
    assert "did you mean 'openstack-keystone'?" in caught.value.__notes__


def test_targets_with_rdos_packages_have_no_use_for_service_packages():
    assert "openstack-keystone" in own_specs(load_target("fedora-43"))
    assert "openstack-keystone" not in own_specs(load_target("centos-stream-9"))


@pytest.mark.parametrize("names", [[], ["openstack-node"], [str(FOLDER / "openstack-nova")]])
def test_el7_cannot_have_our_packages_and_is_told_why(names):
    with pytest.raises(BadInput, match="centos-7 cannot have our packages: its RPM has no rich"):
        find_specs(names, load_target("centos-7"))


def test_el7_may_have_a_spec_of_a_persons_own_and_the_repositorys(tmp_path):
    path = tmp_path / "tool.spec"
    path.touch()
    assert find_specs([str(path)], load_target("centos-7")) == [path]
    assert find_specs([RELEASE], load_target("centos-7")) == [FOLDER / f"{RELEASE}/{RELEASE}.spec"]
