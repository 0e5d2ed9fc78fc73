"""The roles: each package below this one that names its `ROLE` is one, found by being there."""

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from kickstarts.errors import UnknownRole
from kickstarts.roles.base import Base, Role


def roles() -> Mapping[str, type[Role]]:
    """Every role by its name."""
    return _found(tuple(__path__))


@cache
def _found(path: tuple[str, ...]) -> Mapping[str, type[Role]]:
    """The roles below these folders, looked for once."""
    packages = [each.name for each in pkgutil.iter_modules(path) if each.ispkg]
    modules = [importlib.import_module(f"{__name__}.{name}") for name in packages]
    found: dict[str, type[Role]] = {Base.name: Base}
    found |= {module.ROLE.name: module.ROLE for module in modules if hasattr(module, "ROLE")}
    return MappingProxyType(found)


def by_metapackage(metapackage: str | None) -> type[Role]:
    """The role whose hosts have this package; a plain host where there is none.

    Raises UnknownRole.
    """
    known = {role.metapackage: role for role in roles().values()}
    if metapackage in known:
        return known[metapackage]
    words = ", ".join(sorted(name for name in known if name))
    raise UnknownRole(f"no role installs the package {metapackage}, expected one of {words}")
