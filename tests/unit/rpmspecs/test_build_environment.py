"""What service packages carry to build their environments with: it runs inside rpmbuild."""

import hashlib
import importlib.util

import pytest

from rpmspecs.lock import suitability
from rpmspecs.pypi import SCHEME
from rpmspecs.sources import read_list
from rpmspecs.spec import FOLDER, SERVICE_MARK

PROGRAM = FOLDER.with_name("services") / "build-environment.py"
SERVICES = sorted(path.parent for path in FOLDER.glob(f"*/{SERVICE_MARK}"))


@pytest.fixture(scope="module")
def program():
    spec = importlib.util.spec_from_file_location("build_environment", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(__import__("sys").modules, spec.name, module)
        spec.loader.exec_module(module)
        yield module


@pytest.mark.parametrize("minor", [11, 12])
@pytest.mark.parametrize("folder", SERVICES, ids=lambda folder: folder.name)
def test_one_file_of_each_project_is_installed_and_it_is_the_best(program, folder, minor):
    listed = (folder / "sources").read_text("utf-8")
    chosen = {one.filename for one in program.choose(program.read(listed), (3, minor))}
    best = {}
    for source in read_list(folder / "sources"):
        rank = suitability(source.name, f"3.{minor}")
        if source.url.startswith(SCHEME) and rank is not None:
            best[source.url] = min(best.get(source.url, (rank, source.name)), (rank, source.name))
    assert chosen == {name for _, name in best.values()}


def test_a_file_that_changed_on_its_way_is_refused(program, tmp_path):
    (tmp_path / "a-1-py3-none-any.whl").write_bytes(b"changed")
    source = program.Source(hashlib.sha256(b"as locked").hexdigest(), "a-1-py3-none-any.whl", "a")
    with pytest.raises(SystemExit, match=r"a-1-py3-none-any\.whl: the sha256 is"):
        program.verify(source, tmp_path / source.filename)


@pytest.mark.parametrize(
    ("path", "installed"),
    [
        ("keystone/tests/unit/test_v3.py", False),
        ("setuptools/cli-64.exe", False),
        ("nova/locale/de/LC_MESSAGES/nova.po", False),
        ("googleapiclient/discovery_cache/documents/drive.v3.json", False),
        ("googleapiclient/discovery_cache/documents/storage.v1.json", True),
        ("jinja2/tests.py", True),
        ("testtools/testcase.py", True),
        ("nova/locale/de/LC_MESSAGES/nova.mo", True),
    ],
)
def test_what_no_service_needs_is_left_out(program, path, installed):
    assert (program.NOT_INSTALLED.search(path) is None) is installed


@pytest.mark.parametrize("folder", SERVICES, ids=lambda folder: folder.name)
def test_what_is_shared_is_linked_not_copied(folder):
    for name in (SERVICE_MARK, PROGRAM.name):
        assert (folder / name).resolve() == PROGRAM.with_name(name)
