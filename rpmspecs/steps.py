"""What is to be built, as values: each spec for each target, in order, with all that goes in."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from rpmspecs.errors import BadInput
from rpmspecs.macros import macros
from rpmspecs.order import build_order, needs
from rpmspecs.running import Programs
from rpmspecs.sources import LIST, Source, read_list
from rpmspecs.spec import Spec, read_spec
from rpmspecs.target import Target, described

READERS = 4
"""Specs read at once."""

FORMAT = 1
"""Counted up when results of an older kind must not be used again."""

Key = tuple[str, str]
"""A target's name and a spec's."""


@dataclass(frozen=True, slots=True)
class Step:
    """One spec to build for one target."""

    spec: Spec
    target: Target
    batch: int
    """Those of one batch and target need nothing of one another; counted from 0."""
    needs: tuple[Key, ...]
    """The steps whose packages are offered to this one."""
    carried: tuple[Path, ...]
    """Sources and patches beside the spec."""
    fetched: tuple[Source, ...]
    digest: str
    """SHA-256 of all that the result depends on."""

    @property
    def key(self) -> Key:
        """What names it."""
        return self.target.name, self.spec.name


def plan(
    paths: Sequence[Path], targets: Sequence[Target], backend: str, programs: Programs
) -> tuple[Step, ...]:
    """Every spec for every target, those that are needed before those that need them.

    Raises BadInput with the mistakes of all specs.
    """
    pairs = [(target, path) for target in targets for path in paths]
    steps: list[Step] = []
    with ThreadPoolExecutor(READERS) as readers:
        reading = [readers.submit(read_spec, path, target, programs) for target, path in pairs]
        specs = _all(future.result for future in reading)
    for number, target in enumerate(targets):
        mine = specs[number * len(paths) : (number + 1) * len(paths)]
        _refuse_namesakes(mine)
        steps += _steps(mine, target, backend)
    return tuple(steps)


def _steps(specs: Sequence[Spec], target: Target, backend: str) -> list[Step]:
    wanted = needs(specs)
    made: dict[str, Step] = {}
    found = _all(partial(find_sources, spec) for spec in specs)
    inputs = {spec.name: sources for spec, sources in zip(specs, found, strict=True)}
    for number, batch in enumerate(build_order(specs)):
        for spec in batch:
            before = sorted(name for name in wanted[spec.name] if name != spec.name)
            carried, fetched = inputs[spec.name]
            facts = {
                "format": FORMAT,
                "backend": backend,
                "target": described(target),
                "macros": dict(macros(target)),
                "spec": spec.digest,
                "carried": {path.name: file_digest(path) for path in carried},
                "fetched": {source.name: source.digest for source in fetched},
                "needs": [made[name].digest for name in before],
            }
            made[spec.name] = Step(
                spec=spec,
                target=target,
                batch=number,
                needs=tuple((target.name, name) for name in before),
                carried=carried,
                fetched=fetched,
                digest=hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest(),
            )
    return list(made.values())


def find_sources(spec: Spec) -> tuple[tuple[Path, ...], tuple[Source, ...]]:
    """What lies beside a spec of its sources, and what is listed to be fetched.

    Raises BadInput with all that is neither.
    """
    listed = {source.name: source for source in read_list(spec.path.with_name(LIST))}
    carried, fetched, lost = [], [], []
    for name in sorted(spec.sources):
        if (path := spec.path.with_name(name)).is_file():
            carried.append(path)
        elif name in listed:
            fetched.append(listed[name])
        else:
            lost.append(f"{spec.path}: {name} is not beside it, nor in its list '{LIST}'")
    if lost:
        raise BadInput("\n".join(lost))
    return tuple(carried), tuple(fetched)


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _refuse_namesakes(specs: Sequence[Spec]) -> None:
    seen: dict[str, Spec] = {}
    for spec in specs:
        other = seen.setdefault(spec.name, spec)
        if other is not spec:
            raise BadInput(f"{spec.path} and {other.path} are both named {spec.name}")


T = TypeVar("T")


def _all(calls: Iterable[Callable[[], T]]) -> list[T]:
    """The results of all calls; the BadInput of each that fails, as one."""
    results, problems = [], []
    for call in calls:
        try:
            results.append(call())
        except BadInput as error:
            problems += str(error).splitlines()
    if problems:
        raise BadInput("\n".join(dict.fromkeys(problems)))
    return results


def by_key(steps: Iterable[Step]) -> Mapping[Key, Step]:
    """The steps by what names them."""
    return {step.key: step for step in steps}
