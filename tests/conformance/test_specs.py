"""Our specs in the hands of rpm and rpmlint, as every target reads them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from rpmspecs.spec import FOLDER, RELEASE, SERVICE_MARK, own_specs
from rpmspecs.target import load_target, macros_of, targets
from rpmspecs.versions import compare
from tests.tools import require_tool

SPECS = sorted(FOLDER.glob("*/*.spec"))
RPMLINT = FOLDER.parent / "rpmlint.toml"


def rpmlint() -> list[str]:
    """The linter of our own environment; it needs the system's rpm module."""
    beside = Path(sys.executable).with_name("rpmlint")
    return [str(beside if beside.exists() else require_tool("rpmlint", "rpmlint"))]


def parse(spec: Path, name: str, *words: str) -> "subprocess.CompletedProcess[str]":
    target = load_target(name)
    values = {"_sourcedir": str(spec.parent), **macros_of(target)}
    defines = [word for key, value in values.items() for word in ("-D", f"{key} {value}")]
    argv = [str(require_tool("rpmspec", "rpm")), "--target", target.arch, *defines, *words]
    return subprocess.run([*argv, str(spec)], capture_output=True, text=True, check=False)


def readings() -> list[tuple[str, Path]]:
    """Targets and what they can have: EL7's own RPM would not read all that this machine's does."""
    able = {name for name in targets() if own_specs(load_target(name))}
    return [(name, s) for name in targets() for s in SPECS if name in able or s.stem == RELEASE]


def test_only_el7_cannot_have_our_packages() -> None:
    assert [name for name in targets() if (name, SPECS[0]) not in readings()] == ["centos-7"]


@pytest.mark.parametrize(
    ("name", "spec"), readings(), ids=lambda one: one.stem if isinstance(one, Path) else one
)
def test_a_spec_parses_with_the_macros_of_a_target(name: str, spec: Path) -> None:
    done = parse(spec, name, "--parse")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    unexpanded = re.findall(r"%\{[!?]*\w+\}", re.sub(r"%%", "", done.stdout))
    assert unexpanded == []


@pytest.mark.parametrize("spec", SPECS, ids=lambda path: path.stem)
def test_a_spec_parses_without_any_macro_of_ours(spec: Path) -> None:
    argv = [str(require_tool("rpmspec", "rpm")), "-D", f"_sourcedir {spec.parent}", "--parse"]
    done = subprocess.run([*argv, str(spec)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("spec", SPECS, ids=lambda path: path.stem)
def test_rpmlint_has_nothing_to_say(spec: Path) -> None:
    argv = [*rpmlint(), "--config", str(RPMLINT), str(spec)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert " 0 errors, 0 warnings" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize(
    "spec", [spec for spec in SPECS if spec.stem != RELEASE], ids=lambda path: path.stem
)
def test_the_newest_entry_of_a_changelog_is_of_this_version(spec: Path) -> None:
    entry = r"%|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE}\n%{CHANGELOGNAME}\n"
    made, written = parse(spec, "fedora-43", "-q", "--srpm", "--qf", entry).stdout.splitlines()
    assert written.endswith(f" - {made.removesuffix('.fc43')}")


def test_rpmlint_finds_what_is_wrong(tmp_path: Path) -> None:
    spec = tmp_path / "bad.spec"
    spec.write_text(
        "Name: bad\nVersion: 1\nRelease: 1\nSummary: Bad\nLicense: Apache-2.0\n"
        "%description\nBad.\n%install\nmkdir -p $RPM_SOURCE_DIR\n%files\n"
    )
    argv = [*rpmlint(), "--config", str(RPMLINT), str(spec)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert "use-of-RPM_SOURCE_DIR" in done.stdout


def test_every_filter_has_its_reason() -> None:
    above = ""
    for line in RPMLINT.read_text().splitlines():
        if line.strip().startswith("'"):
            assert above.strip().startswith(("#", "'")), f"no reason above {line.strip()}"
        above = line


def lines(spec: Path, *words: str) -> list[str]:
    return parse(spec, "fedora-43", "-q", *words).stdout.splitlines()


def test_what_we_package_ourselves_is_before_the_next_release() -> None:
    """A conflict in another epoch than ours would hold nothing back, or ours too."""
    node = FOLDER / "openstack-node/openstack-node.spec"
    conflicts = dict(line.split(" >= ") for line in lines(node, "--conflicts"))
    services = [spec for spec in SPECS if (spec.parent / SERVICE_MARK).exists()]
    made = r"%{NAME} %|EPOCH?{%{EPOCH}:}|%{VERSION}\n"
    ours = dict(line.split() for spec in services for line in lines(spec, "--qf", made))
    assert len(conflicts) == 8
    for name, version in conflicts.items():
        epoch, _, number = ours[name].rpartition(":")
        next_epoch, _, next_number = version.rpartition(":")
        assert epoch == next_epoch, name
        assert compare(number, next_number) < 0, name


@pytest.mark.parametrize(
    ("name", "wanted", "unwanted"),
    [
        ("centos-stream-9", {"httpd", "python3-mod_wsgi", "python3-PyMySQL"}, set()),
        ("centos-stream-10", {"openstack-keystone"}, {"httpd", "python3-mod_wsgi"}),
        ("fedora-43", {"openstack-keystone"}, {"httpd", "python3-mod_wsgi"}),
    ],
)
def test_apache_comes_where_rdo_serves_from_it(name: str, wanted: set[str], unwanted: set[str]):
    spec = FOLDER / "openstack-node/openstack-node.spec"
    found = set(parse(spec, name, "-q", "--requires").stdout.splitlines())
    assert wanted <= found
    assert not unwanted & found


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("centos-stream-9", "/usr/lib/tuned/openstack-node/"),
        ("centos-stream-10", "/usr/lib/tuned/profiles/openstack-node/"),
        ("fedora-43", "/usr/lib/tuned/profiles/openstack-node/"),
    ],
)
def test_tuned_profiles_lie_where_the_target_looks(name: str, path: str) -> None:
    spec = FOLDER / "openstack-node/openstack-node.spec"
    assert f"{path}tuned.conf" in parse(spec, name, "--parse").stdout
