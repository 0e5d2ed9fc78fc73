"""The rack of these tests: made once, with our packages published and the boot server serving."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.cloud import disturb
from tests.cloud.disturb import Stop, Watch
from tests.cloud.machine import Machine, remove_abandoned
from tests.cloud.rack import Rack, operators_own
from tests.fixture_distribution import cache, extra, make, names, packages
from tests.fixture_distribution.target import write_target
from tests.lab import Lab
from tests.tools import require_root, require_tool

BUDGET_S = 900
"""For one test: the first one waits for the rack, and for packages to be built."""
DISCOVERY = "[scheduler]\ndiscover_hosts_in_cells_interval = 10\n"
"""Seconds between the controller's looks for new hosts; ours says 300, too long for a test."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(BUDGET_S))


@pytest.fixture(scope="session")
def mirrors() -> Mapping[str, Path]:
    """The fixture distribution, which stands for a distribution and its mirrors."""
    require_root()
    require_tool("apt-cache", "apt")
    for name, package in (
        ("mmdebstrap", "mmdebstrap"),
        ("rpmbuild", "rpm"),
        ("createrepo_c", "createrepo-c"),
        ("dnf", "dnf"),
        ("bwrap", "bubblewrap"),
        ("nsenter", "util-linux"),
        ("gpg", "gnupg"),
    ):
        require_tool(name, package)
    remove_abandoned()
    base = cache.cached("base", names.BASE, make.make_base)
    wanted = [*names.BASE, *extra.EXTRA]
    more = cache.cached("extra", wanted, lambda folder: make.make_extra(folder, base))
    return {"fixture": base, "fixture-extra": more}


@pytest.fixture(scope="session")
def rack(mirrors: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rack]:
    """A boot server that serves a rack of two hosts, and our packages."""
    folder = tmp_path_factory.mktemp("rack")
    target = write_target(folder / "target", {"fixture": mirrors["fixture"]})
    with Lab() as lab:
        made = Rack(lab, folder / "rack", mirrors)
        made.publish(
            packages.build((), target),
            lambda release: packages.build([str(release)], target, folder / "results")[0],
        )
        made.serve()
        yield made


@pytest.fixture(scope="session")
def made(rack: Rack) -> Iterator[tuple[Machine, Watch, Mapping[str, Stop]]]:
    """The controller, made by steps that each failed once."""
    machine = rack.install("ctl01")
    operators_own(machine, DISCOVERY)
    disturb.prepare(machine)
    watch = Watch(machine, rack.secrets)
    try:
        yield machine, watch, disturb.disturb(machine, watch)
    finally:
        machine.close()


@pytest.fixture(scope="session")
def cloud(made: tuple[Machine, Watch, Mapping[str, Stop]]) -> Machine:
    """The finished controller."""
    return made[0]


@pytest.fixture(scope="session")
def watch(made: tuple[Machine, Watch, Mapping[str, Stop]]) -> Watch:
    """What was seen of the processes' arguments."""
    return made[1]


@pytest.fixture(scope="session")
def stops(made: tuple[Machine, Watch, Mapping[str, Stop]]) -> Mapping[str, Stop]:
    """Where the steps stopped on their way."""
    return made[2]
