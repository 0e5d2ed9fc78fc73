"""Which spec is built before which."""

import re
from collections.abc import Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from rpmspecs.errors import BadInput
from rpmspecs.spec import Package, Spec

RICH_WORDS = frozenset(("and", "or", "if", "else", "unless", "with", "without"))
"""rpm's boolean dependencies."""


def needs(specs: Sequence[Spec]) -> Mapping[str, tuple[str, ...]]:
    """For each spec those of the others whose packages its build root will hold, by name.

    These are the providers of its BuildRequires, and of what those require to be installed. What
    none of the specs provides comes from the target. A spec that requires itself to be built is
    taken to find an older self there.
    """
    offers: dict[str, list[tuple[Spec, Package]]] = {}
    for spec in specs:
        for package in spec.packages:
            for what in package.provides:
                offers.setdefault(_name(what), []).append((spec, package))
    return {spec.name: tuple(_reached(spec, offers)) for spec in specs}


def _reached(spec: Spec, offers: Mapping[str, Sequence[tuple[Spec, Package]]]) -> Iterator[str]:
    """Depth first; the spec itself only when others lead back to it, which is a cycle."""
    seen: set[str] = set()
    told: set[str] = set()
    waiting = list(reversed(spec.build_requires))
    direct = {name for need in spec.build_requires for name in names_in(need)}
    while waiting:
        for name in names_in(waiting.pop()):
            if name in seen:
                continue
            seen.add(name)
            for provider, package in offers.get(name, ()):
                if provider is spec and name in direct:
                    continue
                if provider.name not in told:
                    told.add(provider.name)
                    yield provider.name
                waiting.extend(package.requires)


def sorter(specs: Sequence[Spec]) -> TopologicalSorter[str]:
    """Gives the names of specs in build order: `get_ready()` and `done(name)`.

    Raises BadInput that names the specs of a cycle.
    """
    found = TopologicalSorter(needs(specs))
    try:
        found.prepare()
    except CycleError as error:
        # graphlib names each before what waits for it
        names = list(reversed(error.args[1]))
        raise BadInput(
            f"these specs cannot be ordered: {', which needs '.join(names)} to be built"
        ) from None
    return found


def build_order(specs: Sequence[Spec]) -> list[list[Spec]]:
    """The specs in batches: those of one batch need only what earlier batches make.

    Raises BadInput that names the specs of a cycle.
    """
    by_name = {spec.name: spec for spec in specs}
    order, batches = sorter(specs), []
    while order.is_active():
        ready = order.get_ready()
        batches.append([by_name[name] for name in sorted(ready)])
        order.done(*ready)
    return batches


def names_in(requirement: str) -> list[str]:
    """The names that a requirement speaks of, without versions: `(a >= 2 or b(c))` is a, b(c)."""
    if not requirement.startswith("("):
        return [_name(requirement)]
    words = re.findall(r"[^\s()]+(?:\([^\s()]*\))*", requirement)
    names, version = [], False
    for word in words:
        if not version and word not in RICH_WORDS and word[0] not in "<>=":
            names.append(word)
        version = word[0] in "<>="
    return names


def _name(requirement: str) -> str:
    return requirement.split(" ", 1)[0]
