"""Whether the packages that answers name exist where their hosts look, if that can be reached."""

import configparser
import logging
import lzma
import os
import re
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from http.client import HTTPException
from urllib.parse import urljoin

from kickstarts import autoinstall, installers, preseed
from kickstarts.errors import KickstartError
from provision.errors import AnswerError
from provision.inventory import views
from provision.inventory.model import Host, Install, Inventory, Place, System
from provision.inventory.problems import Problem, all_nearest
from provision.progress import Progress, unseen
from provision.verify_answers import masked_answer
from rpmspecs.capabilities import default_cache, read_repository
from rpmspecs.errors import RepositoryUnavailable

log = logging.getLogger(__name__)

PATIENCE = 5.0
"""Seconds that a mirror may say nothing."""
MOST = 256 << 20
"""Bytes of an index."""
PROVIDED = re.compile(r"^(?:Package: (\S+)|Provides: (.*))$", re.MULTILINE)

Names = frozenset[str]
Lists = Callable[[str, System], Names]
"""All names that a mirror has for a system; raises OSError when it cannot be reached."""


def verify_names(inventory: Inventory, progress: Progress = unseen) -> list[Problem]:
    """Each package of each answer is in its system's tree; a tree that is away is passed over.

    Only trees that the inventory names are asked: the distributors' own lists of mirrors are not.
    """
    known: dict[str, Names | None] = {}
    problems: list[Problem] = []
    for host in progress("names of packages", list(_one_of_each(inventory))):
        system = views.system_of(host.role, inventory)
        lists = LISTS.get(host.role.install)
        if system is None or system.tree is None or lists is None:
            continue
        if system.name not in known:
            known[system.name] = _names(inventory, system, lists)
        if names := known[system.name]:
            problems += _missing(inventory, host, system, names)
    return problems


def _one_of_each(inventory: Inventory) -> Iterator[Host]:
    """A host of each role that gets an answer of ours."""
    hosts = {host.role.name: host for host in inventory.hosts.values()}
    return (host for host in hosts.values() if views.answered_by_us(host.role))


def _names(inventory: Inventory, system: System, lists: Lists) -> Names | None:
    tree = _tree(inventory, system.tree or "")
    try:
        return lists(tree, system)
    except (OSError, HTTPException, RepositoryUnavailable, lzma.LZMAError) as error:
        log.warning("names of packages are not checked system=%s: %s", system.name, error)
        return None


def _tree(inventory: Inventory, url: str) -> str:
    """A tree that we serve ourselves is read where it lies: the server may not run now."""
    own = f"{views.ARTIFACTS}"
    server = inventory.network.server
    port = inventory.network.http_port
    base = f"http://{server}{'' if port == 80 else f':{port}'}/{own}"
    if server is not None and url.startswith(base):
        return (inventory.artifacts.absolute() / url.removeprefix(base)).as_uri()
    return url


def _missing(inventory: Inventory, host: Host, system: System, names: Names) -> Iterator[Problem]:
    try:
        text = masked_answer(inventory, host)
    except (AnswerError, KickstartError):
        return  # told by verify_answers
    for package in installers.read(text, system.name).packages:
        if package not in names:
            near = all_nearest(package, names)
            hint = f"did you mean {' or '.join(map(repr, near[:3]))}?" if near else None
            message = f"the package {package} is not in {system.tree}, expected it there"
            place = host.role.place or Place(inventory.path, 1)
            yield Problem(place, f"roles.{host.role.name}", message, hint)


def _rpm_names(tree: str, _: System) -> Names:
    """Of an installation tree and its variants, such as AppStream beside BaseOS."""
    found: set[str] = set()
    for repository in (tree, *_variants(tree)):
        found |= read_repository(repository, default_cache(os.environ)).provided
    return frozenset(found)


def _variants(tree: str) -> list[str]:
    """The repositories that a tree's description names besides its own; none where it has none."""
    base = tree if tree.endswith("/") else f"{tree}/"
    _fetch(f"{base}repodata/repomd.xml")  # soon known to be away
    parser = configparser.ConfigParser(interpolation=None)
    with suppress(OSError, configparser.Error):
        parser.read_string(_fetch(f"{base}.treeinfo").decode(errors="replace"))
    paths = (
        parser[section].get("repository", ".")
        for section in parser.sections()
        if section.startswith("variant-")
    )
    return [urljoin(base, f"{path}/") for path in dict.fromkeys(paths) if path not in (".", "")]


def _preseed_names(tree: str, system: System) -> Names:
    kind = preseed.system(system.name)
    return _deb_names(tree, kind.suite, ("main", "universe") if kind.ubuntu else ("main",))


def _autoinstall_names(tree: str, system: System) -> Names:
    return _deb_names(tree, autoinstall.system(system.name).suite, UBUNTU)


UBUNTU = ("main", "restricted", "universe", "multiverse")
"""The components that Ubuntu's installer of today switches on."""


def _deb_names(tree: str, suite: str, components: Iterable[str]) -> Names:
    base = tree.rstrip("/")
    texts = (
        lzma.decompress(_fetch(f"{base}/dists/{suite}/{each}/binary-amd64/Packages.xz")).decode(
            errors="replace"
        )
        for each in components
    )
    return frozenset(name for text in texts for name in _listed(text))


def _listed(text: str) -> Iterable[str]:
    for match in PROVIDED.finditer(text):
        if match[1]:
            yield match[1]
        else:
            yield from (part.split()[0] for part in match[2].split(",") if part.strip())


def _fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
        body: bytes = answer.read(MOST + 1)
    if len(body) > MOST:
        raise RepositoryUnavailable(f"{url}: larger than {MOST} bytes")
    return body


LISTS: dict[Install, Lists] = {
    Install.KICKSTART: _rpm_names,
    Install.PRESEED: _preseed_names,
    Install.AUTOINSTALL: _autoinstall_names,
}
"""By installer; XCP-ng's is told no packages."""
