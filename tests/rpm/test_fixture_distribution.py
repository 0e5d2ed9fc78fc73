"""The fixture distribution itself: what other tests rely on."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from rpmspecs.target import Family, load_target
from tests.fixture_distribution import make, names
from tests.fixture_distribution.root import Root

MakeRoot = Callable[..., Root]

SPEC = """\
Name: example
Version: 1
Release: 1%{?dist}
Summary: A package of a test
License: Apache-2.0
BuildArch: noarch
BuildRequires: systemd-rpm-macros
Requires: /usr/bin/python3, python(abi) = 3.11, /bin/sh
%description
A package of a test.
%prep
%build
%install
install -D -m 644 /dev/null %{buildroot}%{_unitdir}/example.service
install -d %{buildroot}%{_sharedstatedir}/example
%check
[ -e %{buildroot}%{_unitdir}/example.service ]
%post
%systemd_post example.service
%files
%{_unitdir}/example.service
%dir %{_sharedstatedir}/example
"""


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_target_file_is_one_that_builds_load(fixture_target, fixture_distribution):
    target = load_target(fixture_target)
    assert target.name == "fixture-1"
    assert target.family is Family.FEDORA
    assert [r.baseurl for r in target.repositories] == [fixture_distribution.as_uri()]


@pytest.mark.parametrize("group", names.GROUPS)
def test_every_group_installs_and_verifies(fixture_root: MakeRoot, group):
    root = fixture_root()
    root.install(f"@{group}")
    installed = root.check("rpm", "-qa", "--queryformat", "%{NAME}\n").split()
    assert set(names.GROUPS[group].split()) - {"glibc-minimal-langpack"} <= set(installed)
    assert root.altered() == []


def test_a_package_is_built_inside_as_fedora_would_name_and_place_it(fixture_root: MakeRoot):
    root = fixture_root()
    root.install("@buildsys-build")
    (root.path / "root/example.spec").write_text(SPEC, encoding="utf-8")
    root.check("rpmbuild", "-ba", "/root/example.spec")
    made = "/root/rpmbuild/RPMS/noarch/example-1-1.fixture1.noarch.rpm"
    listed = root.check("rpm", "-qlp", made).split()
    assert listed == ["/usr/lib/systemd/system/example.service", "/var/lib/example"]
    assert "systemctl" in root.check("rpm", "-qp", "--scripts", made)


def test_everything_in_the_repository_installs_together(fixture_root: MakeRoot):
    root = fixture_root()
    root.install("*")
    assert root.altered() == []
    assert "ok" in root.check("python3", "-c", "import ssl, sqlite3, ctypes, lzma; print('ok')")


def test_a_virtual_environment_with_pip_is_made_without_a_network(fixture_root: MakeRoot):
    root = fixture_root()
    root.install("python3", "fixture-release")
    root.check("python3", "-m", "venv", "/opt/environment")
    assert "pip" in root.check("/opt/environment/bin/python", "-m", "pip", "--version")


def test_a_second_generation_is_the_same_to_the_byte(fixture_distribution, tmp_path):
    again = tmp_path / "fixture"
    make.make_base(again)
    recorded = Path(make.RECORD)
    if (again / recorded).read_text() != (fixture_distribution / recorded).read_text():
        pytest.skip("the mirror has other packages than a moment ago")
    assert digests(again) == digests(fixture_distribution)
