"""Everything that was read from an inventory, before it is known to be whole."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from provision.inventory.model import Cloud
from provision.inventory.problems import suggestion
from provision.inventory.schema import Findings
from provision.inventory.sections import (
    HostDraft,
    NetworkDraft,
    RoleDraft,
    SystemDraft,
)

RoleValues = Mapping[str, Any]
"""A role's values with `extends` applied, by the names of `model.Role`'s fields."""


@dataclass(frozen=True, slots=True)
class Draft:
    """Everything that was read, before it is known to be whole."""

    network: NetworkDraft | None
    cloud: Cloud
    systems: Mapping[str, SystemDraft]
    roles: Mapping[str, RoleDraft]
    resolved: Mapping[str, RoleValues]
    hosts: Sequence[HostDraft]
    host_names: Sequence[str]
    """Also of hosts that are not well described."""


def resolve_roles(roles: Mapping[str, RoleDraft], found: Findings) -> dict[str, RoleValues]:
    """Apply `extends`; a role in a circle, or whose base is unknown, is left out."""
    resolved: dict[str, RoleValues] = {}
    circles: set[frozenset[str]] = set()
    for name in roles:
        chain = _chain(name, roles)
        last = roles[chain[-1]]
        if last.extends is None:
            merged: dict[str, Any] = {}
            for ancestor in reversed(chain):
                merged |= roles[ancestor].own
            resolved[name] = merged
        elif last.extends not in roles:
            message = f"there is no role '{last.extends}', expected the name of a role"
            found.add(f"{last.key}.extends", message, suggestion(last.extends, list(roles)))
        else:
            circle = chain[chain.index(last.extends) :]
            if frozenset(circle) not in circles:
                circles.add(frozenset(circle))
                way = " -> ".join([*circle, circle[0]])
                message = f"goes in a circle ({way}), expected an end"
                found.add(f"{last.key}.extends", message, f"take extends out of one of {way}")
    return resolved


def _chain(name: str, roles: Mapping[str, RoleDraft]) -> list[str]:
    """The role and its bases, up to an end, an unknown name or a repetition."""
    chain = [name]
    while (base := roles[chain[-1]].extends) in roles and base not in chain:
        chain.append(str(base))
    return chain
