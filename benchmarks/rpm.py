"""All our packages beside a plain loop: cold, warm, and with nothing to do.

usage: python benchmarks/rpm.py [SPEC...] [--target NAME|FILE] [--jobs N] [--rounds N]
                                [--no-bootstrap] [--isolation auto|simple|nspawn]

With mock on PATH, and as a user of its group, the loop is what one would write: for each spec in
its order mock --buildsrpm and mock --rebuild, with the same configurations as ours; it keeps mock's
own root cache, emptied for "cold". Without mock, which is said, the loop builds in our chroot, one
spec at a time, each with a build root made for it.
Sources are here before the clocks start. "cold" begins without build roots, "warm" has them and
builds all again, "unchanged" finds everything built. Without a target the fixture distribution of
the tests is built for; that needs root.
"""

import argparse
import hashlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rich.console import Console
from rich.table import Table

from provision.run import run, start
from rpmspecs.backend import Backend
from rpmspecs.build import Stage, Way, build, gather_sources
from rpmspecs.chroot import ChrootBackend
from rpmspecs.mock import MockBackend, mock_config
from rpmspecs.results import folder_of
from rpmspecs.running import Programs
from rpmspecs.settings import BuildSettings, Isolation
from rpmspecs.sources import default_cache, fetch
from rpmspecs.spec import find_spec, own_specs
from rpmspecs.steps import Step, plan
from rpmspecs.target import Target, load_target

PROGRAMS = Programs(run, start)
CHROOT = BuildSettings()


def fixture(folder: Path) -> Target:
    """The fixture distribution, made now if it is not there."""
    from tests.fixture_distribution import cache, make, names
    from tests.fixture_distribution.target import write_target

    repository = cache.cached("base", names.BASE, make.make_base)
    return load_target(write_target(folder, {"fixture": repository}))


def ours(
    steps: Sequence[Step], backend: Backend, results: Path, jobs: int, *, rebuild: bool = False
) -> None:
    """Everything, as `rackseed rpm build` does it."""
    way = Way(backend, PROGRAMS, results, default_cache(), jobs, rebuild)
    for event in build(steps, way, lambda _: None).values():
        if event.stage not in (Stage.BUILT, Stage.REUSED):
            sys.exit(f"{event.step.spec.nvr}: {event.stage.value}: {event.error or event.reason}")


def chroot_loop(steps: Sequence[Step], folder: Path) -> None:
    """One spec after another, each in a build root that is made for it."""
    for step in steps:
        cache = folder / "loop-cache"
        ours([step], ChrootBackend(PROGRAMS, CHROOT, cache), folder / "loop", 1)
        shutil.rmtree(cache)


def configure(steps: Sequence[Step], settings: BuildSettings, folder: Path) -> dict[str, Path]:
    """A configuration of mock for each spec, before the clock starts.

    The same for the same text: mock makes its root anew for a newer file.
    """
    found = {}
    for step in steps:
        offered = [folder / "loop" / name for _, name in step.needs]
        text = mock_config(step.target, settings, offered)
        found[step.spec.name] = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.cfg"
        found[step.spec.name].write_text(text, encoding="utf-8")
    return found


def mock_loop(steps: Sequence[Step], configs: Mapping[str, Path], folder: Path) -> None:
    """One spec after another by mock itself."""
    for step in steps:
        mine = folder / "loop" / step.spec.name
        mine.mkdir(parents=True)
        sources = gather_sources(step, default_cache(), mine / "SOURCES")
        words = ["mock", f"--root={configs[step.spec.name]}", f"--resultdir={mine}"]
        mock([*words, "--buildsrpm", f"--spec={step.spec.path}", f"--sources={sources}"])
        mock([*words, "--rebuild", *map(str, mine.glob("*.src.rpm"))])
        subprocess.run(["createrepo_c", "--quiet", str(mine)], check=True)


def mock(words: Sequence[str]) -> None:
    """Runs it, and ends with what it said when it fails."""
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(words)}\n{done.stderr}")


def clean_mock(configs: Mapping[str, Path]) -> None:
    """Remove mock's cached roots."""
    for config in sorted(set(configs.values())):
        mock(["mock", f"--root={config}", "--scrub=all"])


def seconds(work: Callable[[], None]) -> float:
    """How long it takes. Processor time would leave out what runs in bubblewrap's namespaces."""
    begin = time.monotonic()
    work()
    return time.monotonic() - begin


def measure(
    steps: Sequence[Step], jobs: int, settings: BuildSettings, with_mock: bool
) -> dict[str, float]:
    """One round of all, in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="rackseed-rpm-") as scratch:
        folder = Path(scratch)
        if with_mock:
            configs = configure(steps, settings, folder)
            clean_mock(configs)
            loop = seconds(lambda: mock_loop(steps, configs, folder))
            shutil.rmtree(folder / "loop")
            loop_warm = seconds(lambda: mock_loop(steps, configs, folder))
            clean_mock(configs)
            backend: Backend = MockBackend(PROGRAMS, settings, folder / "cache")
        else:
            loop = loop_warm = seconds(lambda: chroot_loop(steps, folder))
            backend = ChrootBackend(PROGRAMS, CHROOT, folder / "cache")
        results = folder / "results"
        cold = seconds(lambda: ours(steps, backend, results, jobs))
        warm = seconds(lambda: ours(steps, backend, results, jobs, rebuild=True))
        unchanged = seconds(lambda: ours(steps, backend, results, jobs))
        assert all(folder_of(step, results).is_dir() for step in steps)
    return {
        "loop cold": loop,
        "loop warm": loop_warm,
        "cold": cold,
        "warm": warm,
        "unchanged": unchanged,
    }


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("spec", nargs="*")
    parser.add_argument("--target")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--no-bootstrap", action="store_true")
    parser.add_argument("--isolation", type=Isolation, default=Isolation.AUTO)
    options = parser.parse_args()
    settings = BuildSettings(bootstrap=not options.no_bootstrap, isolation=options.isolation)
    with_mock = shutil.which("mock") is not None
    name = "mock" if with_mock else "chroot"
    if not with_mock:
        print("mock is not on PATH: both build in our chroot", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="rackseed-rpm-target-") as folder:
        target = load_target(options.target) if options.target else fixture(Path(folder))
        paths = [find_spec(spec) for spec in options.spec or own_specs(target)]
        steps = plan(paths, [target], name, PROGRAMS)
        sources = [source for step in steps for source in step.fetched]
        fetch(sources, default_cache(), PROGRAMS)
        rounds = [measure(steps, options.jobs, settings, with_mock) for _ in range(options.rounds)]
    took = {kind: statistics.median(one[kind] for one in rounds) for kind in rounds[0]}
    table = Table(
        "", f"loop of {name} s", "rackseed s", "ratio",
        title=f"{len(steps)} specs for {target.name}, {options.jobs} at once",
    )  # fmt: skip
    for kind, loop in (("cold", "loop cold"), ("warm", "loop warm"), ("unchanged", "loop warm")):
        ratio = took[kind] / took[loop]
        table.add_row(kind, f"{took[loop]:.1f}", f"{took[kind]:.1f}", f"{ratio:.2f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
