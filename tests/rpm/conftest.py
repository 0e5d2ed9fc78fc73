"""The fixture distribution, made once and cached, for every test that builds or installs."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from provision.run import run, start
from rpmspecs.running import Programs
from rpmspecs.signing import Signer, make_key, open_key
from tests.fixture_distribution import cache, extra, make, names, packages
from tests.fixture_distribution.root import Root
from tests.fixture_distribution.target import write_target
from tests.repository import make_repository
from tests.tools import require_root, require_tool

PROGRAMS = Programs(run, start)

BUDGET_S = 600
"""For one test: the first one waits for the distribution to be made."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        own_limit = item.get_closest_marker("timeout")
        if item.path.is_relative_to(Path(__file__).parent) and not own_limit:
            item.add_marker(pytest.mark.timeout(BUDGET_S))


@pytest.fixture(scope="session")
def fixture_tools() -> None:
    """What making the distribution and installing from it needs."""
    require_root()
    require_tool("apt-cache", "apt")
    for name, package in (
        ("mmdebstrap", "mmdebstrap"),
        ("rpmbuild", "rpm"),
        ("createrepo_c", "createrepo-c"),
        ("dnf", "dnf"),
        ("bwrap", "bubblewrap"),
    ):
        require_tool(name, package)


@pytest.fixture(scope="session")
def fixture_distribution(fixture_tools: None) -> Path:
    """The folder of the repository `fixture`."""
    return cache.cached("base", names.BASE, make.make_base)


@pytest.fixture(scope="session")
def fixture_extra(fixture_distribution: Path) -> Path:
    """The folder of `fixture-extra`: the services of a controller, and names of other packages."""
    wanted = [*names.BASE, *extra.EXTRA]
    base = fixture_distribution
    return cache.cached("extra", wanted, lambda folder: make.make_extra(folder, base))


@pytest.fixture(scope="session")
def fixture_openstack(fixture_tools: None) -> Path:
    """The folder of `fixture-openstack`: RDO's names with nothing behind them."""
    return cache.cached("openstack", (), make.make_openstack)


@pytest.fixture(scope="session")
def fixture_target(fixture_distribution: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A target file for `rpmspecs.target.load_target`."""
    folder = tmp_path_factory.mktemp("target")
    return write_target(folder, {"fixture": fixture_distribution})


@pytest.fixture
def fixture_root(fixture_distribution: Path, tmp_path: Path) -> Callable[..., Root]:
    """Makes an empty root that packages can be installed into, with more repositories if given."""

    def empty(**more: Path) -> Root:
        folder = tmp_path / f"installed-{len(list(tmp_path.glob('installed-*')))}"
        return Root(folder, {"fixture": fixture_distribution, **more})

    return empty


@pytest.fixture(scope="session")
def our_packages(fixture_target: Path) -> Sequence[Path]:
    """Every package that our specs make for this target, all built by one call of the command."""
    return packages.build((), fixture_target)


@pytest.fixture(scope="session")
def our_repository(our_packages: Sequence[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of them, unsigned."""
    return make_repository(tmp_path_factory.mktemp("ours") / "repository", our_packages)


@pytest.fixture(scope="session")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Signer]:
    """A key of these tests, ready to sign."""
    require_tool("gpg", "gnupg")
    home = tmp_path_factory.mktemp("keys") / "gnupg"
    key = make_key("Fixture <fixture@example.org>", home, PROGRAMS)
    with open_key(key.fingerprint, [key.home], PROGRAMS) as opened:
        yield opened
